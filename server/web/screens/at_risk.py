"""The screen of orders at risk: what is under way and may not arrive in time, who has it, who has acknowledged it."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.dispatch import commands as c
from server.store.reads.at_risk import read_at_risk
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import pool_of
from server.web.screens.live_lists import live
from server.web.screens.shell import with_now
from server.web.screens.unassigned import acknowledged

PATH: Final = "/at-risk"
TOPIC: Final = "watch"
PAGE: Final = 100


@get(with_now(PATH), guards=[VIEWERS])
async def at_risk(request: Call) -> ASGIResponse:
    """What is at risk, the worst first."""
    rows = await read_at_risk(pool_of(request), None, None, PAGE + 1)
    return await live(
        request,
        "watch/at_risk",
        nav="alerts",
        topic=TOPIC,
        now=f"{PATH}/now",
        orders=rows[:PAGE],
        more=len(rows) > PAGE,
    )


@post(f"{PATH}/{{delivery_id:str}}/acknowledge", guards=[OPS], status_code=200, opt={FORM: True})
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Somebody acknowledges it."""
    return await acknowledged(request, c.Acknowledge(id_in_path(delivery_id), request.user.actor), PATH)
