"""The screen of all drivers: a search whose fields are in the address, and who has not been seen for long."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.contract.views import driver_view, parse_instant
from server.dispatch.model import Driver
from server.ids import canonical
from server.node import Node
from server.store.devices import count_devices
from server.store.reads.connections import with_two_devices
from server.store.reads.drivers import DriverSearch, search_drivers
from server.store.zones import zone_choices
from server.texts.speech import later
from server.web.access.guards import VIEWERS
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.screens.live_lists import address
from server.web.screens.privacy import phone_to_erase
from server.web.screens.shell import page

DRIVERS: Final = "/board/drivers"
INVITE: Final = f"{DRIVERS}/invite"
PAGE: Final = 100
TEXT_LIMIT: Final = 200
AWAY: Final = timedelta(days=7)
"""A driver who is not seen for so long is named on the screen."""
FIELDS: Final = ("q", "zone", "show")
SHOWN: Final = {
    "": later("Active"),
    "away": later("Not seen for 7 days"),
    "deactivated": later("Deactivated"),
}


class ListedDriver(Struct, frozen=True):
    """A driver of the list. `state` is their availability, or busy. `last_seen_at` is None of one who is connected, and
    of one who was never seen; `away` is whether that is long ago. `two_devices` is whether two take turns.
    """

    driver: Driver
    state: str
    devices: int
    two_devices: bool
    last_seen_at: datetime | None
    away: bool


@get(DRIVERS, guards=[VIEWERS])
async def drivers(request: Call) -> ASGIResponse:
    """By name. Filters: `?q=`, `zone`, `show` (away, deactivated). Cursor: `after`."""
    node = node_of(request)
    pool = node.database.pool
    chosen = list_filters(request)
    given = {name: value for name, value in chosen.items() if value}
    after = canonical(request.query_params.get("after", ""))
    found = await search_drivers(pool, await drivers_wanted(node, chosen), after, PAGE + 1)
    shown = found[:PAGE]
    devices = await count_devices(pool, [driver.id for driver in shown])
    in_turns = await with_two_devices(pool, [driver.id for driver in shown])
    now = node.clock.now()
    return await page(
        request,
        "drivers.html",
        nav="board/drivers",
        rows=[_row(driver, devices.get(driver.id, 0), driver.id in in_turns, now) for driver in shown],
        chosen=chosen,
        phone=phone_to_erase(request, chosen["q"]),
        filters=SHOWN,
        zones=await zone_choices(pool),
        following=address(DRIVERS, **given, after=shown[-1].id) if len(found) > PAGE else None,
        first=address(DRIVERS, **given) if after is not None else None,
        invite=address(INVITE, **given) if chosen["show"] != "deactivated" else None,
    )


def list_filters(request: Call) -> dict[str, str]:
    chosen = {name: request.query_params.get(name, "").replace("\x00", "")[:TEXT_LIMIT].strip() for name in FIELDS}
    return chosen if chosen["show"] in SHOWN else {**chosen, "show": ""}


async def drivers_wanted(node: Node, chosen: Mapping[str, str]) -> DriverSearch:
    """The filters of the form."""
    return DriverSearch(
        active=chosen["show"] != "deactivated",
        zone=await zone_of_query(node, chosen["zone"]) if chosen["zone"] else None,
        words=chosen["q"] or None,
        away_seconds=AWAY.total_seconds() if chosen["show"] == "away" else None,
    )


def _row(driver: Driver, devices: int, in_turns: bool, now: datetime) -> ListedDriver:
    seen = driver_view(driver).last_seen_at
    at = parse_instant(seen) if seen is not None and driver.session_id is None else None
    connected = driver.session_id is not None
    return ListedDriver(
        driver,
        "busy" if driver.availability == "available" and driver.busy else driver.availability,
        devices,
        in_turns,
        at,
        not connected and (at is None or now - at > AWAY),
    )
