"""Reads for forecasts and estimates: what waits, who is at work, and what drivers have."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from server.dispatch.model import RunStop
from server.dispatch.policy import Policy
from server.store.connections import Pool
from server.store.query import fetch, fetch_one
from server.store.reads.waiting import DISPATCHABLE

LIMIT: Final = 5_000
"""The most deliveries that are read, those that wait longest."""
DRIVERS_LIMIT: Final = 20_000

_READY: Final = """
extract(epoch FROM coalesce(d.ready_at, d.dispatch_at + make_interval(secs => d.prep_seconds)))::float8"""
_OF_ZONE: Final = "($3::text[] IS NULL OR d.zone = ANY($3))"
_CARRIED: Final = f"""
json_build_array(a.driver_id, a.id, d.id, d.status, d.pickup_lat, d.pickup_lon, d.dropoff_lat, d.dropoff_lon, {_READY},
    extract(epoch FROM a.picked_up_at)::float8, d.details #> '{{store}}')"""
# $1, $2 the policy's freshness of positions and of calls, $3 zones or NULL, $4, $5 limits, $6 cooldown of offers.
SITUATION: Final = f"""
SELECT date_trunc('milliseconds', statement_timestamp()),
(SELECT json_agg(json_build_array(zone, waiting, held, ARRAY[five, ten, fifteen])) FROM (
    SELECT zone, count(*) FILTER (WHERE status = 'READY' AND held_until IS NULL) AS waiting,
           count(held_until) AS held, count(*) FILTER (WHERE left_for <= interval '5 minutes') AS five,
           count(*) FILTER (WHERE left_for <= interval '10 minutes') AS ten,
           count(*) FILTER (WHERE left_for <= interval '15 minutes') AS fifteen
    FROM (SELECT d.zone, d.status, CASE WHEN status = 'READY' THEN held_until END AS held_until,
                 CASE status WHEN 'READY' THEN held_until ELSE dispatch_at END - statement_timestamp() AS left_for
          FROM deliveries d
          WHERE {_OF_ZONE} AND (status = 'READY' OR status = 'SCHEDULED'
                                AND dispatch_at <= statement_timestamp() + interval '15 minutes')) d
    GROUP BY zone) n),
(SELECT json_agg(json_build_array(
    d.id, d.zone, d.pickup_lat, d.pickup_lon, d.dropoff_lat, d.dropoff_lon, {_READY},
    extract(epoch FROM coalesce(d.held_until, d.unassigned_since, d.created_at))::float8, d.held_until IS NOT NULL,
    d.widened_at IS NOT NULL, d.requirements, coalesce(d.details ? 'warnings' AND NOT d.details ? 'checked', false),
    (SELECT o.driver_id FROM driver_offers o WHERE o.id = d.current_offer_id),
    (SELECT json_agg(o.driver_id) FROM driver_offers o
     WHERE o.delivery_id = d.id AND (o.status = 'REJECTED' OR o.status = 'EXPIRED'
         AND (d.widened_at IS NULL OR o.closed_at > d.widened_at)
         AND o.closed_at > statement_timestamp() - make_interval(secs => $6))),
    (SELECT json_agg(a.driver_id) FROM assignments a
     WHERE a.delivery_id = d.id AND a.status IN ('REASSIGNED', 'RELEASED'))))
 FROM (SELECT * FROM deliveries d WHERE status = 'READY' AND {_OF_ZONE} ORDER BY unassigned_since LIMIT $4) d),
(SELECT json_agg(json_build_array(
    d.id, d.zone, d.capacity, CASE WHEN {DISPATCHABLE} THEN 'free' WHEN d.availability = 'on_break' THEN 'on_break'
        WHEN d.availability = 'available' AND (d.active_count >= d.capacity OR d.open_offer_id IS NOT NULL)
        THEN 'occupied' ELSE 'away' END,
    p.lat, p.lon, extract(epoch FROM p.at)::float8, extract(epoch FROM d.availability_until)::float8, d.tags,
    extract(epoch FROM d.shift_ends_at)::float8, r.stops))
 FROM (SELECT * FROM drivers d
       WHERE active AND availability IN ('available', 'on_break', 'paused') AND {_OF_ZONE} LIMIT $5) d
 JOIN driver_positions p ON p.driver_id = d.id AND p.at IS NOT NULL
 LEFT JOIN driver_runs r ON r.driver_id = d.id),
(SELECT json_agg({_CARRIED}) FROM assignments a JOIN deliveries d ON d.id = a.delivery_id
 WHERE a.status = 'ACTIVE' AND a.driver_id IN (
     SELECT d.id FROM drivers d WHERE availability IN ('available', 'on_break', 'paused') AND {_OF_ZONE}))
"""  # noqa: S608 - constants
OF_DRIVERS: Final = f"""
SELECT date_trunc('milliseconds', statement_timestamp()),
(SELECT json_agg(json_build_array(d.id, d.capacity, p.lat, p.lon, extract(epoch FROM p.at)::float8,
    extract(epoch FROM d.shift_ends_at)::float8, r.stops))
 FROM drivers d LEFT JOIN driver_positions p ON p.driver_id = d.id LEFT JOIN driver_runs r ON r.driver_id = d.id
 WHERE d.id = ANY($1::text[]::uuid[])),
(SELECT json_agg({_CARRIED}) FROM assignments a JOIN deliveries d ON d.id = a.delivery_id
 WHERE a.status = 'ACTIVE' AND a.driver_id = ANY($1::text[]::uuid[]))"""  # noqa: S608 - constants


class ZoneNow(Struct, frozen=True, array_like=True):
    """How many deliveries of a zone wait, are held, and begin to wait within 5, 10 and 15 minutes."""

    zone: str
    waiting: int
    held: int
    arriving: tuple[int, int, int]


class WaitingNow(Struct, frozen=True, array_like=True):
    """A delivery that waits or is held; times in Unix seconds."""

    id: str
    zone: str
    pickup_lat: float
    pickup_lon: float
    dropoff_lat: float
    dropoff_lon: float
    ready: float
    since: float
    held: bool
    widened: bool
    requirements: list[str] | None
    needs_check: bool
    offered_to: str | None
    refused_by: list[str] | None
    taken_from: list[str] | None


class DriverAtWork(Struct, frozen=True, array_like=True):
    """A driver at work with a position; times in Unix seconds. `until` is the end of a break, `stops` their run."""

    id: str
    zone: str
    capacity: int
    state: str
    lat: float
    lon: float
    at: float
    until: float | None
    tags: list[str] | None
    shift_ends: float | None
    stops: tuple[RunStop, ...] | None


class StorePlace(Struct, frozen=True):
    """The place that a delivery came from, if its pickup is elsewhere now."""

    lat: float
    lon: float


class InHandRow(Struct, frozen=True, array_like=True):
    """A delivery that a driver has; times in Unix seconds."""

    driver_id: str
    assignment_id: str
    id: str
    status: str
    pickup_lat: float
    pickup_lon: float
    dropoff_lat: float
    dropoff_lon: float
    ready: float
    picked_at: float | None
    store: StorePlace | None


class DriverPlace(Struct, frozen=True, array_like=True):
    """Where a driver was, if that is known, at a time in Unix seconds; how many deliveries they can have, the end of
    their shift, and their run.
    """

    id: str
    capacity: int
    lat: float | None
    lon: float | None
    at: float | None
    shift_ends: float | None
    stops: tuple[RunStop, ...] | None


class Situation(Struct, frozen=True):
    now: datetime
    zones: list[ZoneNow]
    waiting: list[WaitingNow]
    drivers: list[DriverAtWork]
    carried: list[InHandRow]


Row = TypeVar("Row", bound=Struct)


def _rows(kind: type[Row], text: str | None) -> list[Row]:
    return msgspec.json.decode(text, type=list[kind]) if text is not None else []  # type: ignore[valid-type]


async def read_situation(pool: Pool, policy: Policy, zones: Sequence[str] | None) -> tuple[datetime, list[str | None]]:
    """The situation in these zones, or in all (None), to be decoded with `situation_of`. Raises DatabaseAway."""
    row = await fetch_one(
        pool,
        SITUATION,
        float(policy.position_fresh_seconds),
        float(policy.call_presence_seconds),
        list(zones) if zones is not None else None,
        LIMIT,
        DRIVERS_LIMIT,
        float(policy.reoffer_cooldown_seconds),
    )
    now, *rest = row
    return now, rest


def situation_of(now: datetime, texts: Sequence[str | None]) -> Situation:
    """What `read_situation` returned."""
    zones, waiting, drivers, carried = texts
    return Situation(
        now,
        _rows(ZoneNow, zones),
        _rows(WaitingNow, waiting),
        _rows(DriverAtWork, drivers),
        _rows(InHandRow, carried),
    )


async def read_carried(
    pool: Pool, driver_ids: Sequence[str]
) -> tuple[datetime, dict[str, DriverPlace], list[InHandRow]]:
    """The database's time, where these drivers are, and what they have. Raises DatabaseAway."""
    now, places, carried = (await fetch(pool, OF_DRIVERS, list(driver_ids)))[0]
    return now, {row.id: row for row in _rows(DriverPlace, places)}, _rows(InHandRow, carried)
