"""The steps about what else Callboard is connected with: a mail server and a shop."""

from urllib.parse import urlsplit

from server.board.formats import day_and_clock
from server.settings import time_zone_of
from server.store.queues.report_mails import read_failed_test
from server.texts.speech import said, spoken
from server.web.screens.first_run.step import Installation, SetupStep


async def mail(here: Installation) -> SetupStep:
    """Raises DatabaseAway."""
    settings = here.settings
    failed = await read_failed_test(here.node.database.pool) if here.is_admin and settings.smtp_url else None
    return SetupStep(
        bool(settings.smtp_url),
        said("Mail"),
        said(
            "Mails with the report of the day before go out from {sender} by {server}.",
            sender=settings.mail_from,
            server=urlsplit(settings.smtp_url).hostname or "",
        )
        if settings.smtp_url
        else said(
            "Each morning, Callboard can mail the report of the day before. {url} and {sender} in the server’s "
            "settings name the server that takes mails and the sender: see docs/deployment.md.",
            url="CALLBOARD_SMTP_URL",
            sender="CALLBOARD_MAIL_FROM",
        ),
        [(said("Report by mail"), "/report/mail")] if here.is_admin else [],
        warnings=[
            said(
                "The last test mail to {recipient} failed on {time}: {reason}",
                recipient=failed.recipient,
                time=day_and_clock(failed.at, time_zone_of(settings.time_zone), speech=spoken()),
                reason=failed.error,
            )
        ]
        if failed is not None
        else [],
        optional=True,
    )


def shop(here: Installation) -> SetupStep:
    return SetupStep(
        here.started.webhook or here.started.key,
        said("Connect your shop"),
        said("A shop sends orders with an API key (see /docs), and a webhook tells it what becomes of them."),
        [(said("API keys"), "/keys"), (said("Webhooks"), "/webhooks"), (said("API"), "/docs")],
        optional=True,
    )
