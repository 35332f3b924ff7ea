"""The HTTP API of what ops do themselves: assign, reassign, report for a driver, set availability, acknowledge."""

from collections.abc import Callable
from typing import Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
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
from server.web.api.endpoint import Body, Handler, answer, endpoint, id_in_path
from server.web.api.operations import TAG, unassigned_view
from server.web.http.caller import Call
from server.web.http.calls import node_of, submit

REASSIGNMENT: Final = Body(s.Reassignment)
ASSIGNMENT: Final = Body(s.ManualAssignment)
DONE: Final = Body(s.ReportForDriver)
RELEASE: Final = Body(s.ReleaseForDriver)
FAILURE: Final = Body(s.FailureForDriver)
AVAILABILITY: Final = Body(s.AvailabilityRequest)
ACKNOWLEDGEMENT: Final = Body(s.Acknowledgement, optional=True)


@endpoint(
    "POST",
    "/admin/assignments/{assignment_id:str}/reassign",
    tag=TAG,
    summary="Take a delivery from its driver, for a new search or for a driver that you choose.",
    guard=OPS,
    body=REASSIGNMENT,
    answers={200: a.AssignmentResult},
    refusals=(
        r.ASSIGNMENT_NOT_ACTIVE,
        r.VERSION_CHANGED,
        r.ALREADY_PICKED_UP,
        r.DRIVER_NOT_AVAILABLE,
    ),
)
async def reassign(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    wanted = await REASSIGNMENT.of(request)
    command = c.Reassign(
        assignment_id=id_in_path(assignment_id),
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
    return answer(_result(request, await submit(request, command)))


@endpoint(
    "POST",
    "/admin/deliveries/{delivery_id:str}/assign",
    tag=TAG,
    summary="Give a waiting delivery to a driver that you choose.",
    guard=OPS,
    body=ASSIGNMENT,
    answers={201: a.AssignmentResult, 200: a.AssignmentResult},
    refusals=(
        r.DELIVERY_NOT_WAITING,
        r.DRIVER_NOT_AVAILABLE,
        r.VERSION_CHANGED,
        r.OFFER_OPEN,
    ),
)
async def assign(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    wanted = await ASSIGNMENT.of(request)
    command = c.AssignDelivery(
        delivery_id=id_in_path(delivery_id),
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


def _for_driver(
    what: str, summary: str, body: Body[object], *refusals: r.Refusal
) -> Callable[[Handler], HTTPRouteHandler]:
    return endpoint(
        "POST",
        "/admin/assignments/{assignment_id:str}/" + what,
        tag=TAG,
        summary=summary,
        guard=OPS,
        body=body,
        answers={200: a.AssignmentDone},
        refusals=(r.ASSIGNMENT_NOT_ACTIVE, *refusals),
    )


@_for_driver("pickup", "Report a pickup for the driver.", DONE)
async def pick_up_for(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    said = await DONE.of(request)
    command = c.PickUp(id_in_path(assignment_id), None, request.user.actor, c.Action(reason=said.reason))
    return with_assignment(await submit(request, command))


@_for_driver("complete", "Report a handover, or a return to the store, for the driver.", DONE)
async def complete_for(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    said = await DONE.of(request)
    command = c.Complete(id_in_path(assignment_id), None, request.user.actor, c.Action(reason=said.reason))
    return with_assignment(await submit(request, command))


@_for_driver("release", "Release a delivery for its driver, before pickup.", RELEASE, r.ALREADY_PICKED_UP)
async def release_for(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    said = await RELEASE.of(request)
    command = c.Release(id_in_path(assignment_id), None, said.reason, request.user.actor, said.note)
    return with_assignment(await submit(request, command))


@_for_driver("failed", "Report a failed handover for the driver.", FAILURE, r.NOT_PICKED_UP)
async def fail_for(request: Call, assignment_id: FromPath[str]) -> ASGIResponse:
    said = await FAILURE.of(request)
    command = c.Fail(id_in_path(assignment_id), None, said.reason, request.user.actor, said.note, said.then)
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
    "POST",
    "/admin/drivers/{driver_id:str}/availability",
    tag=TAG,
    summary="Set a driver's availability; a break ends after `durationMinutes`.",
    guard=OPS,
    body=AVAILABILITY,
    answers={200: DriverView},
    refusals=(r.DRIVER_DEACTIVATED,),
)
async def set_availability(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    wanted = await AVAILABILITY.of(request)
    command = c.SetAvailability(
        driver_id=id_in_path(driver_id),
        availability=wanted.availability,
        reason=wanted.reason,
        actor=request.user.actor,
        duration_minutes=wanted.duration_minutes,
    )
    done = await submit(request, command)
    assert done.driver is not None
    return answer(driver_view(done.driver))


@endpoint(
    "POST",
    "/admin/unassigned-orders/{delivery_id:str}/acknowledge",
    tag=TAG,
    summary="Acknowledge a waiting delivery, so that colleagues know that you take care of it.",
    guard=OPS,
    body=ACKNOWLEDGEMENT,
    answers={200: a.UnassignedView},
    refusals=(r.DELIVERY_NOT_WAITING, r.VERSION_CHANGED),
)
async def acknowledge(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    wanted = await ACKNOWLEDGEMENT.of(request)
    command = c.Acknowledge(id_in_path(delivery_id), request.user.actor, wanted.note, wanted.version)
    done = await submit(request, command)
    assert done.delivery is not None
    return answer(unassigned_view(wait_of(done.delivery), node_of(request).policies.current))
