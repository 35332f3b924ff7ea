"""Sends mails to the SMTP server of the settings. Every attempt ends within seconds, and never raises what the server
or the network cause.
"""

import asyncio
import ssl
from contextlib import suppress
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Final
from urllib.parse import unquote, urlsplit

from aiosmtplib import SMTP, SMTPException, SMTPRecipientsRefused, SMTPResponseException
from msgspec import Struct

from server.settings import Settings

STEP_SECONDS: Final = 10.0
ALL_SECONDS: Final = 25.0
LEAVE_SECONDS: Final = 2.0
ERROR_LIMIT: Final = 300
PORTS: Final = {"smtp": 587, "smtps": 465}


class Refused(Struct, frozen=True):
    """Why a mail was not sent, on one line and without the password. The same attempt may work later unless it is
    `permanent`.
    """

    reason: str
    permanent: bool


async def send_mail(settings: Settings, message: EmailMessage, recipient: str) -> Refused | None:
    """Send it to one recipient. None if the server took it."""
    return await _attempt(settings, message, recipient)


async def reach_server(settings: Settings) -> Refused | None:
    """Connect and log in, send nothing. None if the server let us in."""
    return await _attempt(settings, None, "")


async def _attempt(settings: Settings, message: EmailMessage | None, recipient: str) -> Refused | None:
    client = _client(settings)
    try:
        async with asyncio.timeout(ALL_SECONDS):
            await client.connect()
            if message is not None:
                await client.send_message(message, sender=parseaddr(settings.mail_from)[1], recipients=[recipient])
    except SMTPRecipientsRefused as error:
        return _refused(settings, error.recipients[0])
    except SMTPResponseException as error:
        return _refused(settings, error)
    except TimeoutError:
        return Refused("the server does not answer in time", permanent=False)
    except SMTPException as error:
        return Refused(_one_line(settings, error.message), permanent="not supported" in error.message)
    except OSError as error:
        return Refused(_one_line(settings, str(error) or type(error).__name__), permanent=False)
    finally:
        await _leave(client)
    return None


def _client(settings: Settings) -> SMTP:
    """Not connected yet. It logs in only over TLS, by a certificate for the server's name."""
    url = urlsplit(settings.smtp_url)
    return SMTP(
        hostname=url.hostname,
        port=url.port or PORTS[url.scheme],
        username=unquote(url.username) if url.username else None,
        password=unquote(url.password or "") if url.username else None,
        local_hostname=parseaddr(settings.mail_from)[1].rpartition("@")[2],
        timeout=STEP_SECONDS,
        use_tls=url.scheme == "smtps",
        start_tls=url.scheme == "smtp" and not url.query,
        tls_context=ssl.create_default_context(),
    )


async def _leave(client: SMTP) -> None:
    """A mail that the server took is sent, whatever happens to the connection after that."""
    if client.is_connected:
        with suppress(SMTPException, OSError):
            await client.quit(timeout=LEAVE_SECONDS)
    client.close()


def _refused(settings: Settings, error: SMTPResponseException) -> Refused:
    return Refused(_one_line(settings, f"{error.code} {error.message}"), permanent=error.code >= 500)


def _one_line(settings: Settings, text: str) -> str:
    """A server may repeat what it was sent."""
    password = unquote(urlsplit(settings.smtp_url).password or "")
    if password:
        text = text.replace(password, "…")
    return " ".join(text.split())[:ERROR_LIMIT]
