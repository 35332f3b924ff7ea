"""Rows and numbers as HTML. Everything is escaped by the templates; every row made here is counted."""

import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from jinja2 import Environment
from markupsafe import Markup
from msgspec import Struct
from prometheus_client import Counter

from server.board.picture import Gone, Table
from server.board.tally import ZoneCounts
from server.board.templates import milliseconds
from server.dispatch.model import UNDER_WAY
from server.dispatch.policy import Policy
from server.store.reads.board import WAITING, AlertShown, BoardDelivery, BoardDriver, DriverContact
from server.store.reads.chat import Unanswered

RENDERED: Final = Counter("callboard_board_rows_rendered", "Rows of the board rendered, each once a node")

UNKNOWN: Final = DriverContact(None, None, None, None)
List = Literal["waiting", "offers", "active", "drivers"]
PREFIX: Final[dict[List, str]] = {"waiting": "d", "offers": "o", "active": "a", "drivers": "v"}


class Stats(Struct, frozen=True):
    """The numbers of the headline about a window, None for want of any; a state is `good`, `bad`, or empty."""

    minutes: int
    acceptance: float | None = None
    acceptance_state: str = ""
    response_seconds: float | None = None
    response_state: str = ""
    late: float | None = None
    late_state: str = ""


class Renderer:
    """Makes the rows of one node. `policy` is the one in force."""

    def __init__(self, env: Environment, policy: Callable[[], Policy]) -> None:
        self._policy = policy
        self.use(env)

    def use(self, env: Environment) -> bool:
        """Make the rows with these templates from now on. Returns whether they are other ones than before."""
        if env is getattr(self, "_env", None):
            return False
        self._env = env
        rows: Any = env.get_template("board/rows.html").module
        self._macros: dict[str, Callable[..., Markup]] = {
            name: getattr(rows, name) for name in ("waiting", "offer", "active", "driver", "over", "alerts")
        }
        headline: Any = env.get_template("board/headline.html").module
        cuts: Any = env.get_template("board/cuts.html").module
        self._cut: Callable[..., Markup] = cuts.cut
        self._headline: Callable[..., Markup] = headline.headline
        return True

    def delivery(self, d: BoardDelivery, gone: Gone | None, rev: int) -> dict[List, str]:
        """The rows of a delivery, whose driver may be gone, by the tables in which it is now."""
        policy = self._policy()
        made: dict[List, str] = {}
        if d.status == WAITING:
            made["waiting"] = self._macros["waiting"](d, rev, policy)
            if d.offer_id is not None:
                made["offers"] = self._macros["offer"](d, rev, policy)
        elif d.status in UNDER_WAY:
            made["active"] = self._macros["active"](d, gone, rev, policy)
        RENDERED.inc(len(made))
        return made

    def over(self, d: BoardDelivery, rev: int, left: List) -> str:
        """The last row of a delivery in a table that it leaves: what became of it."""
        RENDERED.inc()
        return self._macros["over"](d, rev, left)

    def driver(
        self,
        d: BoardDriver,
        seen: DriverContact | None,
        gone: Gone | None,
        rev: int,
        two_devices: bool = False,
        wrote: Unanswered | None = None,
    ) -> str:
        """The row of a driver, who may be gone with work, signed in on two devices that take turns, or wait for an
        answer of dispatch.
        """
        RENDERED.inc()
        return self._macros["driver"](d, seen or UNKNOWN, gone, rev, self._policy(), two_devices, wrote)

    def alerts(self, alerts: Sequence[AlertShown]) -> str:
        """The whole list of alerts: there are few."""
        return self._macros["alerts"](alerts)

    def cut(self, table: Table, shown: int, total: int) -> str:
        return self._cut(table, shown, total)

    def headline(self, zones: dict[str, ZoneCounts], stats: Stats) -> str:
        """The numbers of all zones, and those of each zone as data, for viewers of one zone."""
        numbers = {
            name: {
                "waiting": zone.waiting,
                "held": zone.held,
                "offers": zone.offers,
                "active": zone.active,
                "gone": zone.gone,
                "alerts": zone.alerts,
                "oldest": milliseconds(zone.oldest) if zone.oldest is not None else None,
                "off": zone.states["offline"] + zone.states["shift_ended"],
                **{state: zone.states[state] for state in ("available", "busy", "on_break", "paused")},
            }
            for name, zone in sorted(zones.items())
            if name
        }
        return self._headline(zones[""], stats, json.dumps(numbers, separators=(",", ":")))


def partial_of(target: str, swap: str, html: str = "") -> str:
    """One piece of a message: what htmx does with which element. `target` is a selector made here."""
    return f'<hx-partial hx-target="{target}" hx-swap="{swap}">{html}</hx-partial>'


def pulse(now: datetime, read_at: float) -> str:
    """The server's clock, and how long ago the database was last read, both in milliseconds."""
    return json.dumps({"now": milliseconds(now), "age": round((time.monotonic() - read_at) * 1000)})
