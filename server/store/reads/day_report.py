"""Reading a day for its report: its orders, and how long drivers were on shift."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from server.contract.day_report import DayOrder, DayReport, DayStay, day_report
from server.dispatch.model import Availability
from server.ids import first_id_at
from server.settings import time_zone_of
from server.store.connections import Pool, Record
from server.store.query import fetch, fetch_as
from server.store.reads.pay import CENTS, CURRENCY, IS_REAL

CREATED_EARLIER: Final = timedelta(days=31)
"""An order that was created longer before its search began is not counted."""
LATER: Final = timedelta(seconds=1)
"""The clock that makes ids and the one that writes times differ by less than this."""

# $1 and $2 the day, $3 and $4 the ids between which its orders are, $5 the first id that was made in it. The search for
# an order that was created after its `dispatchAt` began when it was created.
ORDERS: Final = f"""
SELECT d.store_name, d.status, greatest(d.dispatch_at, d.created_at), d.promised_at, u.first_attempt_at,
       (SELECT min(f.created_at) FROM assignments f WHERE f.delivery_id = d.id),
       a.driver_id::text, a.completed_at, {CURRENCY}, {CENTS}
FROM deliveries d
LEFT JOIN unassigned_orders u ON u.delivery_id = d.id
LEFT JOIN assignments a ON a.id = (
    SELECT s.id FROM assignments s
    WHERE s.delivery_id = d.id AND (s.status IN ('COMPLETED', 'FAILED', 'RETURNED')
      OR s.status = 'ACTIVE' AND d.status = 'RETURNING')
    ORDER BY s.created_at DESC, s.id DESC LIMIT 1)
LEFT JOIN driver_offers o ON o.id = a.offer_id
WHERE d.created_at < $2 AND {IS_REAL}
  AND (d.id >= $3 AND d.id < $4 AND d.dispatch_at >= $1 AND d.dispatch_at < $2
    OR d.id >= $5 AND d.id < $4 AND d.dispatch_at < $1 AND d.created_at >= $1)"""  # noqa: S608
# Their availability at the end of the day is that before the first change after it.
DRIVERS: Final = """
SELECT d.id::text, d.name, coalesce((
    SELECT h.from_state FROM driver_availability_history h
    WHERE h.driver_id = d.id AND h."timestamp" >= $1 ORDER BY h."timestamp", h.id LIMIT 1), d.availability)
FROM drivers d WHERE d.created_at < $1"""
CHANGES: Final = """
SELECT h.driver_id::text, h."timestamp", h.from_state
FROM drivers d JOIN driver_availability_history h
  ON h.driver_id = d.id AND h."timestamp" >= $1 AND h."timestamp" < $2
ORDER BY h.driver_id, h."timestamp", h.id"""


async def read_day_report(pool: Pool, since: datetime, until: datetime, now: datetime, zone_name: str) -> DayReport:
    """The report of a day of a time zone; of today until now. Raises DatabaseAway."""
    ids = first_id_at(since - CREATED_EARLIER), first_id_at(until + LATER), first_id_at(since - LATER)
    orders = await fetch_as(pool, DayOrder, ORDERS, since, until, *ids)
    ended = min(until, now)
    drivers = await fetch(pool, DRIVERS, ended)
    changes = await fetch(pool, CHANGES, since, ended)
    stays = [*_stays(drivers, changes, since, ended)]
    names = {row[0]: row[1] for row in drivers}
    return day_report(since, until, time_zone_of(zone_name), orders, stays, names)


def _stays(drivers: list[Record], changes: list[Record], since: datetime, until: datetime) -> Iterator[DayStay]:
    """One stay up to each change, and the last until the end of the day."""
    begun: dict[str, datetime] = {}
    for driver_id, at, before in changes:
        availability: Availability = before
        yield DayStay(driver_id, availability, begun.get(driver_id, since), at)
        begun[driver_id] = at
    for driver_id, _, last in drivers:
        yield DayStay(driver_id, last, begun.get(driver_id, since), until)
