"""The insights' screen: the success metrics against their targets, why offers are rejected, how long answers take, how
good the estimates were; and each table of it as CSV. The window and the zone are in the address.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import datetime, tzinfo
from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.formats import clock
from server.board.stats import ACCEPTANCE_TARGET, LATE_TARGET, RESPONSE_TARGET_MS
from server.contract.csv_files import Cell
from server.contract.views import instant
from server.contract.words import REASONS, words
from server.node import Node
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.reads.insight_estimates import read_errors
from server.store.reads.insights import read_groups, zone_names
from server.texts.speech import said, spoken
from server.web.access.guards import VIEWERS
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import not_found
from server.web.http.forms import address_text
from server.web.screens.downloads import csv_form, table_file
from server.web.screens.estimate_errors import STAGES, BothStages, estimate_errors
from server.web.screens.insights_numbers import (
    BIN_SECONDS,
    DEFAULT_WINDOW,
    WINDOWS,
    Insights,
    Outcomes,
    Window,
    insights_of,
    last_moment,
)
from server.web.screens.shell import page

KEPT_SECONDS: Final = 10.0
KEPT_LIMIT: Final = 50
WAIT_SECONDS: Final = 30.0
RESPONSE_TARGET_SECONDS: Final = RESPONSE_TARGET_MS / 1000
Row = tuple[Cell, ...]


class InsightsReader:
    """Asks for one window at a time, however many people look, and keeps what it found for a moment."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str | None, str], tuple[float, Insights]] = {}
        self._asking = asyncio.Lock()

    async def read(self, node: Node, window: Window, zone: str | None) -> Insights:
        """The insights of this window till now. Raises DatabaseAway."""
        with database_errors():
            async with asyncio.timeout(WAIT_SECONDS), self._asking:
                asked_for = (window.key, zone, node.settings.time_zone)
                kept = self._kept.get(asked_for)
                if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
                    return kept[1]
                found = await _read(node, window, zone)
                if len(self._kept) >= KEPT_LIMIT:
                    self._kept.clear()
                self._kept[asked_for] = (time.monotonic(), found)
                return found


async def _read(node: Node, window: Window, zone: str | None) -> Insights:
    pool, now, time_zone = node.database.pool, node.clock.now(), node.settings.time_zone
    local = time_zone_of(time_zone)
    since, until = window.start(now, local), window.end(now, local)
    groups = await read_groups(pool, since, until, zone, time_zone)
    found = await read_errors(pool, since, until, zone, time_zone)
    errors = estimate_errors(since, last_moment(until, now), local, found)
    return insights_of(window, now, local, groups, errors)


def _window_and_zone(request: Call) -> tuple[Window, str | None]:
    """The window and the zone in the address; what is not known there is as good as nothing."""
    window = WINDOWS.get(request.query_params.get("window", ""), WINDOWS[DEFAULT_WINDOW])
    return window, address_text(request, "zone") or None


@get("/insights", guards=[VIEWERS])
async def insights_screen(request: Call) -> ASGIResponse:
    node = node_of(request)
    window, zone = _window_and_zone(request)
    reader: InsightsReader = request.app.state.insights
    found = await reader.read(node, window, zone)
    zones = await zone_names(node.database.pool)
    if zone is not None and zone not in zones:
        zones.append(zone)
    return await page(
        request,
        "insights/insights.html",
        nav="insights",
        found=found,
        window=window,
        windows=WINDOWS.values(),
        zone=zone,
        zones=zones,
        timeouts=found.timeouts(node.policies.current.offer_timeout_seconds),
        reasons=[(said(words(REASONS, reason)), count) for reason, count in found.reasons],
        csv=csv_form(request),
        acceptance_target=ACCEPTANCE_TARGET,
        response_target=RESPONSE_TARGET_SECONDS,
        late_target=LATE_TARGET,
        moment=_moments(time_zone_of(node.settings.time_zone), by_day=window.by_day),
        day=_moments(time_zone_of(node.settings.time_zone), by_day=True),
    )


def _moments(zone: tzinfo, *, by_day: bool) -> Callable[[datetime], str]:
    """How the beginning of a part of the window is written."""
    speech = spoken()

    def written(at: datetime) -> str:
        day = speech.dated(at.astimezone(zone), "dd MMM", "MMMd")
        return day if by_day else f"{day}, {clock(at, zone)}"

    return written


TALLY: Final = (
    "accepted",
    "autoAccepted",
    "rejected",
    "expired",
    "acceptanceRate",
    "rejectedShare",
    "responseSecondsAvg",
    "deliveriesWanted",
    "unassignedOver5Min",
    "unassignedOver5MinShare",
)


def _cells(tally: Outcomes) -> list[Cell]:
    return [
        tally.accepted,
        tally.auto_accepted,
        tally.rejected,
        tally.expired,
        tally.acceptance,
        tally.rejected_share,
        tally.response_seconds,
        tally.wanted,
        tally.late,
        tally.late_share,
    ]


def _over_time(found: Insights, _: int) -> Iterator[Row]:
    yield ("from", *TALLY)
    for at, tally in found.over_time:
        yield (instant(at), *_cells(tally))


def _by_hour(found: Insights, _: int) -> Iterator[Row]:
    yield ("hour", *TALLY)
    for hour, tally in found.hours:
        yield (hour, *_cells(tally))


def _by_zone(found: Insights, _: int) -> Iterator[Row]:
    yield ("zone", *TALLY)
    for zone, tally in found.zones:
        yield (zone, *_cells(tally))


def _reasons(found: Insights, _: int) -> Iterator[Row]:
    yield ("reason", "rejected")
    yield from found.reasons


def _responses(found: Insights, _: int) -> Iterator[Row]:
    yield ("fromSeconds", "toSeconds", "accepted", "rejected")
    for part in found.answers():
        yield (part.seconds, part.seconds + BIN_SECONDS, part.accepted, part.rejected)


def _timeouts(found: Insights, current: int) -> Iterator[Row]:
    yield ("offerTimeoutSeconds", "acceptedInTime", "answeredInTime", "answeredShare", "isCurrent", "isKnown")
    for row in found.timeouts(current):
        yield (row.seconds, row.accepted, row.answered, row.share, row.is_current, row.is_known)


def _estimates(found: Insights, _: int) -> Iterator[Row]:
    yield ("day", "zone", *(f"{stage}{what}" for stage in STAGES for what in ESTIMATE))
    for day, both in found.estimates.days:
        yield (instant(day), None, *_errors(both))
    for zone, both in found.estimates.zones:
        yield (None, zone, *_errors(both))


ESTIMATE: Final = ("Deliveries", "MedianSeconds", "P90Seconds", "LaterShare")


def _errors(both: BothStages) -> Iterator[Cell]:
    for errors in (both.assignment, both.pickup):
        yield from (errors.count, errors.median, errors.p90, errors.later)


FILES: Final[dict[str, Callable[[Insights, int], Iterator[Row]]]] = {
    "time.csv": _over_time,
    "hours.csv": _by_hour,
    "zones.csv": _by_zone,
    "reasons.csv": _reasons,
    "responses.csv": _responses,
    "timeouts.csv": _timeouts,
    "estimates.csv": _estimates,
}
"""By name: the header and the rows, given the time to answer that is in force."""


@get("/insights/{name:str}", guards=[VIEWERS])
async def insights_file(request: Call, name: FromPath[str]) -> ASGIResponse:
    """A table as a file: time, hours, zones, reasons, responses, timeouts or estimates `.csv`."""
    if name not in FILES:
        raise not_found()
    node = node_of(request)
    window, zone = _window_and_zone(request)
    reader: InsightsReader = request.app.state.insights
    found = await reader.read(node, window, zone)
    rows = FILES[name](found, node.policies.current.offer_timeout_seconds)
    return table_file(request, f"callboard-{window.key}-{name}", rows)
