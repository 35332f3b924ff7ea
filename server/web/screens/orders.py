"""The screen of all orders: what is scheduled, a search whose fields are in the address, and pages of results."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, get_args

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.words import FAILURES, words
from server.dispatch.model import Delivery, DeliveryStatus
from server.dispatch.refusals import Refusal
from server.dispatcher.search_on_request import NoDriverFound
from server.ids import canonical
from server.settings import time_zone_of
from server.store.query import DatabaseAway, database_errors
from server.store.reads.deliveries import read_scheduled
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries, has_index_of_words
from server.store.reads.drivers import find_drivers, read_names
from server.store.zones import zone_choices
from server.texts.speech import said
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.deliveries import FEWEST_CHARACTERS
from server.web.api.endpoint import id_in_path
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.forms import FormInvalid, address_text
from server.web.screens.downloads import csv_form
from server.web.screens.live_lists import acted, address, refused_here
from server.web.screens.privacy import phone_to_erase
from server.web.screens.shell import page

ORDERS: Final = "/orders"
FOR_IMPORT: Final = f"{ORDERS}/for-import.csv"
PAGE: Final = 50
SCHEDULED_SHOWN: Final = 20
FIELDS: Final = ("q", "from", "to", "driver", "store", "zone", "status")
DRIVERS_LISTED: Final = 500
"""So many drivers, the newest first, can be chosen."""
FILE_ROWS: Final = 10_000


@get(ORDERS, guards=[VIEWERS])
async def orders(request: Call) -> ASGIResponse:
    """Newest first. Filters: `?q=`, `from`, `to` (days), `driver` (an id), `store`, `zone`, `status`. Cursor: `at`."""
    node = node_of(request)
    pool = node.database.pool
    chosen = chosen_filters(request)
    at = canonical(request.query_params.get("at", ""))
    found: list[Delivery] = []
    problem = None
    try:
        found = await find_deliveries(pool, await wanted_of(request, chosen), at, PAGE + 1)
    except FormInvalid as wrong:
        problem = wrong.detail
    except DatabaseAway:
        problem = said("The search took too long. Add days, a store or a zone.")
    shown = found[:PAGE]
    given = _given(chosen)
    ahead = await read_scheduled(pool, SCHEDULED_SHOWN) if not given and at is None else []
    return await page(
        request,
        "orders.html",
        422 if problem is not None else 200,
        nav="orders",
        orders=shown,
        drivers=await last_drivers(request, shown),
        ahead=ahead,
        all_ahead=address(ORDERS, status="SCHEDULED") if len(ahead) == SCHEDULED_SHOWN else None,
        chosen=chosen,
        statuses=get_args(DeliveryStatus),
        zones=await zone_choices(node.database.pool),
        choices=await _choices(request, chosen["driver"]),
        problem=problem,
        phone=phone_to_erase(request, chosen["q"]),
        is_slow=bool(chosen["q"]) and not await has_index_of_words(pool),
        file=address(f"{ORDERS}/file.csv", **given) if shown else None,
        for_import=address(FOR_IMPORT, **given) if shown else None,
        file_rows=FILE_ROWS,
        csv=csv_form(request),
        older=address(ORDERS, **given, at=shown[-1].id) if len(found) > PAGE else None,
        newest=address(ORDERS, **given) if at is not None else None,
    )


@post(f"{ORDERS}/{{delivery_id:str}}/dispatch", guards=[OPS], status_code=200, opt={FORM: True})
async def dispatch_now(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Search for a driver now, before the planned time."""
    known = id_in_path(delivery_id)
    with database_errors():
        found = await node_of(request).on_request.search(known, request.user.actor, early=True)
    if isinstance(found, Refusal):
        return refused_here(request, found, ORDERS)
    if isinstance(found, NoDriverFound):
        return acted(
            request, said("Search finished: {result}.", result=said(words(FAILURES, found.failure_reason))), ORDERS
        )
    return acted(request, said("Offered to a driver."), ORDERS)


async def last_drivers(request: Call, deliveries: Sequence[Delivery]) -> dict[str, tuple[str, str]]:
    """By delivery the id and the name of the driver who has it or had it at the end."""
    ids = {d.id: a.driver_id for d in deliveries if (a := d.last_assignment()) is not None}
    names = await read_names(node_of(request).database.pool, set(ids.values())) if ids else {}
    return {key: (driver, names.get(driver) or said("a driver")) for key, driver in ids.items()}


async def _choices(request: Call, chosen: str) -> list[tuple[str, str]]:
    """The drivers to choose from, by name; also the chosen one if there are more."""
    pool = node_of(request).database.pool
    names = {driver.id: driver.name for driver in await find_drivers(pool, None, None, None, DRIVERS_LISTED)}
    known = canonical(chosen)
    if known is not None and known not in names:
        names |= await read_names(pool, [known])
    return sorted(names.items(), key=lambda one: one[1].casefold())


def chosen_filters(request: Call) -> dict[str, str]:
    return {name: address_text(request, name).strip() for name in FIELDS}


def _given(chosen: dict[str, str]) -> dict[str, object]:
    return {name: value for name, value in chosen.items() if value}


async def wanted_of(request: Call, chosen: dict[str, str]) -> DeliveryFilter:
    """The filters of the form. Raises FormInvalid with the mistake in them, and DatabaseAway."""
    node = node_of(request)
    zone = time_zone_of(node.settings.time_zone)
    days: dict[str, datetime] = {}
    for name in ("from", "to"):
        try:
            if chosen[name]:
                day = datetime.fromisoformat(chosen[name]).date()
                days[name] = datetime.combine(day, time(), zone)
                days[name].astimezone(UTC)
        except (ValueError, OverflowError):  # a day that begins before or after all years in UTC
            raise FormInvalid(said("Write days like 2026-02-01.")) from None
    driver = canonical(chosen["driver"])
    if chosen["driver"] and driver is None:
        raise FormInvalid(said("Choose a driver from the list."))
    if 0 < len(chosen["q"]) < FEWEST_CHARACTERS:
        raise FormInvalid(said("Write at least {count} characters.", count=FEWEST_CHARACTERS))
    status: Any = chosen["status"] if chosen["status"] in get_args(DeliveryStatus) else None
    return DeliveryFilter(
        status=status,
        zone=await zone_of_query(node, chosen["zone"]) if chosen["zone"] else None,
        driver_id=driver,
        store=chosen["store"] or None,
        since=days.get("from"),
        until=_end(days["to"]) if "to" in days else None,
        words=chosen["q"] or None,
    )


def _end(day: datetime) -> datetime:
    """The last millisecond of a day."""
    try:
        return day + timedelta(days=1) - timedelta(milliseconds=1)
    except OverflowError:
        return day
