"""Compares each zone's numbers with the policy's thresholds, every few seconds, on the node that holds the lease.

It only measures and submits commands; the rules raise and resolve alerts. The same numbers go to `/metrics`.
"""

import asyncio
import time
from typing import Final

import prometheus_client as p
import structlog

from server.contract.commit import Committed
from server.current_policy import Policies
from server.dispatch import commands as c
from server.dispatch.alerts import Measured, ZoneNumbers, evaluate, measure
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.lease import Lease
from server.store.connections import Pool
from server.store.engine import DATABASE_ERRORS
from server.store.query import DatabaseAway
from server.store.queues.webhook_queue import read_backlog
from server.store.reads.zone_numbers import OpenAlert, ZoneNumbersRow, read_open_alert_keys, read_zone_numbers
from server.tasks import wait_until_set
from server.write.executor import Executor

EVERY_SECONDS: Final = 5.0
REST_FACTOR: Final = 20
"""The pause after a measurement is at least this many times as long as the measurement."""

UNASSIGNED: Final = p.Gauge("callboard_unassigned", "Deliveries that wait for a driver", ["zone"])
LONG_UNASSIGNED: Final = p.Gauge(
    "callboard_unassigned_over_5min", "Deliveries that have waited for a driver for more than 5 minutes", ["zone"]
)
ACCEPTANCE: Final = p.Gauge(
    "callboard_acceptance_rate", "Share of offers accepted, of those that ended in the policy's time window", ["zone"]
)
REJECTED: Final = p.Gauge(
    "callboard_rejected_share", "Share of offers rejected, of those that ended in the time window", ["zone"]
)
ENDED: Final = p.Gauge(
    "callboard_offers_in_window", "Offers that ended in the time window, without withdrawn ones", ["zone"]
)
RESPONSE: Final = p.Gauge(
    "callboard_response_seconds_avg", "Average time that drivers took to answer an offer in the time window", ["zone"]
)
OPEN_ALERTS: Final = p.Gauge("callboard_alerts_open", "Open alerts", ["kind", "zone"])
UNACKNOWLEDGED: Final = p.Gauge("callboard_alerts_unacknowledged", "Open alerts that nobody has acknowledged")
OPEN_MESSAGES: Final = p.Gauge("callboard_webhook_messages_open", "Webhook messages that wait to be delivered")
OLDEST_MESSAGE: Final = p.Gauge(
    "callboard_webhook_oldest_seconds", "Age of the oldest webhook message that waits to be delivered"
)
PARKED_MESSAGES: Final = p.Gauge("callboard_webhook_messages_parked_now", "Parked webhook messages")
LOOKED: Final = p.Gauge(
    "callboard_watch_last_look_timestamp_seconds", "When the alert monitor last measured all zones, in Unix time"
)
LOOK_TIME: Final = p.Histogram(
    "callboard_watch_seconds",
    "How long the alert monitor took to measure all zones",
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 5),
)

OF_ZONES: Final = (UNASSIGNED, LONG_UNASSIGNED, ACCEPTANCE, REJECTED, ENDED, RESPONSE, OPEN_ALERTS)

log = structlog.get_logger(__name__)


class AlertMonitor:
    """`run` is to be supervised."""

    def __init__(self, *, pool: Pool, lease: Lease, executor: Executor, policies: Policies) -> None:
        self._pool = pool
        self._lease = lease
        self._executor = executor
        self._policies = policies
        self._look_now = asyncio.Event()
        self._looking = asyncio.Lock()
        self._count_due = 0.0

    def look_now(self) -> None:
        """The numbers or their thresholds may have changed a lot."""
        self._look_now.set()

    def committed(self, commit: Committed) -> None:
        """New thresholds apply at once."""
        if commit.policy is not None:
            self.look_now()

    async def run(self) -> None:
        """Measure every few seconds."""
        while True:
            if not self._lease.held:
                _forget()
                await self._lease.taken.wait()
            self._look_now.clear()
            started = time.monotonic()
            pause = EVERY_SECONDS
            try:
                await self.look()
                took = time.monotonic() - started
                LOOK_TIME.observe(took)
                pause = max(pause, REST_FACTOR * took)
                if started >= self._count_due:
                    await self.count_messages()
            except (DatabaseAway, *DATABASE_ERRORS) as error:
                log.warning("watch_failed", reason=repr(error))
            await wait_until_set(self._look_now, pause)

    async def look(self) -> None:
        """Measure every zone, and submit the commands that follow. Raises what the database raises.

        One look at a time: numbers from before another look's commands would raise again what that one resolved.
        """
        async with self._looking:
            policy = self._policies.current.alerts
            rows = await read_zone_numbers(self._pool, policy.window_minutes)
            open_alerts = await read_open_alert_keys(self._pool)
            zones = {row.zone: row.numbers for row in rows}
            for alert in open_alerts:
                zones.setdefault(alert.zone, ZoneNumbers(alert.zone))
            known = {(alert.kind, alert.zone): alert for alert in open_alerts}
            commands = [
                command
                for numbers in zones.values()
                for measured in measure(numbers, policy)
                if (command := _command(measured, known.get((measured.kind, measured.zone)))) is not None
            ]
            for answer in await asyncio.gather(*(self._executor.submit(command) for command in commands)):
                if isinstance(answer, Refusal):
                    log.info("alert_not_changed", code=answer.code)
            _show(rows, await read_open_alert_keys(self._pool) if commands else open_alerts)
            LOOKED.set(time.time())

    async def count_messages(self) -> None:
        """Count the waiting webhook messages. A long queue is counted less often; alerts do not wait for it.

        Raises what the database raises.
        """
        started = time.monotonic()
        backlog = await read_backlog(self._pool)
        self._count_due = started + REST_FACTOR * (time.monotonic() - started)
        OPEN_MESSAGES.set(backlog.open)
        OLDEST_MESSAGE.set(backlog.oldest_seconds or 0.0)
        PARKED_MESSAGES.set(backlog.parked)


def _command(measured: Measured, alert: OpenAlert | None) -> c.Command | None:
    change = evaluate(measured, is_open=alert is not None)
    if change == "raise":
        return c.RaiseAlert(new_id(), measured.kind, measured.zone, measured.value, measured.threshold)
    if change == "resolve":
        assert alert is not None
        return c.ResolveAlert(alert.id, measured.value)
    return None


def _show(rows: list[ZoneNumbersRow], open_alerts: list[OpenAlert]) -> None:
    """Set the metrics; zones without activity are removed from them."""
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
    for alert in open_alerts:
        OPEN_ALERTS.labels(alert.kind, alert.zone).set(1)
    UNACKNOWLEDGED.set(sum(not alert.acknowledged for alert in open_alerts))


def _forget() -> None:
    """Only the node that measures shows these numbers."""
    for gauge in OF_ZONES:
        gauge.clear()
    for gauge in (UNACKNOWLEDGED, OPEN_MESSAGES, OLDEST_MESSAGE, PARKED_MESSAGES):
        gauge.set(0)
