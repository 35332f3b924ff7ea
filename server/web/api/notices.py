"""The HTTP API of notices: their recipients, status and acknowledgement."""

from datetime import datetime, timedelta
from typing import Annotated, Final

from msgspec import UNSET, Meta

from server.contract.views import instant
from server.store.queues.ops_notices import acknowledge_notice as acknowledge
from server.store.reads import notices as record
from server.web.access.guards import OPS, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import PathId, endpoint, given
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import existing, not_found
from server.web.http.paging import Page, Pager, cursor_of

_Id = Annotated[str, Meta(pattern=s.UUID_PATTERN, max_length=36)]
_Key = tuple[Annotated[datetime, Meta(tz=True)], _Id] | None
BY_SOURCE: Final = Pager[record.NoticePosition](tuple[_Key, _Key, _Key, _Key, _Key])


@endpoint(
    "GET /admin/notices", "List the notices to ops, customers and drivers with their status, newest first.", VIEWERS
)
async def list_notices(request: Call, query: s.NoticesQuery) -> Page[a.NoticeView]:
    node = node_of(request)
    wanted = record.NoticeFilter(
        given(query.to),
        given(query.kind),
        given(query.status),
        await zone_of_query(node, query.zone),
        None if query.delivery_id is UNSET else query.delivery_id.lower(),
        None if query.hours is UNSET else node.clock.now() - timedelta(hours=query.hours),
    )
    after = BY_SOURCE.key(query.cursor) or record.START
    page = await record.read_notices(node.database.pool, wanted, after, query.limit)
    items = [notice_view(notice) for notice in page.notices]
    return Page(items, cursor_of(page.next) if page.next is not None else None)


def notice_view(notice: record.Notice) -> a.NoticeView:
    return a.view(
        a.NoticeView,
        notice,
        text=notice.words,
        status=notice.outcome,
        created_at=instant(notice.at),
        last_error=notice.error,
        acknowledged_by=notice.by,
    )


@endpoint(
    "POST /admin/notices/{notice_id}/acknowledge", "Acknowledge a notice to ops. The first acknowledgement counts.", OPS
)
async def acknowledge_notice(request: Call, notice_id: PathId) -> a.NoticeView:
    return notice_view(await seen(request, notice_id))


async def seen(request: Call, notice_id: str) -> record.Notice:
    """Acknowledge a notice for the caller, and return it. Raises 404 or DatabaseAway."""
    pool = pool_of(request)
    if not await acknowledge(pool, notice_id, request.user.subject):
        raise not_found()
    return existing(await record.read_notice(pool, notice_id))
