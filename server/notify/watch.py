"""The watch: every few seconds, on the node that holds the lease, each zone's numbers beside the policy's thresholds.

It only measures and asks; the rules decide whether an alert is raised or over. The same numbers go to `/metrics`.
"""

import asyncio
import time
from typing import Final

import prometheus_client as p
import structlog

from server.contract.commit import Committed
from server.current_policy import Policies
from server.dispatch import commands as c
from server.dispatch.alerts import Measured, ZoneNumbers, judge, measure
from server.dispatch.refusals import Refusal
from server.dispatcher.lease import Lease
from server.ids import new_id
from server.store.connections import Pool
from server.store.engine import DATABASE_ERRORS
from server.store.query import DatabaseAway
from server.store.queues.webhooks import read_backlog
from server.store.reads.zone_numbers import Standing, ZoneRow, read_standing, read_zones
from server.tasks import wait_until_set
from server.write.executor import Executor

EVERY_SECONDS: Final = 5.0
REST_FACTOR: Final = 20
"""A look that takes long is followed by a pause so many times as long."""

UNASSIGNED: Final = p.Gauge("callboard_unassigned", "Deliveries that want a driver and have none", ["zone"])
LONG_UNASSIGNED: Final = p.Gauge("callboard_unassigned_over_5min", "Those that have wanted one for 5 minutes", ["zone"])
ACCEPTANCE: Final = p.Gauge(
    "callboard_acceptance_rate", "Offers accepted, of those that ended in the policy's window", ["zone"]
)
REJECTED: Final = p.Gauge("callboard_rejected_share", "Offers rejected, of those that ended in the window", ["zone"])
ENDED: Final = p.Gauge("callboard_offers_in_window", "Offers that ended in the window, not taken back", ["zone"])
RESPONSE: Final = p.Gauge("callboard_response_seconds_avg", "Drivers' average time to answer in the window", ["zone"])
STANDING: Final = p.Gauge("callboard_alerts_standing", "Alerts that are not over", ["kind", "zone"])
UNACKNOWLEDGED: Final = p.Gauge("callboard_alerts_unacknowledged", "Alerts that nobody looks after yet")
OPEN_MESSAGES: Final = p.Gauge("callboard_webhook_messages_open", "Messages not delivered yet")
OLDEST_MESSAGE: Final = p.Gauge("callboard_webhook_oldest_seconds", "Age of the oldest message not delivered yet")
PARKED_MESSAGES: Final = p.Gauge("callboard_webhook_messages_parked_now", "Messages given up, that nobody sent again")
LOOKED: Final = p.Gauge("callboard_watch_last_look_timestamp_seconds", "When the watch last looked, in Unix time")
LOOK_TIME: Final = p.Histogram("callboard_watch_seconds", "How long a look took", buckets=(0.005, 0.02, 0.1, 0.5, 2, 5))

OF_ZONES: Final = (UNASSIGNED, LONG_UNASSIGNED, ACCEPTANCE, REJECTED, ENDED, RESPONSE, STANDING)

log = structlog.get_logger(__name__)


class Watch:
    """`run` is to be supervised."""

    def __init__(self, *, pool: Pool, lease: Lease, executor: Executor, policies: Policies) -> None:
        self._pool = pool
        self._lease = lease
        self._executor = executor
        self._policies = policies
        self._now = asyncio.Event()
        self._count_due = 0.0

    def look_now(self) -> None:
        """The numbers, or what they are judged by, may have changed a lot."""
        self._now.set()

    def committed(self, commit: Committed) -> None:
        """Other thresholds count at once."""
        if commit.policy is not None:
            self.look_now()

    async def run(self) -> None:
        """Look every few seconds, for ever."""
        while True:
            if not self._lease.held:
                _forget()
                await self._lease.taken.wait()
            self._now.clear()
            started = time.monotonic()
            took = 0.0
            try:
                await self.look()
                took = time.monotonic() - started
                if started >= self._count_due:
                    await self.count_messages()
            except (DatabaseAway, *DATABASE_ERRORS) as error:
                log.warning("watch_cannot_look", reason=repr(error))
            took = took or time.monotonic() - started
            LOOK_TIME.observe(took)
            await wait_until_set(self._now, max(EVERY_SECONDS, REST_FACTOR * took))

    async def look(self) -> None:
        """Measure every zone, and ask for what its numbers ask for. Raises what the database raises."""
        policy = self._policies.current.alerts
        rows = await read_zones(self._pool, policy.window_minutes)
        standing = await read_standing(self._pool)
        zones = {row.zone: row.numbers for row in rows}
        for alert in standing:
            zones.setdefault(alert.zone, ZoneNumbers(alert.zone))
        known = {(alert.kind, alert.zone): alert for alert in standing}
        asked = [
            command
            for numbers in zones.values()
            for measured in measure(numbers, policy)
            if (command := _command(measured, known.get((measured.kind, measured.zone)))) is not None
        ]
        for answer in await asyncio.gather(*(self._executor.submit(command) for command in asked)):
            if isinstance(answer, Refusal):
                log.info("alert_not_changed", code=answer.code)
        _show(rows, await read_standing(self._pool) if asked else standing)
        LOOKED.set(time.time())

    async def count_messages(self) -> None:
        """Count the line of webhooks' messages. A long one is counted less often; alerts do not wait for that.

        Raises what the database raises.
        """
        started = time.monotonic()
        backlog = await read_backlog(self._pool)
        self._count_due = started + REST_FACTOR * (time.monotonic() - started)
        OPEN_MESSAGES.set(backlog.open)
        OLDEST_MESSAGE.set(backlog.oldest_seconds or 0.0)
        PARKED_MESSAGES.set(backlog.parked)


def _command(measured: Measured, alert: Standing | None) -> c.Command | None:
    asks = judge(measured, standing=alert is not None)
    if asks == "raise":
        return c.RaiseAlert(new_id(), measured.kind, measured.zone, measured.value, measured.threshold)
    if asks == "resolve":
        assert alert is not None
        return c.ResolveAlert(alert.id, measured.value)
    return None


def _show(rows: list[ZoneRow], standing: list[Standing]) -> None:
    """The numbers as metrics; zones in which nothing happens any more are gone from them."""
    _forget()
    for row in rows:
        UNASSIGNED.labels(row.zone).set(row.unassigned)
        LONG_UNASSIGNED.labels(row.zone).set(row.over_five_minutes)
        ENDED.labels(row.zone).set(row.answered)
        if row.answered:
            ACCEPTANCE.labels(row.zone).set(row.accepted / row.answered)
            REJECTED.labels(row.zone).set(row.rejected / row.answered)
        if row.response_ms is not None:
            RESPONSE.labels(row.zone).set(row.response_ms / 1000)
    for alert in standing:
        STANDING.labels(alert.kind, alert.zone).set(1)
    UNACKNOWLEDGED.set(sum(not alert.acknowledged for alert in standing))


def _forget() -> None:
    """Only the node that watches shows these numbers."""
    for gauge in OF_ZONES:
        gauge.clear()
    for gauge in (UNACKNOWLEDGED, OPEN_MESSAGES, OLDEST_MESSAGE, PARKED_MESSAGES):
        gauge.set(0)
