"""The screen of orders at risk: what is under way and may not arrive in time, who has it, who has acknowledged it."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.dispatch.refusals import Refusal
from server.store.reads.at_risk import read_at_risk
from server.texts.speech import said
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.screens.live_lists import acted, again, live, refused_here

PATH: Final = "/at-risk"
TOPIC: Final = "watch"
PAGE: Final = 100


@get(PATH, guards=[VIEWERS])
async def at_risk(request: Call) -> ASGIResponse:
    """What is at risk, the worst first."""
    return await live(
        request, "watch/at_risk", nav="alerts", topic=TOPIC, now=f"{PATH}/now", values=await _at_risk(request)
    )


@get(f"{PATH}/now", guards=[VIEWERS])
async def at_risk_now(request: Call) -> ASGIResponse:
    return again(request, "watch/at_risk", **await _at_risk(request))


async def _at_risk(request: Call) -> dict[str, object]:
    rows = await read_at_risk(pool_of(request), None, None, PAGE + 1)
    return {"orders": rows[:PAGE], "more": len(rows) > PAGE}


@post(
    f"{PATH}/{{delivery_id:str}}/acknowledge",
    guards=[OPS],
    status_code=200,
    opt={FORM: True},
)
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Somebody acknowledges it."""
    known = id_in_path(delivery_id)
    answer = await node_of(request).executor.submit(c.Acknowledge(known, request.user.actor))
    if isinstance(answer, Refusal):
        return refused_here(request, answer, PATH)
    assert answer.delivery is not None
    return acted(request, said("Order {order} acknowledged.", order=answer.delivery.seller_order_id), PATH)
