"""The HTTP API of drivers' devices, the phones on which they are signed in (`sign_in`): listed, and revoked by ops."""

import structlog

from server.contract.views import instant
from server.dispatch.model import Actor
from server.node import Node
from server.store import devices as store
from server.store.reads.drivers import driver_exists
from server.web.access.guards import OPS, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import existing, not_found
from server.web.http.paging import BY_ID, Page

log = structlog.get_logger(__name__)


@endpoint(
    "GET /drivers/{driver_id}/devices",
    "List the phones and browsers on which a driver is or was signed in, newest first.",
    VIEWERS,
)
async def list_devices(request: Call, driver_id: PathId, query: s.PageQuery) -> Page[a.DeviceView]:
    found = await store.list_devices(pool_of(request), driver_id, BY_ID.only(query.cursor), query.limit + 1)
    if not found and not await driver_exists(pool_of(request), driver_id):
        raise not_found()
    return BY_ID.page(
        found,
        query.limit,
        lambda device: (device.id,),
        lambda device: a.view(a.DeviceView, device, last_seen_at=instant(device.last_used_at)),
    )


@endpoint(
    "DELETE /drivers/{driver_id}/devices/{device_id}",
    "Sign a driver out on a device. Within a second no token of it is valid, and its socket is closed.",
    OPS,
)
async def end_device(request: Call, driver_id: PathId, device_id: PathId) -> None:
    await revoke_device(request, driver_id, device_id)


async def revoke_device(request: Call, driver_id: str, device_id: str) -> None:
    """End a driver's device, on this node at once and on others within a second. Raises 404 or DatabaseAway."""
    await end(node_of(request), driver_id, device_id, request.user.actor, "revoked")


async def end(node: Node, driver_id: str, device_id: str, by: Actor, reason: store.EndReason) -> None:
    """End a driver's device and close its socket. Raises 404 or DatabaseAway."""
    ended = existing(await store.end(node.database.pool, driver_id, device_id, by, reason))
    node.revocations.device_ended(device_id)
    if ended:
        log.info("device_ended", driverId=driver_id, deviceId=device_id, reason=reason, actor=by.type, actorId=by.id)
