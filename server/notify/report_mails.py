"""Sends the mails of day reports, on the node that holds the lease: each until the server takes it or refuses it for
good, for a day at most.
"""

import asyncio
from collections.abc import Callable
from copy import deepcopy
from datetime import date, datetime, time, timedelta
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Final

import prometheus_client as p
import structlog

from server.contract.day_report import DayReport
from server.notify.call_rounds import retry_seconds
from server.notify.mailer import Refused, send_mail
from server.settings import Settings, time_zone_of
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.queues.report_mails import MailToSend, claim_report_mails, record_report_mail
from server.store.reads.day_report import read_day_report
from server.tasks import repeat_with_lease

POLL_SECONDS: Final = 5.0
AT_ONCE: Final = 4
LOCK_SECONDS: Final = 60.0
"""Longer than an attempt takes: meanwhile nobody else sends the mail."""
LEAST_RETRY_SECONDS: Final = 60.0
"""Servers that refuse for now want to be left alone for a while, and greylisting takes minutes."""
REMOVED: Final = "the address is no longer among the recipients"

MAILS: Final = p.Counter("callboard_mails_sent", "Attempts to send a mail, by outcome", ["outcome"])

log = structlog.get_logger(__name__)

Written = Callable[[Settings, DayReport], EmailMessage]
"""Writes the mail of a report, without its recipient."""


class ReportMails:
    """`run` is to be supervised."""

    def __init__(
        self,
        pool: Pool,
        settings: Callable[[], Settings],
        clock: DatabaseClock,
        written: Written,
        holds_lease: Callable[[], bool],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._written = written
        self._holds_lease = holds_lease

    async def run(self) -> None:
        """Look for mails that are due, if a server takes them."""
        await repeat_with_lease(self._holds_lease, self._try, POLL_SECONDS)

    async def _try(self) -> float | None:
        try:
            return 0 if await self.send_due() == AT_ONCE else None
        except DatabaseAway as error:
            log.warning("report_mails_not_read", reason=str(error))
            return None

    async def send_due(self) -> int:
        """Try to send the mails that are due, a few: how many. Raises DatabaseAway."""
        if not self._settings().smtp_url:
            return 0
        due = await claim_report_mails(self._pool, AT_ONCE, LOCK_SECONDS)
        drafts = {day: await self.draft(day) for day in {mail.day for mail in due}}
        await asyncio.gather(*(self._send(mail, drafts[mail.day]) for mail in due))
        return len(due)

    async def draft(self, day: date) -> EmailMessage:
        """The mail with the report of a day, without its recipient. Raises DatabaseAway."""
        settings = self._settings()
        zone = time_zone_of(settings.time_zone)
        since, until = (datetime.combine(at, time(), zone) for at in (day, day + timedelta(days=1)))
        report = await read_day_report(self._pool, since, until, self._clock.now(), settings.time_zone)
        return self._written(settings, report)

    async def send(self, draft: EmailMessage, recipient: str, mail_id: str) -> Refused | None:
        """Try to send it now, with this Message-ID at each attempt. None if the server took it."""
        settings = self._settings()
        refused = await send_mail(settings, addressed(draft, recipient, mail_id, self._clock.now()), recipient)
        outcome = "sent" if refused is None else "refused" if refused.permanent else "failed"
        MAILS.labels(outcome).inc()
        return refused

    async def _send(self, mail: MailToSend, draft: EmailMessage) -> None:
        if mail.recipient not in self._settings().recipients:
            await record_report_mail(self._pool, mail, REMOVED, None)
            return
        refused = await self.send(draft, mail.recipient, mail.id)
        again: float | None = max(LEAST_RETRY_SECONDS, retry_seconds(mail.attempt))
        if refused is None:
            log.info("report_mail_sent", mailId=mail.id, day=str(mail.day), attempt=mail.attempt)
        else:
            if refused.permanent or self._clock.now() >= mail.retry_until:
                again = None
            about = {"mailId": mail.id, "attempt": mail.attempt, "reason": refused.reason, "final": again is None}
            log.warning("report_mail_not_sent", day=str(mail.day), **about)
        await record_report_mail(self._pool, mail, None if refused is None else refused.reason, again)


def addressed(draft: EmailMessage, recipient: str, mail_id: str, now: datetime) -> EmailMessage:
    """A copy for one recipient. Mail servers drop a second mail with the same Message-ID."""
    mail = deepcopy(draft)
    mail["To"] = recipient
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{mail_id}@{parseaddr(str(draft['From']))[1].rpartition('@')[2]}>"
    return mail
