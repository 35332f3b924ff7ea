"""The HTTP API of what ops do themselves: assign, reassign, report for a driver, set availability, acknowledge."""

from litestar.response.base import ASGIResponse

from server.contract.commit import Answer
from server.contract.views import DriverView, assignment_view, delivery_view, driver_view, offer_view
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.ids import new_id
from server.store.reads.unassigned import wait_of
from server.web.access.guards import OPS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.driver_calls import with_assignment
from server.web.api.endpoint import MayBeMissing, PathId, answer, endpoint
from server.web.api.operations import unassigned_view
from server.web.http.caller import Call
from server.web.http.current_node import node_of, submit


@endpoint(
    "POST /admin/assignments/{assignment_id}/reassign",
    "Take a delivery from its driver, for a new search or for a driver that you choose.",
    OPS,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.VERSION_CHANGED,
    r.ALREADY_PICKED_UP,
    r.DRIVER_NOT_AVAILABLE,
)
async def reassign(request: Call, assignment_id: PathId, wanted: s.Reassignment) -> a.AssignmentResult:
    command = c.Reassign(
        assignment_id=assignment_id,
        reason=wanted.reason,
        new_offer_id=new_id(),
        new_assignment_id=new_id(),
        actor=request.user.actor,
        driver_id=wanted.driver_id.lower() if wanted.driver_id is not None else None,
        direct=wanted.mode == "assign",
        force=wanted.force,
        version=wanted.version,
        pause_driver=wanted.pause_driver,
    )
    return _result(request, await submit(request, command))


@endpoint(
    "POST /admin/deliveries/{delivery_id}/assign",
    "Give a waiting delivery to a driver that you choose.",
    OPS,
    r.DELIVERY_NOT_WAITING,
    r.DRIVER_NOT_AVAILABLE,
    r.VERSION_CHANGED,
    r.OFFER_OPEN,
    answers={201: a.AssignmentResult, 200: a.AssignmentResult},
)
async def assign(request: Call, delivery_id: PathId, wanted: s.ManualAssignment) -> ASGIResponse:
    command = c.AssignDelivery(
        delivery_id=delivery_id,
        driver_id=wanted.driver_id.lower(),
        reason=wanted.reason,
        direct=wanted.mode == "assign",
        new_offer_id=new_id(),
        new_assignment_id=new_id(),
        actor=request.user.actor,
        version=wanted.version,
        replace_offer=wanted.replace_offer,
    )
    done = await submit(request, command)
    return answer(_result(request, done), 200 if done.decided.repeated else 201)


@endpoint(
    "POST /admin/assignments/{assignment_id}/pickup", "Report a pickup for the driver.", OPS, r.ASSIGNMENT_NOT_ACTIVE
)
async def pick_up_for(request: Call, assignment_id: PathId, said: s.ReportForDriver) -> a.AssignmentDone:
    command = c.PickUp(assignment_id, None, request.user.actor, c.Action(reason=said.reason))
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /admin/assignments/{assignment_id}/complete",
    "Report a handover, or a return to the store, for the driver.",
    OPS,
    r.ASSIGNMENT_NOT_ACTIVE,
)
async def complete_for(request: Call, assignment_id: PathId, said: s.ReportForDriver) -> a.AssignmentDone:
    command = c.Complete(assignment_id, None, request.user.actor, c.Action(reason=said.reason))
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /admin/assignments/{assignment_id}/release",
    "Release a delivery for its driver, before pickup.",
    OPS,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ALREADY_PICKED_UP,
)
async def release_for(request: Call, assignment_id: PathId, said: s.ReleaseForDriver) -> a.AssignmentDone:
    command = c.Release(assignment_id, None, said.reason, request.user.actor, said.note)
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /admin/assignments/{assignment_id}/failed",
    "Report a failed handover for the driver.",
    OPS,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.NOT_PICKED_UP,
    r.ALREADY_RETURNING,
)
async def fail_for(request: Call, assignment_id: PathId, said: s.FailureForDriver) -> a.AssignmentDone:
    command = c.Fail(assignment_id, None, said.reason, request.user.actor, said.note, said.then)
    return with_assignment(await submit(request, command))


def _result(request: Call, done: Answer) -> a.AssignmentResult:
    assert done.delivery is not None
    return a.AssignmentResult(
        delivery_view(
            done.delivery,
            node_of(request).policies.current,
            with_pin=True,
            tracking_url=node_of(request).tracking_links.url(done.delivery.id),
        ),
        offer_view(done.offer, done.at) if done.offer is not None else None,
        assignment_view(done.assignment) if done.assignment is not None else None,
    )


@endpoint(
    "POST /admin/drivers/{driver_id}/availability",
    "Set a driver's availability; a break ends after `durationMinutes`.",
    OPS,
    r.DRIVER_DEACTIVATED,
)
async def set_availability(request: Call, driver_id: PathId, wanted: s.AvailabilityRequest) -> DriverView:
    command = c.SetAvailability(
        driver_id=driver_id,
        availability=wanted.availability,
        reason=wanted.reason,
        actor=request.user.actor,
        duration_minutes=wanted.duration_minutes,
    )
    done = await submit(request, command)
    assert done.driver is not None
    return driver_view(done.driver)


@endpoint(
    "POST /admin/unassigned-orders/{delivery_id}/acknowledge",
    "Acknowledge a waiting delivery, so that colleagues know that you take care of it.",
    OPS,
    r.DELIVERY_NOT_WAITING,
    r.VERSION_CHANGED,
)
async def acknowledge(request: Call, delivery_id: PathId, wanted: MayBeMissing[s.Acknowledgement]) -> a.UnassignedView:
    command = c.Acknowledge(delivery_id, request.user.actor, wanted.note, wanted.version)
    done = await submit(request, command)
    assert done.delivery is not None
    return unassigned_view(wait_of(done.delivery), node_of(request).policies.current)
