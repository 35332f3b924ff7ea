"""Forecasts of zones and estimates for deliveries, on any node, from the database and from the positions that this node
knows. They are computed when somebody asks, and shared for a moment by all who ask.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Final

from msgspec import Struct

from server.contract.views import Expected
from server.current_policy import KnownZones, Policies
from server.dispatch.driver_runs import DriverWithRun
from server.dispatch.model import UNDER_WAY, Delivery
from server.dispatch.names import name_key
from server.dispatch.planning.estimates import Arrival, InHand, arrivals, estimated, free_at
from server.dispatch.planning.forecast import Queue, Supply, Wanted, ZoneDemand, ZoneForecast, forecast
from server.dispatch.policy import Policy, search_radius_km
from server.dispatch.runs import Spot, road_travel
from server.dispatch.travel import to_milliseconds
from server.dispatch.zones import Zones
from server.store.engine import Database
from server.store.reads.forecast import (
    DriverAtWork,
    DriverPlace,
    InHandRow,
    Situation,
    WaitingNow,
    read_carried,
    read_situation,
    situation_of,
)

LASTS_SECONDS: Final = 1.0
"""How long a situation is shared."""
REST_FACTOR: Final = 10.0
"""So many times longer than it took to find out."""
PRECISION_SECONDS: Final = 10
LARGE: Final = 50_000
"""From this number of pairs of deliveries and drivers on, a thread computes it."""

Locate = Callable[[str], tuple[float, float, float] | None]


class SharedForecast(Struct, frozen=True):
    """What was found out about some zones at a time, which is `now` in Unix seconds and `until` on the loop's clock."""

    now: float
    until: float
    queue: Queue
    forecasts: list[ZoneForecast]


class Forecasts:
    """`where` returns latitude, longitude and time (Unix seconds) of the newest position of a driver that this node
    knows.
    """

    def __init__(self, *, database: Database, policies: Policies, zones: KnownZones, where: Locate) -> None:
        self._database = database
        self._policies = policies
        self._zones = zones
        self._where = where
        self._known: dict[str | None, SharedForecast] = {}
        self._asked: dict[str | None, asyncio.Task[SharedForecast]] = {}

    async def of_zones(self, zone: str | None) -> list[ZoneForecast]:
        """The forecast of a zone, or of every zone with drivers or deliveries. Raises DatabaseAway."""
        shared = await self._shared(zone)
        if zone is None:
            return shared.forecasts
        own = [one for one in shared.forecasts if one.zone == zone]
        return own or [ZoneForecast(zone, ZoneDemand(), 0, (0, 0, 0), 0)]

    async def expected(self, deliveries: Iterable[Delivery]) -> dict[str, Expected]:
        """When those that wait get a driver, and when those that are under way are picked up and handed over, as far as
        that is known, by their ids. Raises DatabaseAway.
        """
        waiting, having = [], {}
        for delivery in deliveries:
            assignment = delivery.active_assignment()
            if delivery.status == "READY":
                waiting.append(delivery)
            elif assignment is not None and delivery.status in UNDER_WAY - {"RETURNING"}:
                having[delivery.id] = assignment.driver_id
        found = await self._of_waiting(waiting) if waiting else {}
        return found | (await self._of_carried(having) if having else {})

    async def _of_waiting(self, deliveries: Sequence[Delivery]) -> dict[str, Expected]:
        zones = {delivery.zone for delivery in deliveries}
        shared = await self._shared(zones.pop() if len(zones) == 1 else None)
        queue, policy = shared.queue, self._policies.current
        found = {}
        for delivery in deliveries:
            if delivery.id not in queue.at and delivery.id not in queue.why:
                queue.add(_wanted_of(delivery, policy, self._zones.current))
            at = queue.at.get(delivery.id)
            found[delivery.id] = Expected(_instant(at) if at is not None else None, reason=queue.why.get(delivery.id))
        return found

    async def _of_carried(self, having: Mapping[str, str]) -> dict[str, Expected]:
        now, places, rows = await read_carried(self._database.pool, list(set(having.values())))
        policy = self._policies.current
        found: dict[str, Arrival] = {}
        for driver_id, carried in _by_driver(rows).items():
            row = places[driver_id]
            spot = self._spot(driver_id, row.lat, row.lon, row.at)
            if spot is not None:
                found |= arrivals(estimated(policy, now.timestamp(), _with_run(row), carried, spot))
        return {
            delivery_id: Expected(
                None,
                _about(arrival.picked_up) if arrival.picked_up is not None else None,
                _about(arrival.handed_over),
            )
            for delivery_id, arrival in found.items()
            if delivery_id in having
        }

    def _spot(self, driver_id: str, lat: float | None, lon: float | None, at: float | None) -> Spot | None:
        """The stored position, or a newer one that this node knows."""
        known = self._where(driver_id)
        if known is not None and (at is None or known[2] > at):
            return known[:2]
        return (lat, lon) if lat is not None and lon is not None else None

    async def _shared(self, zone: str | None) -> SharedForecast:
        """Found out a moment ago, or now; one question however many ask."""
        known = self._known.get(zone)
        if known is not None and asyncio.get_running_loop().time() < known.until:
            return known
        asked = self._asked.get(zone)
        if asked is None:
            asked = self._asked[zone] = asyncio.create_task(self._find_out(zone), name="forecast")
            asked.add_done_callback(lambda _: self._asked.pop(zone, None))
        return await asyncio.shield(asked)

    async def _find_out(self, zone: str | None) -> SharedForecast:
        loop = asyncio.get_running_loop()
        began = loop.time()
        policy, zones = self._policies.current, self._zones.current
        now, texts = await read_situation(
            self._database.pool, policy, [zone, *zones.helpers(zone)] if zone is not None else None
        )
        large = sum(map(len, filter(None, texts))) > LARGE
        situation = await asyncio.to_thread(situation_of, now, texts) if large else situation_of(now, texts)
        spots = {
            row.id: self._spot(row.id, row.lat, row.lon, row.at) or (row.lat, row.lon) for row in situation.drivers
        }
        arguments = (situation, spots, policy, zones)
        if len(situation.waiting) * len(situation.drivers) < LARGE:
            queue, forecasts = _compute(*arguments)
        else:
            queue, forecasts = await asyncio.to_thread(_compute, *arguments)
        took = loop.time() - began
        shared = SharedForecast(now.timestamp(), loop.time() + max(LASTS_SECONDS, took * REST_FACTOR), queue, forecasts)
        self._known = {key: one for key, one in self._known.items() if loop.time() < one.until}
        self._known[zone] = shared
        return shared


def _compute(
    situation: Situation, spots: Mapping[str, Spot], policy: Policy, zones: Zones
) -> tuple[Queue, list[ZoneForecast]]:
    now, travel = situation.now.timestamp(), road_travel(policy)
    carried = _by_driver(situation.carried)
    drivers = []
    for row in situation.drivers:
        free, place = inf, spots[row.id]
        if row.state == "free":
            free = now
        elif row.state == "on_break" and row.until is not None:
            free = row.until
        elif row.state == "occupied":
            run = estimated(policy, now, _with_run(row), carried.get(row.id, ()), place)
            free, place = free_at(run, row.capacity)
        off = row.shift_ends if row.shift_ends is not None else inf
        drivers.append(Supply(row.id, row.zone, free, place, frozenset(map(name_key, row.tags or ())), off))
    wanted = [_wanted(row, policy, zones) for row in situation.waiting]
    numbers = {row.zone: ZoneDemand(row.waiting, row.held, row.arriving) for row in situation.zones}
    queue = Queue(wanted, drivers, now, travel)
    return queue, forecast(queue, wanted, drivers, numbers, now)


def _wanted(row: WaitingNow, policy: Policy, zones: Zones) -> Wanted:
    return Wanted(
        row.id,
        (row.zone, *(zones.helpers(row.zone) if row.widened else ())),
        (row.pickup_lat, row.pickup_lon),
        (row.dropoff_lat, row.dropoff_lon),
        row.ready,
        row.since,
        search_radius_km(row.widened, policy),
        row.held,
        row.offered_to,
        frozenset([*(row.refused_by or ()), *(row.taken_from or ())]),
        frozenset(map(name_key, row.requirements or ())),
        row.needs_check,
    )


def _wanted_of(delivery: Delivery, policy: Policy, zones: Zones) -> Wanted:
    """A delivery that is newer than what was read."""
    widened = delivery.widened_at is not None
    since = delivery.held_until or delivery.unassigned_since or delivery.created_at
    return Wanted(
        delivery.id,
        (delivery.zone, *(zones.helpers(delivery.zone) if widened else ())),
        (delivery.pickup.lat, delivery.pickup.lon),
        (delivery.dropoff.lat, delivery.dropoff.lon),
        delivery.is_ready_at().timestamp(),
        since.timestamp(),
        search_radius_km(widened, policy),
        delivery.held_until is not None,
        requirements=frozenset(map(name_key, delivery.requirements)),
        needs_check=delivery.needs_check(),
    )


def _by_driver(rows: Iterable[InHandRow]) -> dict[str, list[InHand]]:
    found: dict[str, list[InHand]] = {}
    for row in rows:
        pickup: Spot = (row.pickup_lat, row.pickup_lon)
        dropoff: Spot = (row.dropoff_lat, row.dropoff_lon)
        if row.status == "RETURNING":
            dropoff = (row.store.lat, row.store.lon) if row.store is not None else pickup
        found.setdefault(row.driver_id, []).append(
            InHand(row.assignment_id, row.id, pickup, dropoff, row.ready, row.picked_at, row.status == "RETURNING")
        )
    return found


def _with_run(row: DriverAtWork | DriverPlace) -> DriverWithRun:
    return DriverWithRun(row.id, row.capacity, row.shift_ends if row.shift_ends is not None else inf, row.stops or ())


def _instant(at: float) -> datetime:
    return to_milliseconds(datetime.fromtimestamp(at, UTC))


def _about(at: float) -> datetime:
    """Not finer than it is known, so that two reads at the same moment say the same."""
    return _instant(round(at / PRECISION_SECONDS) * PRECISION_SECONDS)
