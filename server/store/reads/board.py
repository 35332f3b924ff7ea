"""What the board shows, read in few statements over sets of rows: never one a row, never one a viewer."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from server.contract.spellings import spellings
from server.dispatch.model import UNDER_WAY, Alert
from server.ids import FIRST_ID
from server.store.connections import Pool, Record
from server.store.query import fetch, fetch_as, fetch_one
from server.store.rows import ALERT_COLUMNS

SHOWN_LIMIT: Final = 5_000
"""The limit of rows in a table: the deliveries that wait longest or were assigned longest ago, drivers with work first.
Offers in these rows, and orders whose driver is gone, are always included. Everything is counted (board/tally.py).
"""
WAITING: Final = "READY"
COUNTED_AT_ONCE: Final = 5_000
BEYOND_LIMIT: Final = 200
"""Rows found beyond those shown."""
OFF_SHIFT_HOURS: Final = 12
"""How long a driver whose shift ended or who was lost is still shown, without active deliveries."""
NEWS_LIMIT: Final = 20_000
"""Events looked at one by one; after more of them everything is read again."""

_DELIVERY: Final = """
SELECT d.id, d.seller_order_id, d.store_name, d.zone, d.status, d.pickup_lat, d.pickup_lon, d.dropoff_lat,
       d.dropoff_lon, d.pickup_address, d.created_at, d.unassigned_since, d.widened_at,
       coalesce(u.failure_reason, ''), coalesce(u.attempt_count, 0), coalesce(u.escalation_level, 0),
       u.acknowledged_by, u.acknowledgement_note,
       o.id, o.driver_id, od.name, o.attempt, o.created_at, o.expires_at, o.received_at,
       (o.offer_payload ->> 'estimatedDistanceKm')::float8,
       a.id, a.driver_id, ad.name, a.source, a.created_at, a.picked_up_at, a.version,
       nd.id, nd.name, (u.nearest ->> 'distanceKm')::float8, d.held_until, run.stop, run.stops,
       CASE WHEN a.picked_up_at IS NULL THEN a.arrived_pickup_at ELSE a.arrived_dropoff_at END,
       a.failed_at, a.end_reason
FROM deliveries d
LEFT JOIN unassigned_orders u ON u.delivery_id = d.id
LEFT JOIN driver_offers o ON o.id = d.current_offer_id
LEFT JOIN drivers od ON od.id = o.driver_id
LEFT JOIN assignments a ON a.delivery_id = d.id AND a.status = 'ACTIVE'
LEFT JOIN drivers ad ON ad.id = a.driver_id
LEFT JOIN drivers nd ON u.failure_reason IN ('no_driver_in_zone', 'no_driver_in_radius')
                        AND nd.id = (u.nearest ->> 'driverId')::uuid
LEFT JOIN LATERAL (
    SELECT min(number) FILTER (WHERE delivery_id = d.id::text), count(*)
    FROM (SELECT s ->> 'deliveryId' AS delivery_id, row_number() OVER (ORDER BY place) AS number
          FROM driver_runs r, jsonb_array_elements(r.stops) WITH ORDINALITY AS x (s, place)
          WHERE r.driver_id = a.driver_id AND NOT s ? 'doneAt') x) AS run (stop, stops) ON true"""
DELIVERIES: Final = f"{_DELIVERY}\nWHERE d.id = ANY($1::text[]::uuid[])"
_OPEN: Final = "status IN ('" + "', '".join((WAITING, *sorted(UNDER_WAY))) + "')"
OPEN_DELIVERIES: Final = f"""{_DELIVERY}
WHERE d.{_OPEN} AND d.id IN (
    (SELECT id FROM deliveries WHERE status = 'READY' ORDER BY unassigned_since, id LIMIT $1)
    UNION ALL
    (SELECT delivery_id FROM driver_offers WHERE status = 'PENDING' ORDER BY expires_at LIMIT $1)
    UNION ALL
    (SELECT delivery_id FROM assignments WHERE status = 'ACTIVE' ORDER BY created_at, delivery_id LIMIT $1))"""  # noqa: S608 - constants
IN_HAND: Final = f"""{_DELIVERY}
WHERE d.id IN (SELECT delivery_id FROM assignments WHERE status = 'ACTIVE' AND driver_id = ANY($1::text[]::uuid[]))"""  # noqa: S608 - constants
COUNTED_DELIVERIES: Final = f"""
SELECT id, zone, status, unassigned_since, current_offer_id IS NOT NULL, held_until IS NOT NULL FROM deliveries
WHERE {_OPEN} AND id > $1 ORDER BY id LIMIT $2"""  # noqa: S608 - constants
BEYOND_DELIVERIES: Final = f"""{_DELIVERY}
WHERE d.status = ANY($1::text[]) AND ($2 = '' OR d.zone = $2)
  AND NOT EXISTS (SELECT FROM unnest($3::text[]) word
                  WHERE NOT EXISTS (
                      SELECT FROM unnest(string_to_array(word, E'\\n')) one
                      WHERE position(one IN search_words(
                          concat_ws(' ', d.store_name, d.seller_order_id, d.zone, ad.name))) > 0))
  AND NOT EXISTS (SELECT FROM unnest($4::text[]) known WHERE known::uuid = d.id)
ORDER BY coalesce(a.created_at, d.unassigned_since), d.id LIMIT $5"""  # noqa: S608 - constants

_DRIVER: Final = """
SELECT d.id, d.name, d.zone, d.capacity, d.availability, d.last_availability_change, d.availability_until,
       d.availability_reason, d.session_id IS NOT NULL, d.socket_lost_at, d.open_offer_delivery_id, d.active_count,
       d.phone, coalesce((
           SELECT string_agg(concat(coalesce(w.store -> 'lat', to_jsonb(w.lat)), ',',
                                    coalesce(w.store -> 'lon', to_jsonb(w.lon))), ';' ORDER BY place)
           FROM driver_runs r, jsonb_array_elements(r.stops) WITH ORDINALITY AS x (s, place)
           JOIN deliveries o ON o.id = (s ->> 'deliveryId')::uuid
           CROSS JOIN LATERAL (
               SELECT CASE WHEN s ->> 'kind' = 'return' THEN o.details -> 'store' END AS store,
                      CASE WHEN s ->> 'kind' = 'dropoff' THEN o.dropoff_lat ELSE o.pickup_lat END AS lat,
                      CASE WHEN s ->> 'kind' = 'dropoff' THEN o.dropoff_lon ELSE o.pickup_lon END AS lon) AS w
           WHERE r.driver_id = d.id AND NOT s ? 'doneAt'), ''),
       (SELECT max(created_at) FROM assignments WHERE driver_id = d.id AND status = 'ACTIVE'),
       p.lat, p.lon, p.at, p.last_call_at
FROM drivers d LEFT JOIN driver_positions p ON p.driver_id = d.id"""
DRIVERS: Final = f"{_DRIVER}\nWHERE d.id = ANY($1::text[]::uuid[])"
_SHOWN: Final = f"""(d.availability IN ('available', 'on_break', 'paused') OR d.active_count > 0
   OR d.last_availability_change > clock_timestamp() - make_interval(hours => {OFF_SHIFT_HOURS}))"""
SHOWN_DRIVERS: Final = f"""{_DRIVER}
WHERE {_SHOWN}
ORDER BY d.active_count > 0 DESC, d.active_count > 0 AND d.session_id IS NULL DESC,
         d.availability NOT IN ('available', 'on_break', 'paused'),
         d.last_availability_change DESC, d.id LIMIT $1"""
COUNTED_DRIVERS: Final = f"""
SELECT d.id, d.zone, d.availability, d.active_count, d.capacity FROM drivers d
WHERE {_SHOWN} AND d.id > $1 ORDER BY d.id LIMIT $2"""  # noqa: S608 - constants
BEYOND_DRIVERS: Final = f"""{_DRIVER}
WHERE {_SHOWN} AND ($1 = '' OR d.zone = $1)
  AND NOT EXISTS (SELECT FROM unnest($2::text[]) word
                  WHERE NOT EXISTS (
                      SELECT FROM unnest(string_to_array(word, E'\\n')) one
                      WHERE position(one IN search_words(concat_ws(' ', d.name, d.zone))) > 0))
  AND NOT EXISTS (SELECT FROM unnest($3::text[]) known WHERE known::uuid = d.id)
ORDER BY d.name, d.id LIMIT $4"""  # noqa: S608 - constants
MOVED: Final = """
SELECT driver_id, lat, lon, at, last_call_at FROM driver_positions WHERE at > $1 OR last_call_at > $1"""

ALERTS: Final = f"""
SELECT {ALERT_COLUMNS} FROM alerts
WHERE resolved_at IS NULL OR resolved_at > clock_timestamp() - interval '15 minutes'
ORDER BY resolved_at IS NOT NULL, raised_at DESC LIMIT 50"""  # noqa: S608

# A serial is no cursor: a lower number can be committed later. Nor is the oldest transaction that still runs: any
# transaction of the whole cluster holds that back. What the last snapshot could not see, and this one can, is new
# (docs/decisions.md).
START: Final = "SELECT pg_current_snapshot()::text"
NEWS: Final = """
WITH fresh AS (
    (SELECT delivery_id, driver_id, type FROM events WHERE xid >= pg_snapshot_xmax($1::text::pg_snapshot))
    UNION ALL
    (SELECT delivery_id, driver_id, type FROM events
     WHERE xid = ANY (ARRAY(SELECT pg_snapshot_xip($1::text::pg_snapshot))))
    LIMIT $2)
SELECT pg_current_snapshot()::text, count(*), array_agg(delivery_id::text) FILTER (WHERE delivery_id IS NOT NULL),
       array_agg(driver_id::text) FILTER (WHERE driver_id IS NOT NULL), bool_or(type LIKE 'alert.%')
FROM fresh"""


class BoardDelivery(Struct, frozen=True):
    """A delivery as the board shows it: its wait, its open offer, its active assignment. Distances in km. Its next stop
    is the `stop`th of the `stops` that its driver still has, if the driver has a run. `arrived_at` is at the store
    before the pickup, at the customer after it. Since `failed_at` the driver brings the goods back, for `failed_why`.
    """

    id: str
    order_id: str
    store_name: str
    zone: str
    status: str
    lat: float
    lon: float
    dropoff_lat: float
    dropoff_lon: float
    address: str | None
    created_at: datetime
    unassigned_since: datetime | None
    widened_at: datetime | None
    failure_reason: str
    attempts: int
    level: int
    acknowledged_by: str | None
    note: str | None
    offer_id: str | None
    offered_to: str | None
    offered_to_name: str | None
    attempt: int | None
    offered_at: datetime | None
    expires_at: datetime | None
    received_at: datetime | None
    offer_km: float | None
    assignment_id: str | None
    driver_id: str | None
    driver_name: str | None
    source: str | None
    assigned_at: datetime | None
    picked_up_at: datetime | None
    version: int | None
    nearest_id: str | None = None
    nearest_name: str | None = None
    nearest_km: float | None = None
    held_until: datetime | None = None
    stop: int | None = None
    stops: int = 0
    arrived_at: datetime | None = None
    failed_at: datetime | None = None
    failed_why: str | None = None

    @property
    def counted(self) -> "CountedDelivery":
        offered, held = self.offer_id is not None, self.held_until is not None
        return CountedDelivery(self.id, self.zone, self.status, self.unassigned_since, offered, held)


class CountedDelivery(Struct, frozen=True):
    id: str
    zone: str
    status: str
    since: datetime | None
    offered: bool
    held: bool = False

    @property
    def waiting(self) -> bool:
        """Whether it waits for a driver, and is not held."""
        return self.status == WAITING and not self.held

    @property
    def is_open(self) -> bool:
        """Whether it waits, is held or is active."""
        return self.status == WAITING or self.status in UNDER_WAY


class CountedDriver(Struct, frozen=True):
    id: str
    zone: str
    state: str


class BoardDriver(Struct, frozen=True):
    """A driver on the board, without the position, which changes all the time. `run` has the places of the stops that
    are not done, in order, as `lat,lon;lat,lon`; empty with at most one delivery.
    """

    id: str
    name: str
    zone: str
    capacity: int
    availability: str
    since: datetime
    until: datetime | None
    reason: str | None
    connected: bool
    lost_at: datetime | None
    offer_delivery_id: str | None
    active: int
    phone: str | None
    run: str
    assigned_at: datetime | None

    @property
    def state(self) -> str:
        """The availability, or `busy` for an available driver at capacity."""
        return _state(self.availability, self.active, self.capacity)

    @property
    def state_since(self) -> datetime:
        """Since when `state` is true: who is busy is so since the newest order in hand."""
        return max(self.since, self.assigned_at or self.since) if self.state == "busy" else self.since

    @property
    def counted(self) -> CountedDriver:
        return CountedDriver(self.id, self.zone, self.state)


def _state(availability: str, active: int, capacity: int) -> str:
    return "busy" if availability == "available" and active >= capacity else availability


class DriverContact(Struct, frozen=True):
    """A driver's position at `at`, and their last call."""

    lat: float | None
    lon: float | None
    at: datetime | None
    called_at: datetime | None


class AlertShown(Alert):
    """An alert that is open or was resolved a moment ago; `now` is the current number, if it was read."""

    now: float | None = None


class BoardNews(Struct, frozen=True):
    """The deliveries and drivers with new events, and the snapshot to read on from. `everything`: there were too many
    events, or the database went back in time; read the whole board again.
    """

    deliveries: set[str]
    drivers: set[str]
    alerts: bool
    snapshot: str
    everything: bool


ShownDrivers = list[tuple[BoardDriver, DriverContact]]


async def start(pool: Pool) -> str:
    """The snapshot to read events from, so that later reads miss nothing."""
    snapshot: str = (await fetch_one(pool, START))[0]
    return snapshot


async def news(pool: Pool, snapshot: str) -> BoardNews:
    """The commits since this snapshot, on any node, also while other transactions are open."""
    now, count, deliveries, drivers, alerts = await fetch_one(pool, NEWS, snapshot, NEWS_LIMIT + 1)
    everything = count > NEWS_LIMIT or _end(now) < _end(snapshot)
    return BoardNews(set(deliveries or ()), set(drivers or ()), bool(alerts) or everything, now, everything)


def _end(snapshot: str) -> int:
    """The number that the next transaction had, of `xmin:xmax:xip_list`."""
    return int(snapshot.split(":")[1])


async def open_deliveries(pool: Pool) -> list[BoardDelivery]:
    """The waiting and active deliveries that the board shows."""
    return await fetch_as(pool, BoardDelivery, OPEN_DELIVERIES, SHOWN_LIMIT)


async def deliveries(pool: Pool, ids: Iterable[str]) -> list[BoardDelivery]:
    """These, in whatever state."""
    return await fetch_as(pool, BoardDelivery, DELIVERIES, list(ids))


async def deliveries_in_hand(pool: Pool, driver_ids: Iterable[str]) -> list[BoardDelivery]:
    return await fetch_as(pool, BoardDelivery, IN_HAND, list(driver_ids))


async def shown_drivers(pool: Pool) -> ShownDrivers:
    """Everybody at work or with work, and who was until a short while ago."""
    return [_driver(row) for row in await fetch(pool, SHOWN_DRIVERS, SHOWN_LIMIT)]


async def counted(pool: Pool) -> tuple[list[CountedDelivery], list[CountedDriver]]:
    """All open deliveries and all drivers on the board, in as many statements as necessary."""
    deliveries = [CountedDelivery(*row) for row in await _all(pool, COUNTED_DELIVERIES)]
    drivers = [CountedDriver(row[0], row[1], _state(*row[2:])) for row in await _all(pool, COUNTED_DRIVERS)]
    return deliveries, drivers


async def _all(pool: Pool, query: str) -> list[Record]:
    rows: list[Any] = []
    while True:
        found = await fetch(pool, query, rows[-1][0] if rows else FIRST_ID, COUNTED_AT_ONCE)
        rows += found
        if len(found) < COUNTED_AT_ONCE:
            return rows


async def deliveries_beyond(
    pool: Pool, statuses: list[str], zone: str, words: list[str], known: list[str]
) -> list[BoardDelivery]:
    """The oldest deliveries with one of these statuses, in this zone (empty: any), with all these words (in lower
    case), except the known ids.
    """
    wanted = [_any_spelling(word) for word in words]
    return await fetch_as(pool, BoardDelivery, BEYOND_DELIVERIES, statuses, zone, wanted, known, BEYOND_LIMIT)


async def drivers_beyond(pool: Pool, zone: str, words: list[str], known: list[str]) -> ShownDrivers:
    """ShownDrivers by name, in this zone (empty: any), with all these words (in lower case), except the known ids."""
    wanted = [_any_spelling(word) for word in words]
    return [_driver(row) for row in await fetch(pool, BEYOND_DRIVERS, zone, wanted, known, BEYOND_LIMIT)]


def _any_spelling(word: str) -> str:
    """All spellings of one word, a line each."""
    return "\n".join(spellings(word))


async def drivers(pool: Pool, ids: Iterable[str]) -> ShownDrivers:
    """These, in whatever state."""
    return [_driver(row) for row in await fetch(pool, DRIVERS, list(ids))]


def _driver(row: Record) -> tuple[BoardDriver, DriverContact]:
    return BoardDriver(*row[:15]), DriverContact(*row[15:])


async def moved(pool: Pool, since: datetime) -> dict[str, DriverContact]:
    return {row[0]: DriverContact(*row[1:]) for row in await fetch(pool, MOVED, since)}


async def alerts(pool: Pool) -> list[AlertShown]:
    """Open alerts, newest first, then those resolved a moment ago."""
    return await fetch_as(pool, AlertShown, ALERTS)
