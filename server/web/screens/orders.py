"""The screen for the search of orders: a form whose fields are in the address, and a page of results."""

from datetime import datetime, time, timedelta
from typing import Any, Final, get_args

from litestar import get
from litestar.response.base import ASGIResponse

from server.dispatch.model import DeliveryStatus
from server.ids import canonical
from server.settings import time_zone_of
from server.store.query import DatabaseAway
from server.store.reads.deliveries import DeliveryFilter, read_deliveries
from server.store.reads.drivers import read_names
from server.texts.speech import said
from server.web.access.guards import WATCHERS
from server.web.api.deliveries import FEWEST_CHARACTERS
from server.web.api.endpoint import Call
from server.web.api.zones import zone_asked
from server.web.http.calls import node_of
from server.web.screens.live_lists import address
from server.web.screens.shell import page

ORDERS: Final = "/orders"
PAGE: Final = 50
TEXT_LIMIT: Final = 200
FIELDS: Final = ("q", "from", "to", "driver", "store", "zone", "status")


@get(ORDERS, guards=[WATCHERS])
async def orders(request: Call) -> ASGIResponse:
    """Newest first. Filters: `?q=`, `from`, `to` (days), `driver` (an id), `store`, `zone`, `status`. Cursor: `at`."""
    node = node_of(request)
    chosen = {name: request.query_params.get(name, "").replace("\x00", "")[:TEXT_LIMIT].strip() for name in FIELDS}
    wanted, problem = await _wanted(request, chosen)
    found = []
    if problem is None:
        try:
            found = await read_deliveries(
                node.database.pool, wanted, canonical(request.query_params.get("at", "")), PAGE + 1
            )
        except DatabaseAway:
            problem = said("The search took too long. Add days, a store or a zone.")
    shown = found[:PAGE]
    drivers = {delivery.id: a.driver_id for delivery in shown if (a := delivery.assignment()) is not None}
    return await page(
        request,
        "orders.html",
        422 if problem is not None else 200,
        nav="orders",
        orders=shown,
        drivers=drivers,
        names=await read_names(node.database.pool, set(drivers.values())) if drivers else {},
        chosen=chosen,
        statuses=get_args(DeliveryStatus),
        problem=problem,
        older=address(ORDERS, **_given(chosen), at=shown[-1].id) if len(found) > PAGE else None,
    )


def _given(chosen: dict[str, str]) -> dict[str, Any]:
    return {name: value for name, value in chosen.items() if value}


async def _wanted(request: Call, chosen: dict[str, str]) -> tuple[DeliveryFilter, str | None]:
    """The filters of the form, and the mistake in it, if any. Raises DatabaseAway."""
    node = node_of(request)
    zone = time_zone_of(node.settings.time_zone)
    days: dict[str, datetime] = {}
    for name in ("from", "to"):
        try:
            if chosen[name]:
                day = datetime.fromisoformat(chosen[name]).date()
                days[name] = datetime.combine(day, time(), zone)
        except ValueError:
            return DeliveryFilter(), said("Write days like 2026-02-01.")
    driver = canonical(chosen["driver"])
    if chosen["driver"] and driver is None:
        return DeliveryFilter(), said("Use the id of a driver: open the driver on the board and follow the link there.")
    if 0 < len(chosen["q"]) < FEWEST_CHARACTERS:
        return DeliveryFilter(), said("Write at least {count} characters.", count=FEWEST_CHARACTERS)
    status: Any = chosen["status"] if chosen["status"] in get_args(DeliveryStatus) else None
    wanted = DeliveryFilter(
        status=status,
        zone=await zone_asked(node, chosen["zone"]) if chosen["zone"] else None,
        driver_id=driver,
        store=chosen["store"] or None,
        since=days.get("from"),
        until=_end(days["to"]) if "to" in days else None,
        words=chosen["q"] or None,
    )
    return wanted, None


def _end(day: datetime) -> datetime:
    """The last millisecond of a day."""
    try:
        return day + timedelta(days=1) - timedelta(milliseconds=1)
    except OverflowError:
        return day
