"""The screen of notices: who got which message, and its outcome."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypedDict, cast, get_args

import msgspec
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.ids import canonical
from server.store.reads import notices as record
from server.store.reads.insights import zone_names
from server.texts.speech import later, said
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.endpoint import id_in_path
from server.web.api.notices import BY_SOURCE, seen
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import Problem
from server.web.http.paging import cursor_of
from server.web.screens.live_lists import acted, address, chosen_of, live
from server.web.screens.shell import with_now

PATH: Final = "/notices"
TOPIC: Final = "watch"
PAGE: Final = 60
HOURS: Final = {
    "1": later("Last hour"),
    "24": later("Last 24 hours"),
    "168": later("Last 7 days"),
    "720": later("Last 30 days"),
}
LIVE_HOURS: Final = ("1", "24")
"""Longer windows are read once, not again and again."""
TO: Final[dict[record.To, str]] = {"ops": later("Ops"), "customer": later("Customers"), "driver": later("Drivers")}
OUTCOMES: Final[dict[record.NoticeStatus, str]] = {
    "received": later("received"),
    "sent": later("sent"),
    "pending": later("pending"),
    "failed": later("failed"),
}
KINDS: Final[dict[record.NoticeKind, str]] = {
    "delivery.escalated": later("Escalation"),
    "alert.raised": later("Alert raised"),
    "alert.resolved": later("Alert resolved"),
    "ticket.created": later("Ticket"),
    "delivery.assigned": later("Assigned"),
    "delivery.reassigned": later("Reassigned"),
    "delivery.cancelled": later("Cancelled"),
    "driver.availability_changed": later("Availability"),
    "delivery.pin_wrong": later("PIN locked"),
    "delivery.late_report": later("Late report"),
    "driver.message_sent": later("Message of a driver"),
    "offer.created": later("Offer"),
    "offer.closed": later("Offer closed"),
    "webhook.switched_off": later("Webhook stopped"),
}
assert (set(TO), set(OUTCOMES), set(KINDS)) == tuple(
    set(get_args(kind)) for kind in (record.To, record.NoticeStatus, record.NoticeKind)
)


@get(with_now(PATH), guards=[VIEWERS])
async def notices(request: Call) -> ASGIResponse:
    """The newest; `?to=`, `kind`, `outcome`, `zone`, `hours`, `delivery` choose."""
    shown = await _shown(request)
    moves = shown["hours"] in LIVE_HOURS and not shown["after"]
    now = address(f"{PATH}/now", **shown["chosen"], after=shown["after"])
    return await live(request, "watch/notices", nav="alerts", topic=TOPIC if moves else None, now=now, **shown)


class NoticesShown(TypedDict):
    """The values of the list."""

    notices: list[record.Notice]
    older: str | None
    after: str
    first: str
    chosen: dict[str, str | None]
    hours: str
    counts: Mapping[record.To, Mapping[record.NoticeStatus, int]]
    zones: Sequence[str]
    address: Callable[..., str]
    windows: Mapping[str, str]
    all_to: Mapping[record.To, str]
    outcomes: Mapping[record.NoticeStatus, str]
    kinds: Mapping[record.NoticeKind, str]


async def _shown(request: Call) -> NoticesShown:
    node = node_of(request)
    pool = node.database.pool
    hours = chosen_of(request, "hours", HOURS) or "24"
    delivery_id = canonical(chosen_of(request, "delivery") or "")
    wanted = record.NoticeFilter(
        cast(record.To | None, chosen_of(request, "to", TO)),
        cast(record.NoticeKind | None, chosen_of(request, "kind", KINDS)),
        cast(record.NoticeStatus | None, chosen_of(request, "outcome", OUTCOMES)),
        chosen_of(request, "zone"),
        delivery_id,
        since=None if delivery_id else node.clock.now() - timedelta(hours=int(hours)),
    )
    after = request.query_params.get("after", "")
    try:
        position = BY_SOURCE.key(after) if after else None
    except Problem:
        position, after = None, ""
    page = await record.read_notices(pool, wanted, position or record.START, PAGE)
    counts = await record.count_notices(pool, msgspec.structs.replace(wanted, to=None, outcome=None))
    chosen: dict[str, str | None] = {
        "to": wanted.to,
        "kind": wanted.kind,
        "outcome": wanted.outcome,
        "zone": wanted.zone,
        "hours": hours,
        "delivery": delivery_id,
    }
    return {
        "notices": page.notices,
        "older": address(PATH, **chosen, after=cursor_of(page.next)) if page.next is not None else None,
        "after": after,
        "first": address(PATH, **chosen),
        "chosen": chosen,
        "hours": hours,
        "counts": counts,
        "zones": await zone_names(pool),
        "address": lambda **changes: address(PATH, **(chosen | changes)),
        "windows": HOURS,
        "all_to": TO,
        "outcomes": OUTCOMES,
        "kinds": KINDS,
    }


@post(f"{PATH}/{{notice_id:str}}/acknowledge", guards=[OPS], status_code=200, opt={FORM: True})
async def acknowledge(request: Call, notice_id: FromPath[str]) -> ASGIResponse:
    """Somebody has seen it. The first person is recorded."""
    notice = await seen(request, id_in_path(notice_id))
    return acted(request, said("Seen by {person}.", person=notice.by), PATH)
