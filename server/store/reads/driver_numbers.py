"""A driver's own numbers: what they delivered, what it pays, and how long they were on shift."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from server.dispatch.model import Availability
from server.ids import first_id_at
from server.store.connections import Pool
from server.store.query import fetch_as
from server.store.reads.pay import CENTS, CURRENCY, IS_REAL

ORDERED_EARLIER: Final = timedelta(days=31)
"""An order that was created longer before its delivery is not counted."""
ON_SHIFT: Final = ("available", "paused")

# $1 the driver, $2 the start, $3 the first id of the orders.
DELIVERED: Final = f"""
SELECT a.completed_at, {CURRENCY}, {CENTS}
FROM (SELECT DISTINCT delivery_id FROM events
      WHERE driver_id = $1 AND type = 'delivery.assigned' AND delivery_id >= $3) e
JOIN assignments a ON a.delivery_id = e.delivery_id AND a.driver_id = $1 AND a.status = 'COMPLETED'
JOIN deliveries d ON d.id = a.delivery_id
LEFT JOIN driver_offers o ON o.id = a.offer_id
WHERE a.completed_at >= $2 AND {IS_REAL}"""  # noqa: S608
CHANGES: Final = """
SELECT d.availability, h."timestamp", h.from_state, h.to_state
FROM drivers d LEFT JOIN driver_availability_history h ON h.driver_id = d.id AND h."timestamp" >= $2
WHERE d.id = $1 ORDER BY h."timestamp", h.id"""


class Delivered(Struct, frozen=True):
    """A delivery that the driver completed, and its pay with the tip in minor units; None if nobody named one."""

    at: datetime
    currency: str
    cents: int | None


class Stay(Struct, frozen=True):
    availability: Availability
    since: datetime
    until: datetime


class _Change(Struct, frozen=True):
    """The driver's availability now, and a change in the time, if there was one."""

    now: Availability
    at: datetime | None
    before: Availability | None
    after: Availability | None


class DriverNumbers(Struct, frozen=True):
    """Deliveries and stays of a driver, from `since` on."""

    delivered: Sequence[Delivered]
    stays: Sequence[Stay]


async def read_driver_numbers(pool: Pool, driver_id: str, since: datetime, now: datetime) -> DriverNumbers | None:
    """What the driver did from `since` until `now`; None if there is no such driver. Raises DatabaseAway."""
    changes = await fetch_as(pool, _Change, CHANGES, driver_id, since)
    if not changes:
        return None
    delivered = await fetch_as(pool, Delivered, DELIVERED, driver_id, since, first_id_at(since - ORDERED_EARLIER))
    return DriverNumbers(delivered, [*_stays(changes, since, now)])


def _stays(changes: Sequence[_Change], since: datetime, now: datetime) -> Iterator[Stay]:
    """One stay up to each change, and the last until now."""
    at = since
    for change in changes:
        if change.at is not None and change.before is not None:
            yield Stay(change.before, at, change.at)
            at = change.at
    yield Stay(changes[-1].after or changes[-1].now, at, max(at, now))


def seconds_in(stays: Sequence[Stay], since: datetime, *availabilities: Availability) -> int:
    """The whole seconds that the stays in these availabilities last, from `since` on."""
    spans = [stay.until - max(stay.since, since) for stay in stays if stay.availability in availabilities]
    return int(sum((max(span, timedelta()) for span in spans), timedelta()).total_seconds())
