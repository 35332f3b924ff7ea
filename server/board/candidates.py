"""Drivers for an assignment by hand: those near the pickup, ranked, each with the reason against it, if any."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.dispatch.model import Delivery, Driver
from server.dispatch.offers import dispatchable, exclusion, unfit
from server.dispatch.policy import Policy
from server.dispatch.travel import haversine_km, travel_seconds
from server.store.connections import Pool
from server.store.query import database_errors
from server.store.reads.waiting import Box, box_around, nearest_drivers

AROUND_LIMIT: Final = 60
SHOWN_LIMIT: Final = 25
CALLABLE: Final = 5
"""Drivers off shift that are shown to be called."""
LEAST_KM: Final = 25.0
HARD: Final = frozenset({"on_break", "paused", "shift_ended", "offline", "busy"})
"""Obstacles that a person cannot overrule; the others only keep the search from choosing the driver."""


class Choice(Struct, frozen=True):
    """A driver, how far on the road and how many minutes from the pickup, and why the search would not pick them.

    `possible`: a person can. `direct_only`: only without asking the driver, who has another offer open.
    """

    id: str
    name: str
    km: float | None
    minutes: int | None
    why: str | None
    possible: bool
    direct_only: bool


async def choices(
    pool: Pool, delivery: Delivery, policy: Policy, now_holding: str | None, helpers: Sequence[str] = ()
) -> list[Choice]:
    """The drivers of the delivery's zone and of zones that help: first those who can be chosen, nearest first, then the
    others. Leaves out `now_holding`, who has it.

    Raises DatabaseAway.
    """
    at = delivery.pickup
    km = max(LEAST_KM, 2 * policy.wide_search_radius_km)
    ranked = []
    for zone in (delivery.zone, *helpers):
        box = Box(zone, *box_around(at.lat, at.lon, km))
        with database_errors():
            now, drivers = await nearest_drivers(pool, box, at.lat, at.lon, AROUND_LIMIT)
        ranked += [_choice(delivery, driver, now, policy) for driver in drivers if driver.id != now_holding]
    ranked.sort(key=lambda choice: (not choice.possible, choice.why is not None, choice.km or 0.0, choice.name))
    return ranked[:SHOWN_LIMIT]


def _choice(delivery: Delivery, driver: Driver, now: datetime, policy: Policy) -> Choice:
    why = dispatchable(driver, now, policy) or unfit(delivery, driver, now, policy)
    why = why or exclusion(delivery, driver.id, now, policy)
    offered_this = driver.open_offer_id is not None and driver.open_offer_id == delivery.current_offer_id
    if offered_this:
        why = "has_this_offer"
    km = minutes = None
    if driver.position is not None:
        straight = haversine_km(delivery.pickup.lat, delivery.pickup.lon, driver.position.lat, driver.position.lon)
        km = straight * policy.detour_factor
        minutes = max(1, round(travel_seconds(km, policy) / 60))
    return Choice(
        id=driver.id,
        name=driver.name,
        km=km,
        minutes=minutes,
        why=why,
        possible=why not in HARD,
        direct_only=driver.open_offer_id is not None and not offered_this,
    )
