"""Each morning, the report of the day before goes to the webhooks and recipients that want it, once on any number of
nodes.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Final

import structlog

from server.contract.day_report import report_data
from server.contract.views import instant, to_json
from server.contract.webhook_events import REPORT, Happened, WebhookBody
from server.dispatch.model import SYSTEM
from server.notify.webhook_outbox import Outbox
from server.settings import Settings, time_zone_of
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.queues.day_reports import wanted_reports, write_reports
from server.store.queues.report_mails import write_report_mails
from server.store.reads.day_report import read_day_report
from server.tasks import repeat_with_lease

LOOK_SECONDS: Final = 30.0

log = structlog.get_logger(__name__)


class DayReports:
    """Writes the messages and mails on the node that holds the lease, at the time of the settings. `run` is to be
    supervised.
    """

    def __init__(
        self,
        pool: Pool,
        settings: Callable[[], Settings],
        clock: DatabaseClock,
        outbox: Outbox,
        holds_lease: Callable[[], bool],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._outbox = outbox
        self._holds_lease = holds_lease
        self._done: date | None = None

    async def run(self) -> None:
        """Look whether a report is due, if there is a time for it."""
        await repeat_with_lease(self._holds_lease, self._try, LOOK_SECONDS)

    async def _try(self) -> None:
        try:
            await self.send_due()
        except DatabaseAway as error:
            log.warning("day_report_not_sent", reason=str(error))

    async def send_due(self) -> int:
        """Write the report of yesterday if it is due, for every webhook and recipient that has none; returns how many.
        Raises DatabaseAway.
        """
        settings = self._settings()
        zone = time_zone_of(settings.time_zone)
        now = self._clock.now().astimezone(zone)
        today = now.date()
        if not settings.report_at or self._done == today:
            return 0
        due = datetime.combine(today, time.fromisoformat(settings.report_at), zone)
        if now < due:
            return 0
        webhooks = await wanted_reports(self._pool, due)
        written = []
        if webhooks:
            since, until = (datetime.combine(day, time(), zone) for day in (today - timedelta(days=1), today))
            report = await read_day_report(self._pool, since, until, now, settings.time_zone)
            at = instant(now)
            happened = Happened(at, REPORT, SYSTEM, report_data(report, settings.time_zone))
            body = to_json(WebhookBody(REPORT, at, happened))
            written = await write_reports(self._pool, webhooks, since.date().isoformat(), body)
        mails = []
        if settings.smtp_url and settings.recipients:
            mails = await write_report_mails(self._pool, settings.recipients, today - timedelta(days=1), due)
        self._done = today
        if written or mails:
            log.info("day_report_written", day=str(today - timedelta(days=1)), webhooks=len(written), mails=len(mails))
            self._outbox.look()
        return len(written) + len(mails)
