"""A mail server (aiosmtpd) on this machine that keeps the mails it takes, and refuses what a test wants refused."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.compat.certificate import certificate
from tests.waiting import until

USER, PASSWORD = "callboard", "pass/word@1"


class MailServer:
    """`answers` are the answers to the next mails, then 250. `taken` has what was taken, with the recipient. If it
    `drops`, the connection is lost right after the answer to a mail.
    """

    def __init__(self) -> None:
        self.taken: list[tuple[str, EmailMessage]] = []
        self.tried: list[str] = []
        self.logins: list[tuple[str, str]] = []
        self.answers: list[str] = []
        self.port = 0
        self.drops = False

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        (recipient,) = envelope.rcpt_tos
        self.tried.append(recipient)
        assert isinstance(envelope.content, bytes)
        answer = self.answers.pop(0) if self.answers else "250 OK"
        if answer.startswith("250"):
            mail = message_from_bytes(envelope.content, policy=policy.default)
            assert isinstance(mail, EmailMessage)
            self.taken.append((recipient, mail))
        return answer

    async def handle_QUIT(self, server: SMTP, _session: Session, _envelope: Envelope) -> str:  # noqa: N802
        if self.drops:
            assert isinstance(server.transport, asyncio.Transport)
            server.transport.abort()
        return "221 Bye"

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: object
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        said = (given.login.decode(), given.password.decode())
        self.logins.append(said)
        return AuthResult(success=said == (USER, PASSWORD), handled=False)

    def url(self, scheme: str = "smtp", login: str = "", query: str = "?tls=off") -> str:
        return f"{scheme}://{login}127.0.0.1:{self.port}{query}"


@asynccontextmanager
async def mail_server(folder: Path | None = None, *, tls: str = "") -> AsyncIterator[MailServer]:
    """With `tls`, `starttls` or `smtps`, it has a certificate of `folder` and wants a login."""
    kept = MailServer()
    context = None
    if folder is not None:
        certificate(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(folder / "board.pem")

    def connection() -> SMTP:
        starttls = tls == "starttls"
        made = _Connection(
            kept, loop=loop, tls_context=context if starttls else None, authenticator=kept.authenticate,
            auth_required=starttls, auth_require_tls=starttls,
        )  # fmt: skip
        made.open_ones = open_ones
        return made

    loop = asyncio.get_running_loop()
    open_ones: set[asyncio.BaseTransport] = set()
    server = await loop.create_server(connection, "127.0.0.1", 0, ssl=context if tls == "smtps" else None)
    kept.port = server.sockets[0].getsockname()[1]
    try:
        yield kept
    finally:
        server.close()
        for one in [*open_ones]:
            one.close()
        await until(lambda: not open_ones)


class _Connection(SMTP):
    """A connection that is among `open_ones` as long as it is open."""

    open_ones: set[asyncio.BaseTransport]
    first: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self.first is None:  # after STARTTLS there is another one on the same socket
            self.first = transport
            self.open_ones.add(transport)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        if self.first is not None:
            self.open_ones.discard(self.first)
