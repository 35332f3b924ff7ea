"""The screens of unassigned orders and of tickets: what waits or waited, who acknowledged it, how it ended."""

from datetime import datetime
from typing import Final, TypedDict

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.dispatch.escalation import next_level_at
from server.dispatch.policy import Policy
from server.dispatch.refusals import Refusal
from server.ids import canonical
from server.store.reads.tickets import TicketWithOrder, read_tickets_with_orders
from server.store.reads.unassigned import UnassignedRow, read_all_unassigned, read_waiting
from server.texts.speech import said
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.forms import FormInvalid, read_form
from server.web.screens.board_form import BoardForm
from server.web.screens.live_lists import acted, address, chosen_of, live, not_done, refused_here
from server.web.screens.shell import with_now

UNASSIGNED: Final = "/unassigned"
TICKETS: Final = "/tickets"
TOPIC: Final = "watch"
PAGE: Final = 100


@get(with_now(UNASSIGNED), guards=[VIEWERS])
async def unassigned(request: Call) -> ASGIResponse:
    """What waits, the worst first; with `?all=1` those that wait no longer too, the newest first."""
    return await _screen(request, "watch/unassigned", UNASSIGNED, await _waits(request))


class Listed(TypedDict):
    """What both lists have: what was chosen, where the page begins, and the address of the next one."""

    chosen: dict[str, str | None]
    at: str | None
    older: str | None


class Waits(Listed):
    """The values of the list of unassigned orders: each with the time of its next level."""

    waits: list[tuple[UnassignedRow, datetime | None]]
    policy: Policy


class Tickets(Listed):
    """The values of the list of tickets."""

    tickets: list[TicketWithOrder]


async def _screen(request: Call, template: str, path: str, shown: Waits | Tickets) -> ASGIResponse:
    now = address(f"{path}/now", **shown["chosen"], at=shown["at"])
    return await live(request, template, nav="alerts", topic=None if shown["at"] else TOPIC, now=now, **shown)


async def _waits(request: Call) -> Waits:
    node = node_of(request)
    everything = chosen_of(request, "all", ("1",)) is not None
    at = canonical(chosen_of(request, "at") or "")
    read = read_all_unassigned if everything else read_waiting
    rows = await read(node.database.pool, None, at, PAGE + 1)
    shown = rows[:PAGE]
    if not everything:
        shown.sort(key=lambda row: (-row.escalation_level, row.unassigned_since or row.first_attempt_at))
    policy = node.policies.current
    chosen: dict[str, str | None] = {"all": "1" if everything else None}
    return {
        "waits": [(row, next_level_at(row.escalation_level, row.unassigned_since, policy)) for row in shown],
        "policy": policy,
        "chosen": chosen,
        "at": at,
        "older": address(UNASSIGNED, **chosen, at=rows[PAGE - 1].delivery_id) if len(rows) > PAGE else None,
    }


@post(f"{UNASSIGNED}/{{delivery_id:str}}/acknowledge", guards=[OPS], status_code=200, opt={FORM: True})
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Acknowledge it, with a note for the colleagues."""
    known = id_in_path(delivery_id)
    try:
        note = (await read_form(request, BoardForm)).note()
    except FormInvalid as wrong:
        return not_done(request, wrong, UNASSIGNED)
    return await acknowledged(request, c.Acknowledge(known, request.user.actor, note), UNASSIGNED)


async def acknowledged(request: Call, command: c.Acknowledge, path: str) -> ASGIResponse:
    """Carry it out, and say so on the screen at `path`."""
    answer = await node_of(request).executor.submit(command)
    if isinstance(answer, Refusal):
        return refused_here(request, answer, path)
    assert answer.delivery is not None
    return acted(request, said("Order {order} acknowledged.", order=answer.delivery.seller_order_id), path)


@get(with_now(TICKETS), guards=[VIEWERS])
async def tickets(request: Call) -> ASGIResponse:
    """Tickets, the newest first; `?only=open` or `closed` chooses."""
    return await _screen(request, "watch/tickets", TICKETS, await _tickets(request))


async def _tickets(request: Call) -> Tickets:
    only = chosen_of(request, "only", ("open", "closed"))
    at = canonical(chosen_of(request, "at") or "")
    wanted = None if only is None else only == "open"
    rows = await read_tickets_with_orders(pool_of(request), at, wanted, PAGE + 1)
    chosen: dict[str, str | None] = {"only": only}
    return {
        "tickets": rows[:PAGE],
        "chosen": chosen,
        "at": at,
        "older": address(TICKETS, **chosen, at=rows[PAGE - 1].id) if len(rows) > PAGE else None,
    }
