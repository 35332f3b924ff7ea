"""The HTTP API of drivers' devices, the phones on which they are signed in (`sign_in`): listed, and revoked by ops."""

from typing import Final

import structlog
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.views import instant
from server.dispatch.model import Actor
from server.node import Node
from server.store import devices as store
from server.store.reads.drivers import driver_exists
from server.web.access.guards import OPS, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import PATH, TAG
from server.web.api.endpoint import Query, answer, endpoint, id_in_path, no_content
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.http.errors import not_found
from server.web.http.paging import BY_ID

PAGE: Final = Query(s.PageQuery)

log = structlog.get_logger(__name__)


@endpoint(
    "GET",
    PATH + "/devices",
    tag=TAG,
    summary="The phones and browsers on which a driver is or was signed in, newest first.",
    guard=VIEWERS,
    query=PAGE,
    answers={200: list[a.DeviceView]},
)
async def list_devices(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    query = PAGE.of(request)
    known = id_in_path(driver_id)
    found = await store.list_devices(pool_of(request), known, BY_ID.only(query.cursor), query.limit + 1)
    if not found and not await driver_exists(pool_of(request), known):
        raise not_found()
    return answer(BY_ID.page(found, query.limit, lambda d: (d.id,), device_view))


def device_view(device: store.Device) -> a.DeviceView:
    """The view of a device."""
    return a.view(a.DeviceView, device, last_seen_at=instant(device.last_used_at))


@endpoint(
    "DELETE",
    PATH + "/devices/{device_id:str}",
    tag=TAG,
    summary="Sign a driver out on a device. Within a second no token of it is valid, and its socket is closed.",
    guard=OPS,
    answers={204: None},
)
async def end_device(request: Call, driver_id: FromPath[str], device_id: FromPath[str]) -> ASGIResponse:
    await revoke_device(request, id_in_path(driver_id), id_in_path(device_id))
    return no_content()


async def revoke_device(request: Call, driver_id: str, device_id: str) -> None:
    """End a driver's device, on this node at once and on others within a second. Raises 404 or DatabaseAway."""
    await end(node_of(request), driver_id, device_id, request.user.actor, "revoked")


async def end(node: Node, driver_id: str, device_id: str, by: Actor, reason: store.EndReason) -> None:
    """End a driver's device and close its socket. Raises 404 or DatabaseAway."""
    ended = await store.end(node.database.pool, driver_id, device_id, by, reason)
    if ended is None:
        raise not_found()
    node.revocations.device_ended(device_id)
    if ended:
        log.info("device_ended", driverId=driver_id, deviceId=device_id, reason=reason, actor=by.type, actorId=by.id)
