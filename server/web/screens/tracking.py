"""The customer's tracking page: a page, JSON or a stream of what changes, under one link that nobody can guess.

Who has the link needs no login. It shows nothing but what `TrackingView` has.
"""

from functools import partial
from typing import Final

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.templates import environment
from server.board.tracking import Shown
from server.dispatch import refusals as r
from server.texts.catalogues import DRIVER, direction
from server.texts.languages import customers_language
from server.web.http.assets import asset
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import NOT_FOUND, Problem, too_many
from server.web.http.event_stream import EVENT_STREAM, EventStream
from server.web.screens.shell import HTML

JSON: Final = "application/json"
PRIVATE: Final = {
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept, Accept-Language",
}
"""The page stays with its reader: no cache, no search engine and no other site learns its link."""
AGAIN_AFTER_SECONDS: Final = 30
"""When a page without a stream looks again."""


@get("/track/{token:str}")
async def track(request: Call, token: FromPath[str]) -> ASGIResponse:
    """The delivery of a link, as the customer may see it: as a page, or as `Accept` says."""
    node = node_of(request)
    delivery_id = node.tracking_links.id_of(token)
    shown = (await node.tracker.shown([delivery_id])).get(delivery_id) if delivery_id is not None else None
    accept = request.headers.get("accept", "")
    language = customers_language(request.headers.get("accept-language", ""), node.policies.current.language)
    if EVENT_STREAM in accept or (JSON in accept and HTML not in accept):
        if delivery_id is None or shown is None:
            raise Problem(NOT_FOUND, r.NOT_FOUND.message, PRIVATE)
        if EVENT_STREAM not in accept:
            body = msgspec.json.encode(shown.view)
            return ASGIResponse(body=body, headers=PRIVATE, media_type=JSON)
        follower = node.tracker.join(delivery_id, language, shown)
        if follower is None:
            problem = too_many(AGAIN_AFTER_SECONDS)
            raise Problem(problem.kind, problem.detail, {**PRIVATE, **problem.headers})
        return EventStream(follower.stream(), PRIVATE, partial(node.tracker.leave, follower))
    return _page(request, language, shown)


def _page(request: Call, language: str, shown: Shown | None) -> ASGIResponse:
    settings = node_of(request).settings
    template = environment(settings.time_zone, language, DRIVER, settings.root).get_template("tracking.html")
    html = template.render(
        asset=asset,
        language=language,
        direction=direction(language),
        again_after=AGAIN_AFTER_SECONDS,
        shown=shown,
        view=shown.view if shown is not None else None,
    )
    return ASGIResponse(
        body=html.encode(),
        status_code=200 if shown is not None else 404,
        headers={**PRIVATE, "Content-Language": language},
        media_type=HTML,
    )
