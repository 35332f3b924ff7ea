"""The report of a day: a screen to read and to print, and each of its tables as CSV. The day is in the address."""

from datetime import date, datetime, time, timedelta
from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.day_report import DayReport
from server.contract.day_report_files import FILES
from server.contract.day_report_files import report_file as file_of
from server.node import Node
from server.settings import time_zone_of
from server.store.reads.day_report import read_day_report
from server.web.access.guards import VIEWERS
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import not_found
from server.web.screens.downloads import csv_file, csv_form
from server.web.screens.shell import page

ONE_DAY: Final = timedelta(days=1)
EARLIEST: Final = date(2000, 1, 1)


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
        csv=csv_form(request),
    )


@get("/report/{name:str}", guards=[VIEWERS])
async def report_file(request: Call, name: FromPath[str]) -> ASGIResponse:
    """A table as a file: stores, drivers or hours `.csv`."""
    table, dot, ending = name.rpartition(".")
    if table not in FILES or f"{dot}{ending}" != ".csv":
        raise not_found()
    _, _, _, report = await _read(request)
    return csv_file(*file_of(report, table, csv_form(request)))
