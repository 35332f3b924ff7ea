"""The results of a search of orders as a file for a spreadsheet: headings and states in the words of the screens."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from math import ceil
from typing import Final

from litestar import get
from litestar.response.base import ASGIResponse

from server.board.formats import in_zone
from server.contract.csv_files import Cell
from server.contract.words import FAILURES, REASONS, STATUSES, words
from server.dispatch.model import Delivery
from server.dispatch.money import EXPONENTS
from server.settings import time_zone_of
from server.store.reads.deliveries import read_cancellations
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries
from server.texts.speech import later, said
from server.web.access.guards import VIEWERS
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.screens.downloads import table_file
from server.web.screens.order_fields import TEXTS as LABELS
from server.web.screens.orders import FILE_ROWS, ORDERS, chosen_filters, last_drivers, wanted_of

FILE_PAGE: Final = 500
"""Orders that are read at once."""
HEADINGS: Final = (
    later("Order"), later("Seller"), LABELS["storeName"], LABELS["zone"], later("State"), later("Reason"),
    later("Note to the reason"), later("Driver"), LABELS["pickup.name"], LABELS["pickup.phone"],
    LABELS["pickup.address"], LABELS["dropoff.name"], LABELS["dropoff.phone"], LABELS["dropoff.address"],
    LABELS["dropoff.notes"], LABELS["notes"],
)  # fmt: skip
TIMES: Final = (
    later("Created ({time_zone})"), later("Search starts ({time_zone})"), later("Promised at ({time_zone})"),
    later("Picked up ({time_zone})"), later("Delivered ({time_zone})"),
)  # fmt: skip
AMOUNTS: Final = (
    LABELS["priceCents"], LABELS["driverPayCents"], LABELS["tipCents"], later("Currency"), later("Test order"),
    later("Id"),
)  # fmt: skip


@get(f"{ORDERS}/file.csv", guards=[VIEWERS])
async def orders_file(request: Call) -> ASGIResponse:
    """All pages of a search as one file, its first 10,000 rows. Raises 422 and 503."""
    wanted = await wanted_of(request, chosen_filters(request))
    zone = node_of(request).settings.time_zone
    headings = [said(text) for text in HEADINGS]
    headings += [said(text, time_zone=zone) for text in TIMES]
    headings += [said(text) for text in AMOUNTS]
    rows: list[Sequence[Cell]] = [headings]
    async for some in pages_of(request, wanted, FILE_ROWS):
        drivers = await last_drivers(request, some)
        cancelled = await read_cancellations(
            node_of(request).database.pool, [delivery.id for delivery in some if delivery.status == "CANCELLED"]
        )
        rows += [_row(delivery, drivers, cancelled, zone) for delivery in some]
    return table_file(request, "callboard-orders.csv", rows)


async def pages_of(request: Call, wanted: DeliveryFilter, rows: int) -> AsyncIterator[list[Delivery]]:
    """The newest results of a search, page by page until there are so many rows. Raises DatabaseAway."""
    pool = node_of(request).database.pool
    at = None
    for _ in range(ceil(rows / FILE_PAGE)):
        found = await find_deliveries(pool, wanted, at, FILE_PAGE)
        yield found
        if len(found) < FILE_PAGE:
            return
        at = found[-1].id


def _row(
    delivery: Delivery, drivers: Mapping[str, tuple[str, str]], cancelled: Mapping[str, str], zone_name: str
) -> Sequence[Cell]:
    assignment = delivery.assignment() or delivery.last_assignment()
    zone = time_zone_of(zone_name)
    reason, note = _why(delivery, cancelled)

    def at(when: datetime | None) -> str | None:
        """As spreadsheets know times, which have no zone: the heading names it."""
        return in_zone(when, zone).strftime("%Y-%m-%d %H:%M:%S") if when is not None else None

    def amount(cents: int | None) -> float | None:
        digits = EXPONENTS.get(delivery.currency, 2)
        return cents if cents is None or not digits else cents / 10**digits

    return (
        delivery.seller_order_id,
        delivery.seller_id,
        delivery.store_name,
        delivery.zone,
        said(words(STATUSES, delivery.status)),
        reason,
        note,
        drivers[delivery.id][1] if delivery.id in drivers else None,
        delivery.pickup.name,
        delivery.pickup.phone,
        delivery.pickup.address,
        delivery.dropoff.name,
        delivery.dropoff.phone,
        delivery.dropoff.address,
        delivery.dropoff.notes,
        delivery.notes,
        at(delivery.created_at),
        at(delivery.dispatch_at),
        at(delivery.promised_at),
        at(assignment.picked_up_at) if assignment is not None else None,
        at(assignment.completed_at) if assignment is not None else None,
        amount(delivery.price_cents),
        amount(delivery.driver_pay_cents),
        amount(delivery.tip_cents),
        delivery.currency,
        said("yes") if delivery.details.test else None,
        delivery.id,
    )


def _why(delivery: Delivery, cancelled: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Why it waits, failed, comes back or was cancelled, and the driver's note about that."""
    last = delivery.last_assignment()
    if delivery.status == "READY" and delivery.unassigned is not None and delivery.current_offer_id is None:
        return said(words(FAILURES, delivery.unassigned.failure_reason)), None
    if delivery.status == "CANCELLED":
        return said(words(REASONS, cancelled.get(delivery.id))), None
    if delivery.status in ("FAILED", "RETURNING", "RETURNED") and last is not None:
        return said(words(REASONS, last.end_reason)), last.end_note
    return None, None
