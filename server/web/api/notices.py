"""The HTTP API of notices: their recipients, status and acknowledgement."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Meta

from server.contract.views import instant, instant_or_none
from server.store.queues.ops_notices import acknowledge_notice as acknowledge
from server.store.reads import notices as record
from server.web.access.guards import OPS, WATCHERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import Call, Query, answer, endpoint, id_in_path
from server.web.api.operations import TAG
from server.web.api.zones import zone_asked
from server.web.http.errors import not_found
from server.web.http.paging import Pager, cursor_of

if TYPE_CHECKING:
    from server.node import Node

ASKED: Final = Query(s.NoticesAsked)

_Id = Annotated[str, Meta(pattern=s.UUID_PATTERN, max_length=36)]
_Key = tuple[Annotated[datetime, Meta(tz=True)], _Id] | None
BY_SOURCE: Final = Pager[record.Position](tuple[_Key, _Key, _Key, _Key, _Key])


@endpoint(
    "GET",
    "/admin/notices",
    tag=TAG,
    summary="List the notices to ops, customers and drivers with their status, newest first.",
    guard=WATCHERS,
    query=ASKED,
    answers={200: list[a.NoticeView]},
)
async def list_notices(request: Call) -> ASGIResponse:
    asked = ASKED.of(request)
    node: Node = request.app.state.node
    wanted = record.Asked(
        None if asked.to is UNSET else asked.to,
        None if asked.kind is UNSET else asked.kind,
        None if asked.status is UNSET else asked.status,
        zone_asked(node, asked.zone),
        None if asked.delivery_id is UNSET else asked.delivery_id.lower(),
        None if asked.hours is UNSET else node.clock.now() - timedelta(hours=asked.hours),
    )
    after = BY_SOURCE.key(asked.cursor) or record.START
    page = await record.read_notices(node.database.pool, wanted, after, asked.limit)
    items = [notice_view(notice) for notice in page.notices]
    return answer({"items": items, "nextCursor": cursor_of(page.next) if page.next is not None else None})


def notice_view(notice: record.Notice) -> a.NoticeView:
    """The view of a notice."""
    return a.NoticeView(
        notice.id,
        notice.to,
        notice.kind,
        notice.severity,
        notice.zone,
        notice.delivery_id,
        notice.driver_id,
        notice.alert_id,
        notice.webhook_id,
        notice.words,
        notice.link,
        notice.outcome,
        notice.channel,
        instant(notice.at),
        instant_or_none(notice.sent_at),
        instant_or_none(notice.received_at),
        instant_or_none(notice.failed_at),
        notice.attempts,
        notice.error,
        notice.by,
    )


@endpoint(
    "POST",
    "/admin/notices/{notice_id:str}/acknowledge",
    tag=TAG,
    summary="Acknowledge a notice to ops. The first acknowledgement counts.",
    guard=OPS,
    answers={200: a.NoticeView},
)
async def acknowledge_notice(request: Call, notice_id: FromPath[str]) -> ASGIResponse:
    return answer(notice_view(await seen(request, id_in_path(notice_id))))


async def seen(request: Call, notice_id: str) -> record.Notice:
    """Acknowledge a notice for the caller, and return it. Raises 404 or DatabaseAway."""
    pool = request.app.state.node.database.pool
    if not await acknowledge(pool, notice_id, request.user.subject):
        raise not_found()
    notice = await record.read_notice(pool, notice_id)
    if notice is None:
        raise not_found()
    return notice


HANDLERS: Final[list[HTTPRouteHandler]] = [list_notices, acknowledge_notice]
