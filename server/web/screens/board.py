"""The live board: its page, its stream, its tables again after a gap, and where notifications lead."""

from typing import Final

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.feed import TOPICS
from server.board.render import partial_of
from server.ids import canonical
from server.store.reads.deliveries import delivery_exists, newest_of_order
from server.web.access.guards import VIEWERS
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of, rest_of_path
from server.web.http.errors import existing, not_found
from server.web.http.event_stream import EventStream
from server.web.http.forms import address_text
from server.web.screens import board_bulk
from server.web.screens.board_answers import feed_of
from server.web.screens.first_run.screen import lists_of_forms
from server.web.screens.first_run.steps import steps_for_board, titles_of_open_steps
from server.web.screens.shell import HTML, NO_STORE, page, see_other, sessions_of

POSITION_LIMIT: Final = 64
ABOUT_LIMIT: Final = 200


@get("/board", guards=[VIEWERS])
async def board(request: Call) -> ASGIResponse:
    """The whole board; which of its rows are shown, and how they are sorted, is the address's and the script's."""
    feed = feed_of(request)
    shown = await feed.page()
    settings = node_of(request).settings
    kiosk = request.query_params.get("kiosk") == "1"
    return await page(
        request,
        "board/board.html",
        nav="board",
        shown=shown,
        bulk_limit=board_bulk.BULK_LIMIT,
        kiosk=kiosk,
        steps=None if kiosk else await steps_for_board(request),
        open_steps=[] if kiosk else await titles_of_open_steps(request),
        choices=lists_of_forms(),
        tiles=settings.map_tiles,
        attribution=settings.map_attribution,
    )


@get("/board/rows", guards=[VIEWERS])
async def rows(request: Call) -> ASGIResponse:
    """All tables, the headline and the alerts again, to be morphed into an open board."""
    epoch = request.query_params.get("at", "")[:POSITION_LIMIT].partition("-")[0]
    shown = await feed_of(request).page(epoch=epoch or None)
    pieces = [partial_of(f"#rows-{name}", "innerMorph", html) for name, html in shown.rows.items()]
    pieces.append(partial_of("#alerts", "outerMorph", shown.alerts))
    pieces.append(partial_of("#headline", "outerMorph", shown.headline))
    pieces += [partial_of(f"#cut-{table}", "outerMorph", html) for table, html in shown.cuts.items()]
    body = "".join(pieces).encode()
    return ASGIResponse(body=body, headers=NO_STORE, media_type=HTML)


@get("/board/beyond", guards=[VIEWERS])
async def beyond(request: Call) -> ASGIResponse:
    """Rows in a zone (`?zone=`), or with some words (`?q=`), that the tables do not show because there are so many:
    in a `tbody` for each table that is cut.
    """
    zone = address_text(request, "zone")
    words = address_text(request, "q").lower().split()
    found = await feed_of(request).beyond(zone, words)
    html = "".join(f'<tbody data-list="{table}">{rows}</tbody>' for table, rows in found.items())
    return ASGIResponse(body=f"<table>{html}</table>".encode(), headers=NO_STORE, media_type=HTML)


def _session_header(request: Call) -> dict[str, str]:
    """Whose stream it is: pages of another session of the same browser must not take it for theirs."""
    session = request.scope["state"].get("session")
    return {"X-Session": sessions_of(request).mark(session)} if session is not None else {}


@get("/board/stream", guards=[VIEWERS])
async def stream(request: Call) -> ASGIResponse:
    """What changes from now on; from `Last-Event-ID` on (or `?after=`, for a first connection), if that is known.

    `?about=` are the ids of the deliveries and drivers whose pages are open, and the topics of screens, with commas:
    only the fact that they changed is sent. The board comes too without any of them, or with `?board=1`. The stream
    ends with the access of its viewer.
    """
    after = request.headers.get("last-event-id") or request.query_params.get("after")
    topics = request.query_params.get("about", "").split(",")[:ABOUT_LIMIT]
    about = {known for one in topics if (known := one if one in TOPICS else canonical(one))}
    board = not about or request.query_params.get("board") == "1"
    feed = feed_of(request)
    viewer = await feed.join(after[:POSITION_LIMIT] if after else None, about, board=board)
    forget_end = sessions_of(request).on_end(request, viewer.close)

    def ended() -> None:
        forget_end()
        feed.leave(viewer)

    return EventStream(feed.broadcast.stream(viewer), _session_header(request), ended)


@get("/admin/orders/{order_id:path}", guards=[VIEWERS])
async def order(request: Call) -> ASGIResponse:
    """Where tickets lead: the newest delivery under the seller's order id, whatever characters that has."""
    order_id = rest_of_path(request, "/admin/orders/")
    if "\x00" in order_id:
        raise not_found()
    newest = existing(await newest_of_order(pool_of(request), order_id))
    return _to_delivery(newest)


@get("/admin/unassigned-orders/{delivery_id:str}", guards=[VIEWERS])
async def unassigned_order(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    """Where notifications lead."""
    known = id_in_path(delivery_id)
    if not await delivery_exists(pool_of(request), known):
        raise not_found()
    return _to_delivery(known)


def _to_delivery(delivery_id: str) -> ASGIResponse:
    return see_other(f"/board/deliveries/{delivery_id}")
