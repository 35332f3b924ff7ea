"""The data of a driver's page besides the driver: active deliveries, last offers and statistics of answers."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.driver_runs import place_of
from server.dispatch.model import Delivery, Place, RunStop
from server.store.connections import Pool
from server.store.query import fetch, fetch_as, fetch_one
from server.store.reads.pay import IS_REAL_OFFER
from server.store.rows import WORK as WORK_OF_DRIVERS
from server.store.rows import work_from

OFFERS: Final = """
SELECT o.delivery_id, d.store_name, d.seller_order_id, o.status, o.auto_accepted, o.created_at, o.received_at,
       o.closed_at, o.closing_reason, o.driver_response_time_ms
FROM (SELECT offer_id FROM events WHERE driver_id = $1 AND type = 'offer.created' ORDER BY id DESC LIMIT $2) e
JOIN driver_offers o ON o.id = e.offer_id JOIN deliveries d ON d.id = o.delivery_id
ORDER BY o.id DESC"""
WORK: Final = """
SELECT a.id, a.delivery_id, d.store_name, d.seller_order_id, a.source, a.created_at, a.picked_up_at,
       d.pickup_lat, d.pickup_lon, d.dropoff_lat, d.dropoff_lon, run.stop, run.stops
FROM assignments a JOIN deliveries d ON d.id = a.delivery_id
LEFT JOIN LATERAL (
    SELECT min(number) FILTER (WHERE assignment_id = a.id::text), count(*)
    FROM (SELECT s ->> 'assignmentId' AS assignment_id, row_number() OVER (ORDER BY place) AS number
          FROM driver_runs r, jsonb_array_elements(r.stops) WITH ORDINALITY AS x (s, place)
          WHERE r.driver_id = a.driver_id AND NOT s ? 'doneAt') x) AS run (stop, stops) ON true
WHERE a.driver_id = $1 AND a.status = 'ACTIVE' ORDER BY run.stop, a.created_at"""
# Found by way of the events, which are indexed by driver. What was withdrawn says nothing about the driver.
ANSWERS: Final = f"""
WITH o AS (
    SELECT status, auto_accepted, driver_response_time_ms AS ms
    FROM (SELECT offer_id FROM events WHERE driver_id = $1 AND type = 'offer.created' ORDER BY id DESC LIMIT 100) e
    JOIN driver_offers o ON o.id = e.offer_id WHERE status IN ('ACCEPTED', 'REJECTED', 'EXPIRED')
      AND {IS_REAL_OFFER})
SELECT count(*), count(*) FILTER (WHERE status = 'ACCEPTED'), count(*) FILTER (WHERE status = 'REJECTED'),
       count(*) FILTER (WHERE status = 'EXPIRED' AND NOT auto_accepted), count(*) FILTER (WHERE auto_accepted),
       avg(ms)::float8
FROM o"""  # noqa: S608


class OfferToDriver(Struct, frozen=True):
    delivery_id: str
    store_name: str
    order_id: str
    status: str
    auto_accepted: bool
    created_at: datetime
    received_at: datetime | None
    closed_at: datetime | None
    reason: str | None
    response_ms: int | None


class WorkRow(Struct, frozen=True):
    """An active delivery of a driver. Its next stop is the `stop`th of the `stops` that the driver still has, if the
    driver has a run.
    """

    id: str
    delivery_id: str
    store_name: str
    order_id: str
    source: str
    created_at: datetime
    picked_up_at: datetime | None
    lat: float
    lon: float
    dropoff_lat: float
    dropoff_lon: float
    stop: int | None
    stops: int


class OfferAnswers(Struct, frozen=True):
    """How a driver answers: the last hundred offers, without withdrawn ones."""

    offers: int
    accepted: int
    rejected: int
    missed: int
    by_silence: int
    response_ms: float | None


async def offers_of(pool: Pool, driver_id: str, limit: int) -> list[OfferToDriver]:
    """The driver's offers, the newest first. Raises DatabaseAway."""
    return await fetch_as(pool, OfferToDriver, OFFERS, driver_id, limit)


async def work_of(pool: Pool, driver_id: str) -> list[WorkRow]:
    """The driver's active deliveries, in the order of their run, or the oldest first. Raises DatabaseAway."""
    return await fetch_as(pool, WorkRow, WORK, driver_id)


async def stops_of(pool: Pool, driver_id: str) -> list[tuple[RunStop, Delivery, Place]]:
    """The stops of the driver's run, in order, each with its delivery and its place. Raises DatabaseAway."""
    [(_, text)] = await fetch(pool, WORK_OF_DRIVERS, [driver_id])
    work = work_from(text)
    known = [(stop, work.deliveries[stop.delivery_id]) for stop in work.stops if stop.delivery_id in work.deliveries]
    return [(stop, delivery, place_of(stop, delivery)) for stop, delivery in known]


async def answers_of(pool: Pool, driver_id: str) -> OfferAnswers:
    """How the driver answers. Raises DatabaseAway."""
    return OfferAnswers(*await fetch_one(pool, ANSWERS, driver_id))
