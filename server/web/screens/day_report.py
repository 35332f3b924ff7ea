"""The report of a day: a screen to read and to print, and each of its tables as CSV. The day is in the address."""

from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.day_report import DayReport, DayTally, DriverDay
from server.dispatch.money import EXPONENTS
from server.node import Node
from server.settings import time_zone_of
from server.store.reads.day_report import read_day_report
from server.web.access.guards import VIEWERS
from server.web.http.caller import Call
from server.web.http.csv_files import Cell, csv_of
from server.web.http.current_node import node_of
from server.web.http.errors import not_found
from server.web.screens.shell import NO_STORE, page

ONE_DAY: Final = timedelta(days=1)
EARLIEST: Final = date(2000, 1, 1)
Row = tuple[Cell, ...]


def _day(request: Call, today: date) -> date:
    """The day in the address; yesterday if there is none, or one that has not begun."""
    try:
        day = date.fromisoformat(request.query_params.get("day", ""))
    except ValueError:
        return today - ONE_DAY
    return day if EARLIEST <= day <= today else today - ONE_DAY


async def _read(request: Call) -> tuple[Node, date, date, DayReport]:
    """The node, today, the day, and its report. Raises DatabaseAway."""
    node = node_of(request)
    name = node.settings.time_zone
    zone, now = time_zone_of(name), node.clock.now()
    today = now.astimezone(zone).date()
    day = _day(request, today)
    since, until = (datetime.combine(at, time(), zone) for at in (day, day + ONE_DAY))
    return node, today, day, await read_day_report(node.database.pool, since, until, now, name)


@get("/report", guards=[VIEWERS])
async def report_screen(request: Call) -> ASGIResponse:
    """The report of `?day=2026-02-01`, or of yesterday."""
    _, today, day, report = await _read(request)
    return await page(
        request,
        "report.html",
        nav="insights",
        report=report,
        day=day,
        today=today,
        before=day - ONE_DAY,
        after=day + ONE_DAY if day < today else None,
    )


TALLY: Final = (
    "orders", "delivered", "withPromise", "onTime", "failed", "cancelled", "open", "averageWaitSeconds",
    "waitedOver5Min",
)  # fmt: skip


def _cells(tally: DayTally) -> tuple[Cell, ...]:
    return (
        tally.orders, tally.delivered, tally.promised, tally.on_time, tally.failed, tally.cancelled, tally.open,
        tally.average_wait, tally.long_waits,
    )  # fmt: skip


def _stores(report: DayReport) -> Iterator[Row]:
    yield ("store", *TALLY)
    for store, tally in report.stores:
        yield (store, *_cells(tally))
    yield ("", *_cells(report.total))


def _hours(report: DayReport) -> Iterator[Row]:
    yield ("hour", *TALLY)
    for hour, tally in report.hours:
        yield (hour, *_cells(tally))


def _drivers(report: DayReport) -> Iterator[Row]:
    yield ("driver", "hours", "delivered", "withPromise", "onTime", "failed", "pay", "currency")
    for driver in report.drivers:
        for currency, amount in _amounts(driver):
            tally = driver.tally
            counts = (tally.delivered, tally.promised, tally.on_time, tally.failed)
            yield (driver.name, round(driver.seconds / 3600, 2), *counts, amount, currency)


def _amounts(driver: DriverDay) -> list[tuple[str | None, float | None]]:
    """The pay in whole units of each currency; one line without an amount if there is none."""
    return [(of, cents / 10 ** EXPONENTS.get(of, 2)) for of, cents in sorted(driver.pay.items())] or [(None, None)]


FILES: Final[dict[str, Callable[[DayReport], Iterator[Row]]]] = {
    "stores.csv": _stores,
    "drivers.csv": _drivers,
    "hours.csv": _hours,
}


@get("/report/{name:str}", guards=[VIEWERS])
async def report_file(request: Call, name: FromPath[str]) -> ASGIResponse:
    """A table as a file: stores, drivers or hours `.csv`."""
    if name not in FILES:
        raise not_found()
    _, _, day, report = await _read(request)
    headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="callboard-{day.isoformat()}-{name}"'}
    return ASGIResponse(body=csv_of(FILES[name](report)), headers=headers, media_type="text/csv")
