"""The HTTP API of alerts and notices: seen by whom, and what became of telling people."""

from typing import TYPE_CHECKING, Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET, structs

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.refusals import Refusal
from server.store import notices_sent as store
from server.store.reads_admin import read_alert
from server.store.watch import read_behind
from server.web import answers as a
from server.web import schemas as s
from server.web.auth import Guard
from server.web.endpoint import Call, Query, answer, endpoint, id_in_path
from server.web.errors import not_found, refused
from server.web.pages import BY_ID
from server.web.watching import TAG, WATCHERS, alert_view
from server.wire import instant, instant_or_none

if TYPE_CHECKING:
    from server.node import Node

OPS: Final = Guard("ops", "admin")
ZONE_PAGE: Final = Query(s.ZonePageAsked)


@endpoint(
    "POST",
    "/admin/alerts/{alert_id:str}/acknowledge",
    tag=TAG,
    summary="Say that you look after an alert. The first who says so keeps it.",
    guard=OPS,
    answers={200: a.AlertView},
    refusals=(r.ALERT_OVER.code,),
)
async def acknowledge_alert(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    known = id_in_path(alert_id)
    node: Node = request.app.state.node
    done = await node.executor.submit(c.AcknowledgeAlert(known, request.user.actor))
    row = await read_alert(node.database.pool, known)
    if row is None:
        raise not_found()
    if isinstance(done, Refusal):
        raise refused(done)
    return answer(alert_view(row))


@endpoint(
    "GET",
    "/admin/alerts/{alert_id:str}",
    tag=TAG,
    summary="An alert, and the deliveries and drivers behind it.",
    guard=WATCHERS,
    answers={200: a.AlertWithReasons},
)
async def get_alert(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    node: Node = request.app.state.node
    row = await read_alert(node.database.pool, id_in_path(alert_id))
    if row is None:
        raise not_found()
    window = node.policies.current.alerts.window_minutes
    deliveries, drivers = await read_behind(node.database.pool, row, node.clock.now(), window)
    return answer(
        a.AlertWithReasons(
            **structs.asdict(alert_view(row)),
            deliveries=[
                a.DeliveryBehindView(d.id, d.seller_order_id, d.store_name, d.status, d.rejections) for d in deliveries
            ],
            drivers=[a.DriverBehindView(d.id, d.name, d.rejections, d.reason) for d in drivers],
        )
    )


@endpoint(
    "GET",
    "/admin/notices",
    tag=TAG,
    summary="What ops were told, the newest first, and what became of it.",
    guard=WATCHERS,
    query=ZONE_PAGE,
    answers={200: list[a.NoticeView]},
)
async def list_notices(request: Call) -> ASGIResponse:
    asked = ZONE_PAGE.of(request)
    node: Node = request.app.state.node
    before = BY_ID.key(asked.cursor)
    found = await store.read_notices(
        node.database.pool,
        None if asked.zone is UNSET else asked.zone,
        before[0] if before is not None else None,
        asked.limit + 1,
    )
    return answer(BY_ID.page(found, asked.limit, lambda row: (row.id,), notice_view))


def notice_view(row: store.NoticeSent) -> a.NoticeView:
    """The view of a notice."""
    return a.NoticeView(
        row.id,
        row.kind,
        row.severity,
        row.zone,
        row.delivery_id,
        row.alert_id,
        row.text,
        row.link,
        row.status,
        row.channel,
        instant(row.created_at),
        instant_or_none(row.sent_at),
        instant_or_none(row.failed_at),
        row.last_error,
        row.acknowledged_by,
        instant_or_none(row.acknowledged_at),
    )


@endpoint(
    "POST",
    "/admin/notices/{notice_id:str}/acknowledge",
    tag=TAG,
    summary="Say that you have seen a notice. The first who says so keeps it.",
    guard=OPS,
    answers={200: a.NoticeView},
)
async def acknowledge_notice(request: Call, notice_id: FromPath[str]) -> ASGIResponse:
    node: Node = request.app.state.node
    row = await store.acknowledge_notice(node.database.pool, id_in_path(notice_id), request.user.subject)
    if row is None:
        raise not_found()
    return answer(notice_view(row))


HANDLERS: Final[list[HTTPRouteHandler]] = [get_alert, acknowledge_alert, list_notices, acknowledge_notice]
