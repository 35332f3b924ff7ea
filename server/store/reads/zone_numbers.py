"""Reads the numbers of each zone, the open alerts, and the causes of an alert."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.alerts import ZoneNumbers, measure
from server.dispatch.model import Alert, DeliveryStatus
from server.dispatch.policy import AlertPolicy
from server.store.connections import Pool
from server.store.query import fetch_as
from server.store.reads.pay import IS_REAL_OFFER
from server.store.reads.window_numbers import LONGEST_OFFER

# An offer that ended in the window was made at most the longest offer before it: a range of the table's end.
NUMBERS: Final = f"""
WITH ended AS (
    SELECT d.zone,
           count(*) FILTER (WHERE o.status = 'ACCEPTED') AS accepted,
           count(*) FILTER (WHERE o.auto_accepted) AS auto_accepted,
           count(*) FILTER (WHERE o.status = 'REJECTED') AS rejected,
           count(*) FILTER (WHERE o.status = 'EXPIRED' AND NOT o.auto_accepted) AS expired,
           avg(o.driver_response_time_ms)::float8 AS response_ms
    FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id
    WHERE o.created_at >= statement_timestamp() - make_interval(mins => $1, secs => $2)
      AND o.closed_at >= statement_timestamp() - make_interval(mins => $1) AND {IS_REAL_OFFER}
    GROUP BY d.zone),
waiting AS (
    SELECT zone, count(*) AS waiting,
           count(*) FILTER (WHERE unassigned_since < statement_timestamp() - interval '5 minutes') AS long
    FROM deliveries WHERE status = 'READY' AND held_until IS NULL GROUP BY zone)
SELECT coalesce(e.zone, w.zone), coalesce(w.waiting, 0), coalesce(w.long, 0), coalesce(e.accepted, 0),
       coalesce(e.auto_accepted, 0), coalesce(e.rejected, 0), coalesce(e.expired, 0), e.response_ms
FROM ended e FULL JOIN waiting w ON w.zone = e.zone"""  # noqa: S608
OPEN_ALERTS: Final = "SELECT id, kind, zone, acknowledged_by IS NOT NULL FROM alerts WHERE resolved_at IS NULL"

# The causes of an alert: in a zone now, and in the time window before the alert was resolved (or now).
WAITING_NOW: Final = """
SELECT id, seller_order_id, store_name, status, 0 FROM deliveries
WHERE status = 'READY' AND held_until IS NULL AND zone = $1 ORDER BY unassigned_since LIMIT $2"""
# For a resolved alert: the deliveries that waited when it was raised, by their latest event until then.
WAITING_THEN: Final = """
SELECT d.id, d.seller_order_id, d.store_name, d.status, 0 FROM deliveries d
WHERE d.zone = $1 AND d.created_at BETWEEN $3::timestamptz - interval '1 day' AND $3
  AND (SELECT e.type FROM events e
       WHERE e.delivery_id = d.id AND e.at <= $3
         AND e.type IN ('delivery.ready', 'delivery.hold_ended', 'delivery.reassigned', 'delivery.released',
                        'delivery.restored', 'delivery.retried', 'delivery.held', 'delivery.postponed',
                        'delivery.assigned', 'delivery.cancelled')
       ORDER BY e.id DESC LIMIT 1) IN ('delivery.ready', 'delivery.hold_ended', 'delivery.reassigned',
                                       'delivery.released', 'delivery.restored', 'delivery.retried')
ORDER BY d.id LIMIT $2"""
# Who was asked for these and did not take them.
NOT_TAKING: Final = """
SELECT r.id, r.name, count(*),
       mode() WITHIN GROUP (ORDER BY CASE WHEN o.status = 'EXPIRED' THEN 'no_answer'
                                          ELSE coalesce(nullif(o.rejection_reason, ''), 'none_given') END)
FROM driver_offers o JOIN drivers r ON r.id = o.driver_id
WHERE o.delivery_id = ANY ($1::text[]::uuid[]) AND o.closed_at <= $3
  AND (o.status = 'REJECTED' OR (o.status = 'EXPIRED' AND NOT o.auto_accepted))
GROUP BY r.id ORDER BY count(*) DESC, r.id DESC LIMIT $2"""
_REJECTED: Final = f"""
FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id JOIN drivers r ON r.id = o.driver_id
WHERE o.created_at >= $3::timestamptz - make_interval(mins => $4, secs => $5) AND o.status = 'REJECTED' AND d.zone = $1
  AND {IS_REAL_OFFER}
  AND o.closed_at BETWEEN $3 - make_interval(mins => $4) AND $3"""
REJECTED_DELIVERIES: Final = f"""
SELECT d.id, d.seller_order_id, d.store_name, d.status, count(*) {_REJECTED}
GROUP BY d.id ORDER BY count(*) DESC, d.id DESC LIMIT $2"""
REJECTING_DRIVERS: Final = f"""
SELECT r.id, r.name, count(*),
       mode() WITHIN GROUP (ORDER BY coalesce(nullif(o.rejection_reason, ''), 'none_given')) {_REJECTED}
GROUP BY r.id ORDER BY count(*) DESC, r.id DESC LIMIT $2"""
BEHIND_LIMIT: Final = 50


class ZoneNumbersRow(Struct, frozen=True):
    """A zone's numbers: those without a driver now, of them for over five minutes; offers that ended in the window."""

    zone: str
    unassigned: int
    over_five_minutes: int
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    response_ms: float | None

    @property
    def answered(self) -> int:
        """Offers that ended other than by withdrawal."""
        return self.accepted + self.auto_accepted + self.rejected + self.expired

    @property
    def numbers(self) -> ZoneNumbers:
        return ZoneNumbers(self.zone, self.unassigned, self.rejected, self.answered)


class OpenAlert(Struct, frozen=True):
    id: str
    kind: str
    zone: str
    acknowledged: bool


async def read_zone_numbers(pool: Pool, window_minutes: int) -> list[ZoneNumbersRow]:
    """Every zone in which anything waits or ended in the window. Raises DatabaseAway."""
    return await fetch_as(pool, ZoneNumbersRow, NUMBERS, window_minutes, LONGEST_OFFER.total_seconds())


async def read_numbers_now(pool: Pool, alerts: Iterable[tuple[str, str, str]], policy: AlertPolicy) -> dict[str, float]:
    """The current number of each open alert, given as (id, kind, zone): by id. Raises DatabaseAway."""
    wanted = list(alerts)
    if not wanted:
        return {}
    zones = {row.zone: row.numbers for row in await read_zone_numbers(pool, policy.window_minutes)}
    numbers = {
        (measured.kind, zone): measured.value
        for zone in {zone for _, _, zone in wanted}
        for measured in measure(zones.get(zone, ZoneNumbers(zone)), policy)
    }
    return {alert_id: numbers[kind, zone] for alert_id, kind, zone in wanted if (kind, zone) in numbers}  # type: ignore[index]


async def read_open_alert_keys(pool: Pool) -> list[OpenAlert]:
    """The open alerts. Raises DatabaseAway."""
    return await fetch_as(pool, OpenAlert, OPEN_ALERTS)


class DeliveryBehind(Struct, frozen=True):
    """A delivery that contributes to an alert, and how many of its offers were rejected in the time window."""

    id: str
    seller_order_id: str
    store_name: str
    status: DeliveryStatus
    rejections: int


class DriverBehind(Struct, frozen=True):
    """A driver who contributes to an alert: how many offers they did not accept, and their most frequent reason."""

    id: str
    name: str
    rejections: int
    reason: str


async def read_behind(
    pool: Pool, alert: Alert, now: datetime, window_minutes: int
) -> tuple[list[DeliveryBehind], list[DriverBehind]]:
    """The deliveries and drivers that caused an alert, worst first. Raises DatabaseAway.

    1. Too many orders without a driver: those that wait, or waited when a resolved alert was raised; and the drivers
       who got offers for them and did not accept.
    2. Too many offers rejected: the deliveries and drivers of the rejected offers, in the time window until now or the
       end.
    """
    if alert.kind == "unassigned_count":
        over = alert.resolved_at is not None
        then = (alert.raised_at,) if over else ()
        which = WAITING_THEN if over else WAITING_NOW
        waiting = await fetch_as(pool, DeliveryBehind, which, alert.zone, BEHIND_LIMIT, *then)
        ids = [delivery.id for delivery in waiting]
        return waiting, await fetch_as(pool, DriverBehind, NOT_TAKING, ids, BEHIND_LIMIT, alert.resolved_at or now)
    about = (alert.zone, BEHIND_LIMIT, alert.resolved_at or now, window_minutes, LONGEST_OFFER.total_seconds())
    deliveries = await fetch_as(pool, DeliveryBehind, REJECTED_DELIVERIES, *about)
    return deliveries, await fetch_as(pool, DriverBehind, REJECTING_DRIVERS, *about)
