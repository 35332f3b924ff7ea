"""Places the test order of the checklist."""

from typing import Final

from litestar import post
from litestar.response.base import ASGIResponse

from server.dispatch.model import Driver
from server.ids import new_id
from server.store.reads.drivers import find_drivers
from server.texts.languages import language_for
from server.texts.speech import said
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.deliveries import post_delivery
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem
from server.web.http.forms import Form, read_form
from server.web.screens.driver_page import words_of_test_order
from server.web.screens.first_run.screen import START
from server.web.screens.live_lists import acted, not_done
from server.web.screens.shell import flash, see_other

DRIVERS_LOOKED_AT: Final = 100
NEAR_DEGREES: Final = 0.005
"""About 500 m: how far the stops of a test order are from a driver."""


@post(f"{START}/test-order", guards=[OPS], status_code=200, opt={FORM: True})
async def place_test_order(request: Call) -> ASGIResponse:
    """An order 500 m from a driver, best from one who is available. No report counts it, and it pays nothing."""
    await read_form(request, Form)
    drivers = await find_drivers(pool_of(request), None, None, None, DRIVERS_LOOKED_AT)
    near = _best(drivers)
    if near is None or near.position is None:
        text = said("No driver has sent a position yet. Sign in on a phone first.")
        return see_other(START, flash(request, "bad", text))
    words = words_of_test_order(_drivers_language(request))
    lat, lon = near.position.lat, near.position.lon
    sign = -1 if lat > 80 else 1
    try:
        done = await post_delivery(
            request,
            s.NewDelivery(
                seller_order_id=f"TEST-{new_id()[-5:].upper()}",
                store_name=words.store,
                pickup=s.Place(lat + sign * NEAR_DEGREES, lon, words.pickup),
                dropoff=s.Place(lat + sign * 2 * NEAR_DEGREES, lon, words.dropoff),
                zone=near.zone,
                driver_pay_cents=0,
                notes=words.notes,
            ),
            test=True,
        )
    except Problem as problem:
        return not_done(request, problem, START)
    assert done.delivery is not None
    text = said("Order {order} is created.", order=done.delivery.seller_order_id)
    return acted(request, text, f"/board/deliveries/{done.delivery.id}")


def _drivers_language(request: Call) -> str:
    """The drivers' language, as far as it is known: that of the policy or of the screens, else of this browser."""
    node = node_of(request)
    chosen = node.policies.current.language or node.settings.language
    return language_for(request.headers.get("accept-language", ""), chosen)


def _best(drivers: list[Driver]) -> Driver | None:
    located = [driver for driver in drivers if driver.active and driver.position is not None]
    return min(located, key=lambda driver: (driver.availability != "available", driver.busy), default=None)
