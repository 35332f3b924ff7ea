"""A search for one delivery on request, on any node: an offer, or the drivers nearby and why none of them fits.

It reads the database, so it does not need the lease. The rules decide about its offer as about the matcher's.
"""

from datetime import datetime
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from server.contract.commit import Answer
from server.current_policy import KnownZones, Policies
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.matching import Candidate, Pair, Waiting, match
from server.dispatch.model import SYSTEM, Actor, Delivery, Driver, Nearest, Position
from server.dispatch.offers import UNFIT, dispatchable, exclusion, helping, unfit, wants_offer
from server.dispatch.planning.part import plan_part
from server.dispatch.policy import Policy
from server.dispatch.search_reasons import (
    LOST_RACE,
    TRIP_TOO_LONG,
    NoDriver,
    why_no_driver,
    why_not_these,
)
from server.dispatch.travel import haversine_km
from server.dispatcher.backlog import radius_km
from server.dispatcher.live_fleet import LiveFleet
from server.ids import new_id
from server.sockets.positions import Positions
from server.store.engine import DATABASE_ERRORS, Database
from server.store.reads.waiting import (
    QUERY_TIMEOUT_SECONDS,
    Box,
    all_at_work,
    box_around,
    nearest_drivers,
    read_deliveries,
)
from server.store.rows import read_work
from server.write.executor import Executor

ATTEMPTS: Final = 5
AROUND_LIMIT: Final = 100
CANDIDATES_LIMIT: Final = 20
OTHERS_FIRST: Final = "other_deliveries_first"
"""The reason for a driver who is nearer than the chosen one, but has other deliveries."""
NEXT_IN_LINE: Final = "next_in_line"
"""The reason for a driver who would be chosen now, while another one has the offer."""

_BY_RULE: Final = frozenset({"rejected_before", "reassigned_away", "gave_it_back", "asked_recently", *UNFIT})
_WENT_HOME: Final = frozenset({"offline", "shift_ended"})


class NotChosen(Struct, frozen=True):
    """A driver that the search does not choose, the reason, and the straight distance to the pickup."""

    driver_id: str
    reason: str
    distance_km: float | None = None


class NoDriverFound(Struct, frozen=True):
    """No driver can be offered the delivery now: why, and the drivers around it, nearest first, with the reason of
    each. `nearest` is the nearest driver outside, if that is why; they are also the last in the list.
    """

    failure_reason: str
    not_taken: list[NotChosen]
    nearest: Nearest | None = None


class Candidates(Struct, frozen=True):
    """Who has the delivery, is offered it or would be offered it now; and who around it not, nearest first, and why.

    `no_driver` is why no driver can get an offer now.
    """

    taken: str | None
    not_taken: list[NotChosen]
    no_driver: NoDriver | None = None


class SearchOnRequest:
    """Searches for one delivery at a time."""

    def __init__(
        self,
        *,
        database: Database,
        executor: Executor,
        policies: Policies,
        zones: KnownZones,
        positions: Positions,
        fleet: LiveFleet,
    ) -> None:
        self._database = database
        self._executor = executor
        self._policies = policies
        self._zones = zones
        self._positions = positions
        self._fleet = fleet

    async def search(
        self, delivery_id: str, actor: Actor = SYSTEM, *, early: bool = True
    ) -> Answer | NoDriverFound | r.Refusal:
        """Search now and offer to the best. Only an offer changes anything.

        The offer that is open already counts as `repeated`. A scheduled delivery is dispatched with the offer; unless
        `early`, DELIVERY_NOT_DUE. A driver lost to a race: the next one. TRY_AGAIN when the database does not answer.
        """
        try:
            return await self._search(delivery_id, actor, early)
        except DATABASE_ERRORS:
            return r.TRY_AGAIN

    async def _search(self, delivery_id: str, actor: Actor, early: bool) -> Answer | NoDriverFound | r.Refusal:
        delivery = await self._read(delivery_id)
        if delivery is None:
            return r.NOT_FOUND
        if delivery.open_offer() is not None:
            return _offered(delivery, repeated=True)
        if delivery.status == "SCHEDULED" and not early:
            return r.DELIVERY_NOT_DUE
        if delivery.status in ("SCHEDULED", "READY") and delivery.needs_check():
            return NoDriverFound(TRIP_TOO_LONG, [])
        lost: dict[str, str] = {}
        for _ in range(ATTEMPTS):
            if delivery.open_offer() is not None:  # the matcher was quicker
                return _offered(delivery, repeated=False)
            held = delivery.status == "READY" and delivery.held_until is not None
            if delivery.status != "SCHEDULED" and not held and not wants_offer(delivery):
                return r.DELIVERY_NOT_WAITING
            pair, not_taken = await self._look(delivery, lost)
            if pair is None:
                now = await self._read(delivery_id)
                if now is None or now.version == delivery.version:
                    why = await self._why_no_driver(delivery, not_taken)
                    return NoDriverFound(why.reason, _with_nearest(not_taken, why), why.nearest)
                delivery = now  # something happened to it meanwhile, such as the matcher's offer
                continue
            answer = await self._executor.submit(
                c.OfferDelivery(delivery_id, pair.driver_id, new_id(), pair.lat, pair.lon, actor, early or held)
            )
            if not isinstance(answer, r.Refusal):
                return answer
            if answer.code == r.DRIVER_NOT_AVAILABLE.code:
                lost[pair.driver_id] = LOST_RACE
            elif answer != r.DELIVERY_NOT_WAITING:
                return answer
            read = await self._read(delivery_id)
            assert read is not None
            delivery = read
        return r.TRY_AGAIN

    async def candidates(self, delivery_id: str) -> Candidates | None:
        """The driver that a search would choose now, and the others with reasons. None if there is no such delivery.
        Raises what the database raises.
        """
        delivery = await self._read(delivery_id)
        if delivery is None:
            return None
        if delivery.status not in ("SCHEDULED", "READY"):
            assignment = delivery.assignment()
            return Candidates(assignment.driver_id if assignment is not None else None, [])
        pair, not_taken = await self._look(delivery, {})
        offer = delivery.open_offer()
        if offer is None and pair is not None and not delivery.needs_check():
            return Candidates(pair.driver_id, not_taken)
        if offer is None:
            why = await self._why_no_driver(delivery, not_taken)
            return Candidates(None, _with_nearest(not_taken, why), why)
        if pair is not None:
            not_taken.insert(0, NotChosen(pair.driver_id, NEXT_IN_LINE, round(pair.distance_km, 2)))
        others = [other for other in not_taken if other.driver_id != offer.driver_id]
        return Candidates(offer.driver_id, others[:CANDIDATES_LIMIT])

    async def _read(self, delivery_id: str) -> Delivery | None:
        return (await read_deliveries(self._database.pool, [delivery_id])).get(delivery_id)

    async def _why_no_driver(self, delivery: Delivery, not_taken: list[NotChosen]) -> NoDriver:
        """Why none of the drivers in the radius can get it, or why there are none."""
        if delivery.needs_check():
            return NoDriver(TRIP_TOO_LONG)
        why = why_not_these((one.reason for one in not_taken), _BY_RULE)
        if why is not None:
            return NoDriver(why)
        policy = self._policies.current
        at_work = await all_at_work(self._database.pool, policy)
        return why_no_driver(delivery.pickup, delivery.zone, radius_km(delivery, policy), at_work)

    async def _look(self, delivery: Delivery, lost: dict[str, str]) -> tuple[Pair | None, list[NotChosen]]:
        """The best driver for it now, and the others in its radius, nearest first, each with the reason.

        If its own zone has no driver and escalation has widened the search, also looks in the zones that help.
        """
        await self._positions.store(everything=not self._fleet.ready)
        pair, others = await self._look_in((delivery.zone,), delivery, lost)
        helpers = helping(delivery, self._zones.current)
        if pair is None and helpers:
            pair, more = await self._look_in(helpers, delivery, lost)
            others += more
        return pair, _nearest(others)

    async def _look_in(
        self, zones: tuple[str, ...], delivery: Delivery, lost: dict[str, str]
    ) -> tuple[Pair | None, list[NotChosen]]:
        policy = self._policies.current
        radius, pickup = radius_km(delivery, policy), delivery.pickup
        drivers: list[Driver] = []
        for zone in zones:
            box = Box(zone, *box_around(pickup.lat, pickup.lon, radius))
            now, of_zone = await nearest_drivers(
                self._database.pool, box, pickup.lat, pickup.lon, AROUND_LIMIT, among=self._fleet.near(delivery, zone)
            )
            drivers += of_zone
        free, others = [], []
        for driver in drivers:
            place = self._place(driver)
            if place is None:
                continue
            km = haversine_km(pickup.lat, pickup.lon, *place)
            why = dispatchable(driver, now, policy) or ("busy" if driver.busy else None)
            if why is None:
                free.append(Candidate(driver.id, *place))
            elif km <= radius:
                others.append(NotChosen(driver.id, why, round(km, 2)))
        excluded = lost | _excluded(delivery, drivers, now, policy)
        waiting = Waiting(delivery.id, pickup.lat, pickup.lon, delivery.unassigned_since or now, radius, excluded)
        matching = match([waiting], free, now, policy)
        places = {candidate.driver_id: candidate for candidate in free}
        nearest = pair = next(iter(matching.pairs), None)
        not_taken = matching.not_taken[delivery.id]
        able = [driver for driver in drivers if driver.id in places and driver.id not in lost]
        if nearest is not None and any(driver.active_count for driver in able):
            pair = await self._planned(delivery, able, places, now) or nearest
            if pair.driver_id != nearest.driver_id:
                not_taken = [(nearest.driver_id, OTHERS_FIRST), *(one for one in not_taken if one[0] != pair.driver_id)]
        for driver_id, reason in not_taken:
            at = places[driver_id]
            km = haversine_km(pickup.lat, pickup.lon, at.lat, at.lon)
            if km <= radius:
                others.append(NotChosen(driver_id, reason, round(km, 2)))
        return pair, others

    async def _planned(
        self, delivery: Delivery, drivers: list[Driver], places: dict[str, Candidate], now: datetime
    ) -> Pair | None:
        """The planner's driver, if some drivers have deliveries already; None if it proposes nobody now."""
        loaded = [driver.id for driver in drivers if driver.active_count]
        work = await read_work(self._database.pool, loaded, timeout=QUERY_TIMEOUT_SECONDS)
        located = [
            replace(driver, position=Position(places[driver.id].lat, places[driver.id].lon, now)) for driver in drivers
        ]
        wanted = replace(delivery, status="READY", current_offer_id=None)
        policy, zones = self._policies.current, self._zones.current
        for found in plan_part([wanted], located, work, zones, now, policy, not_held=[delivery.id]).proposals:
            km = haversine_km(delivery.pickup.lat, delivery.pickup.lon, found.lat, found.lon)
            return Pair(delivery.id, found.driver_id, found.lat, found.lon, km)
        return None

    def _place(self, driver: Driver) -> tuple[float, float] | None:
        """The stored position, or a newer one that this node knows."""
        stored = driver.position
        if stored is None:
            return None
        known = self._fleet.where(driver.id)
        return known[:2] if known is not None and known[2] > stored.at.timestamp() else (stored.lat, stored.lon)


def _with_nearest(not_taken: list[NotChosen], why: NoDriver) -> list[NotChosen]:
    outside = why.nearest
    if outside is None:
        return not_taken
    return [*not_taken[: CANDIDATES_LIMIT - 1], NotChosen(outside.driver_id, outside.reason, outside.distance_km)]


def _excluded(delivery: Delivery, drivers: list[Driver], now: datetime, policy: Policy) -> dict[str, str]:
    reasons = {
        driver.id: exclusion(delivery, driver.id, now, policy) or unfit(delivery, driver, now, policy)
        for driver in drivers
    }
    return {driver_id: reason for driver_id, reason in reasons.items() if reason is not None}


def _nearest(others: list[NotChosen]) -> list[NotChosen]:
    """Sorts by distance; drivers whose shift has ended are only included if there is room."""
    others.sort(key=lambda other: (other.reason in _WENT_HOME, other.distance_km))
    return sorted(others[:CANDIDATES_LIMIT], key=lambda other: (other.distance_km or 0.0, other.driver_id))


def _offered(delivery: Delivery, *, repeated: bool) -> Answer:
    offer = delivery.open_offer()
    assert offer is not None
    decided = Decided((), delivery.id, offer.id, None, offer.driver_id, repeated=repeated)
    return Answer(decided, offer.created_at, delivery, offer, None, None)
