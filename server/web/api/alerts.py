"""The HTTP API of alerts: their causes and acknowledgement."""

from msgspec import structs

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.events import AlertAcknowledged
from server.dispatch.model import Alert
from server.dispatch.refusals import Refusal
from server.store.query import unless_away
from server.store.reads.alerts import read_alert
from server.store.reads.zone_numbers import read_behind
from server.web.access.guards import OPS, VIEWERS
from server.web.api import answers as a
from server.web.api.endpoint import PathId, endpoint
from server.web.api.operations import alert_numbers, alert_view
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import existing, refused


@endpoint(
    "POST /admin/alerts/{alert_id}/acknowledge",
    "Acknowledge an alert. The first acknowledgement counts.",
    OPS,
    r.ALERT_OVER,
)
async def acknowledge_alert(request: Call, alert_id: PathId) -> a.AlertView:
    node = node_of(request)
    done = await node.executor.submit(c.AcknowledgeAlert(alert_id, request.user.actor))
    if not isinstance(done, Refusal) and (row := just_acknowledged(done)) is not None:
        return alert_view(row, await unless_away(alert_numbers(node, [row])) or {})
    known_row = existing(await read_alert(node.database.pool, alert_id))
    if isinstance(done, Refusal):
        raise refused(done)
    return alert_view(known_row, await alert_numbers(node, [known_row]))


def just_acknowledged(done: Answer) -> Alert | None:
    """The alert as it is now; None if somebody had acknowledged it before."""
    for event in done.decided.events:
        assert isinstance(event, AlertAcknowledged)
        return event.alert
    return None


@endpoint("GET /admin/alerts/{alert_id}", "Get an alert with the deliveries and drivers that caused it.", VIEWERS)
async def get_alert(request: Call, alert_id: PathId) -> a.AlertWithReasons:
    node = node_of(request)
    row = existing(await read_alert(node.database.pool, alert_id))
    window = node.policies.current.alerts.window_minutes
    deliveries, drivers = await read_behind(node.database.pool, row, node.clock.now(), window)
    return a.AlertWithReasons(
        **structs.asdict(alert_view(row, await alert_numbers(node, [row]))),
        deliveries=[a.view(a.AlertDeliveryView, one, delivery_id=one.id) for one in deliveries],
        drivers=[a.view(a.AlertDriverView, one, driver_id=one.id) for one in drivers],
    )
