"""The checklist of a new installation: its steps check themselves, and do the thing or lead to where it is done.

It is a separate screen, and above a board that never had an order.
"""

from typing import Final

from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.dispatch.model import Driver
from server.ids import new_id
from server.store.reads.drivers import find_drivers
from server.store.reads.first_run import Started, read_started
from server.texts.speech import said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import post_delivery
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.http.errors import Problem
from server.web.http.forms import Form, read_form
from server.web.screens.live_lists import acted, not_done
from server.web.screens.reach import home_of, warnings_of
from server.web.screens.shell import flash, page, see_other

START: Final = "/start"
DRIVERS_LOOKED_AT: Final = 100
NEAR_DEGREES: Final = 0.005
"""About 500 m: how far the stops of a test order are from a driver."""


class SetupStep(Struct, frozen=True):
    """A step: whether it is done, what it is about, what is missing or wrong, and where it is done. `setting` is a line
    of the settings to add; with `test_order`, a button places one.
    """

    done: bool
    title: str
    text: str
    links: list[tuple[str, str]] = []
    warnings: list[str] = []
    setting: str | None = None
    test_order: bool = False
    optional: bool = False


@get(START, guards=[OPS])
async def start(request: Call) -> ASGIResponse:
    """All steps."""
    steps = await steps_of(request, await read_started(pool_of(request)))
    return await page(request, "start.html", nav="start", steps=steps)


async def steps_for_board(request: Call) -> list[SetupStep] | None:
    """The steps if there was no order yet and the person can do something about it."""
    if request.user.role == "viewer":
        return None
    started = await read_started(pool_of(request))
    return None if started.delivery else await steps_of(request, started)


async def steps_of(request: Call, started: Started) -> list[SetupStep]:
    """The steps, in the order in which they are best done."""
    node = node_of(request)
    settings = node.settings
    home = home_of(request)
    warnings = warnings_of(home)
    is_admin = request.user.role == "admin"
    return [
        SetupStep(
            started.people > 1,
            said("People"),
            said("Give each person their own login, so that the board says who did what."),
            [(said("Add people"), "/users")] if is_admin else [],
        ),
        SetupStep(
            settings.time_zone != "UTC",
            said("Time zone"),
            said("Times on all screens are in {time_zone}.", time_zone=settings.time_zone),
            setting="CALLBOARD_TIME_ZONE=Europe/Berlin",
        ),
        SetupStep(
            bool(settings.public_url) and not warnings,
            said("Public address"),
            said("Invitations and links lead to {address}.", address=settings.public_url)
            if settings.public_url
            else said("Invitations and links lead to the address that your browser uses now."),
            warnings=warnings,
            setting="CALLBOARD_PUBLIC_URL=https://board.example.com",
        ),
        SetupStep(
            bool(settings.map_tiles),
            said("Map"),
            said("The map has no streets without a tile server."),
            setting="CALLBOARD_MAP_TILES=https://tiles.example.com/{z}/{x}/{y}.png",
            optional=True,
        ),
        SetupStep(
            len(node.zones.current) > 0,
            said("Zones"),
            said("Zones divide a large city: orders get drivers of the same zone. One zone needs no setting."),
            [(said("Zones"), "/zones")],
            optional=True,
        ),
        SetupStep(
            started.driver,
            said("Drivers"),
            said("Add your first driver, or import all of them from a spreadsheet."),
            [(said("New driver"), "/board/drivers/new"), (said("Import"), "/board/drivers/import")],
        ),
        SetupStep(
            started.device,
            said("A driver signs in"),
            said("Invite a driver on the page of their access: they scan a code with their phone."),
            [(said("Drivers"), "/board/drivers")],
        ),
        SetupStep(
            started.delivery,
            said("Test order"),
            said("Place an order near a driver who is signed in, and see it offered, accepted and delivered."),
            [(said("New order"), "/orders/new")],
            test_order=True,
        ),
        SetupStep(
            started.webhook or started.key,
            said("Connect your shop"),
            said("A shop sends orders with an API key (see /docs), and a webhook tells it what becomes of them."),
            [(said("Webhooks"), "/webhooks"), (said("API"), "/docs")],
            optional=True,
        ),
    ]


@post(f"{START}/test-order", guards=[OPS], status_code=200, opt={FORM: True})
async def place_test_order(request: Call) -> ASGIResponse:
    """An order 500 m from a driver, best from one who is available."""
    await read_form(request, Form)
    drivers = await find_drivers(pool_of(request), None, None, None, DRIVERS_LOOKED_AT)
    near = _best(drivers)
    if near is None or near.position is None:
        text = said("No driver has sent a position yet. Sign in on a phone first.")
        return see_other(START, flash(request, "bad", text))
    lat, lon = near.position.lat, near.position.lon
    sign = -1 if lat > 80 else 1
    try:
        done = await post_delivery(
            request,
            s.NewDelivery(
                seller_order_id=f"TEST-{new_id()[-5:].upper()}",
                store_name=said("Test store"),
                pickup=s.Place(lat + sign * NEAR_DEGREES, lon, said("500 m from the driver")),
                dropoff=s.Place(lat + sign * 2 * NEAR_DEGREES, lon, said("1 km from the driver")),
                zone=near.zone,
                notes=said("This is a test. There are no goods."),
            ),
        )
    except Problem as problem:
        return not_done(request, problem, START)
    assert done.delivery is not None
    text = said("Order {order} is created.", order=done.delivery.seller_order_id)
    return acted(request, text, f"/board/deliveries/{done.delivery.id}")


def _best(drivers: list[Driver]) -> Driver | None:
    located = [driver for driver in drivers if driver.active and driver.position is not None]
    return min(located, key=lambda driver: (driver.availability != "available", driver.busy), default=None)
