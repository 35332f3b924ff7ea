"""The HTTP API for drivers' apps without a socket. Each call also makes the driver present."""

from typing import TYPE_CHECKING, Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.commit import Answer
from server.contract.messages import Hello
from server.contract.views import assignment_view, instant
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.ids import new_id
from server.sockets.hello import hello
from server.store.reads.drivers import AvailabilityChange, read_driver, read_history
from server.web.access.guards import THE_DRIVER_AND_ADMIN, THE_DRIVER_AND_OPS, THE_DRIVER_AND_WATCHERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.deliveries import utc
from server.web.api.drivers import PATH, TAG, driver_of
from server.web.api.endpoint import Body, Call, Query, answer, endpoint, id_in_path, no_content
from server.web.http.errors import not_found, unless_refused
from server.web.http.paging import BY_INSTANT

if TYPE_CHECKING:
    from server.node import Node


LOCATION: Final = Body(s.Location)
NOTHING: Final = Body(s.EmptyBody, optional=True)
ACCEPTANCE: Final = Body(s.Acceptance, optional=True)
REJECTION: Final = Body(s.Rejection, optional=True)
ACTION: Final = Body(s.Action, optional=True)
COMPLETION: Final = Body(s.Completion, optional=True)
ARRIVAL: Final = Body(s.Arrival)
RELEASE: Final = Body(s.Release)
FAILURE: Final = Body(s.Failure)
BREAK: Final = Body(s.BreakRequest)
PAGE: Final = Query(s.PageAsked)


@endpoint(
    "POST",
    PATH + "/location",
    tag=TAG,
    summary="Report the driver's position. Searches use it within a second.",
    guard=THE_DRIVER_AND_ADMIN,
    body=LOCATION,
    answers={204: None},
)
async def move(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    here = await LOCATION.of(request)
    known = await driver_of(request, driver_id)
    node: Node = request.app.state.node
    if request.user.role != "driver":
        driver = await read_driver(node.database.pool, known)
        if driver is None:
            raise not_found()
        node.learn_zone(driver.id, driver.zone)
    node.positions.moved(
        known,
        here.lat,
        here.lon,
        at=utc(here.at, "at") if here.at is not None else None,
        heading=here.heading,
        speed_kmh=here.speed_kmh,
        accuracy_m=here.accuracy_m,
    )
    return no_content()


@endpoint(
    "GET",
    PATH + "/state",
    tag=TAG,
    summary="Get everything that the driver's app needs to be up to date; the same as `hello` on the socket.",
    guard=THE_DRIVER_AND_WATCHERS,
    answers={200: Hello},
)
async def get_state(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    node: Node = request.app.state.node
    snapshot = unless_refused(await node.snapshots.read(known))
    return answer(hello(snapshot.driver.session_id or "", snapshot))


@endpoint(
    "POST",
    PATH + "/offers/{offer_id:str}/received",
    tag=TAG,
    summary="Confirm that the app has displayed the offer.",
    guard=THE_DRIVER_AND_ADMIN,
    body=NOTHING,
    answers={204: None},
)
async def confirm_receipt(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    await _submit(request, c.ConfirmReceipt(id_in_path(offer_id), known, request.user.actor))
    return no_content()


@endpoint(
    "POST",
    PATH + "/offers/{offer_id:str}/accept",
    tag=TAG,
    summary="Accept an offer. Repeating the request is safe.",
    guard=THE_DRIVER_AND_ADMIN,
    body=ACCEPTANCE,
    answers={200: a.AssignmentDone},
    refusals=(r.OFFER_NO_LONGER_OPEN.code, r.DRIVER_NOT_AVAILABLE.code),
)
async def accept_offer(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    await ACCEPTANCE.of(request)
    known = await driver_of(request, driver_id)
    command = c.AcceptOffer(id_in_path(offer_id), known, new_id(), request.user.actor)
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/offers/{offer_id:str}/reject",
    tag=TAG,
    summary="Reject an offer. The next driver gets an offer at once.",
    guard=THE_DRIVER_AND_ADMIN,
    body=REJECTION,
    answers={200: a.Done},
    refusals=(r.OFFER_NO_LONGER_OPEN.code,),
)
async def reject_offer(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    why = await REJECTION.of(request)
    known = await driver_of(request, driver_id)
    await _submit(request, c.RejectOffer(id_in_path(offer_id), known, request.user.actor, why.reason, why.note))
    return answer(a.Done())


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/pickup",
    tag=TAG,
    summary="Report the pickup.",
    guard=THE_DRIVER_AND_ADMIN,
    body=ACTION,
    answers={200: a.AssignmentDone},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code,),
)
async def pick_up(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await ACTION.of(request)
    known = await driver_of(request, driver_id)
    command = c.PickUp(id_in_path(assignment_id), known, request.user.actor, action(said))
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/complete",
    tag=TAG,
    summary="Report the handover. A pickup that was not reported before is recorded too.",
    guard=THE_DRIVER_AND_ADMIN,
    body=COMPLETION,
    answers={200: a.AssignmentDone},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code, "proof_required", r.PIN_WRONG.code, r.PIN_LOCKED.code),
)
async def complete(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await COMPLETION.of(request)
    known = await driver_of(request, driver_id)
    proof = said.proof or s.HandoverProof()
    command = c.Complete(
        id_in_path(assignment_id), known, request.user.actor, action(said), proof.pin, proof.name, proof.note
    )
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/arrived",
    tag=TAG,
    summary="Report the arrival at the store or at the customer.",
    guard=THE_DRIVER_AND_ADMIN,
    body=ARRIVAL,
    answers={200: a.AssignmentDone},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code,),
)
async def arrive(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await ARRIVAL.of(request)
    known = await driver_of(request, driver_id)
    command = c.Arrive(id_in_path(assignment_id), known, said.where, request.user.actor, action(said))
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/release",
    tag=TAG,
    summary="Give a delivery back before pickup. A new search starts, without this driver.",
    guard=THE_DRIVER_AND_ADMIN,
    body=RELEASE,
    answers={200: a.AssignmentDone},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code, r.ALREADY_PICKED_UP.code),
)
async def release(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await RELEASE.of(request)
    known = await driver_of(request, driver_id)
    command = c.Release(id_in_path(assignment_id), known, said.reason, request.user.actor, said.note, action(said))
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/failed",
    tag=TAG,
    summary="Report a failed handover: the driver brings the goods back, or the assignment ends here.",
    guard=THE_DRIVER_AND_ADMIN,
    body=FAILURE,
    answers={200: a.AssignmentDone},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code, r.NOT_PICKED_UP.code),
)
async def fail(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await FAILURE.of(request)
    known = await driver_of(request, driver_id)
    job = id_in_path(assignment_id)
    command = c.Fail(job, known, said.reason, request.user.actor, said.note, said.then, action(said))
    return _with_assignment(await _submit(request, command))


def action(said: s.Action) -> c.Action:
    """The details of an action, for the rules."""
    at = utc(said.at, "at") if said.at is not None else None
    sent_at = utc(said.sent_at, "sentAt") if said.sent_at is not None else None
    both = said.lat is not None and said.lon is not None
    action_id = said.action_id.lower() if said.action_id is not None else None
    return c.Action(action_id, at, sent_at, said.lat if both else None, said.lon if both else None)


@endpoint(
    "POST",
    PATH + "/availability/take-break",
    tag=TAG,
    summary="Start a break, or change the end of the current one; the minutes count from now.",
    guard=THE_DRIVER_AND_OPS,
    body=BREAK,
    answers={200: a.BreakView},
    refusals=(r.DRIVER_NOT_AVAILABLE.code, r.DRIVER_DEACTIVATED.code),
)
async def take_break(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    wanted = await BREAK.of(request)
    known = await driver_of(request, driver_id)
    command = c.TakeBreak(known, wanted.duration_minutes, request.user.actor, wanted.reason)
    driver = (await _submit(request, command)).driver
    assert driver is not None
    assert driver.availability_until is not None
    return answer(a.BreakView(instant(driver.availability_until)))


@endpoint(
    "POST",
    PATH + "/availability/end-shift",
    tag=TAG,
    summary="End the shift: no offers until the driver resumes.",
    guard=THE_DRIVER_AND_OPS,
    body=NOTHING,
    answers={200: a.StatusView},
    refusals=(r.DRIVER_DEACTIVATED.code,),
)
async def end_shift(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.EndShift(known, request.user.actor)))


@endpoint(
    "POST",
    PATH + "/availability/pause",
    tag=TAG,
    summary="Pause: no offers until the driver resumes.",
    guard=THE_DRIVER_AND_OPS,
    body=NOTHING,
    answers={200: a.StatusView},
    refusals=(r.DRIVER_NOT_AVAILABLE.code, r.DRIVER_DEACTIVATED.code),
)
async def pause(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.Pause(known, request.user.actor)))


@endpoint(
    "POST",
    PATH + "/availability/resume",
    tag=TAG,
    summary="Make the driver available for offers, from any state.",
    guard=THE_DRIVER_AND_OPS,
    body=NOTHING,
    answers={200: a.StatusView},
    refusals=(r.DRIVER_DEACTIVATED.code,),
)
async def resume(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.Resume(known, request.user.actor)))


@endpoint(
    "GET",
    PATH + "/availability/history",
    tag=TAG,
    summary="List the changes of the driver's availability, newest first.",
    guard=THE_DRIVER_AND_WATCHERS,
    query=PAGE,
    answers={200: list[a.HistoryItem]},
)
async def get_history(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    asked = PAGE.of(request)
    known = await driver_of(request, driver_id)
    node: Node = request.app.state.node
    before = BY_INSTANT.key(asked.cursor)
    found = await read_history(node.database.pool, known, before, asked.limit + 1)
    if found is None:
        raise not_found()
    return answer(BY_INSTANT.page(found, asked.limit, lambda h: (h.timestamp, h.id), history_item))


def history_item(change: AvailabilityChange) -> a.HistoryItem:
    """The view of a change of availability."""
    return a.HistoryItem(
        change.from_state,
        change.to_state,
        change.reason,
        change.actor_type,
        change.actor_id,
        instant(change.timestamp),
    )


async def _submit(request: Call, command: c.Command) -> Answer:
    node: Node = request.app.state.node
    return unless_refused(await node.executor.submit(command))


def _with_assignment(done: Answer) -> ASGIResponse:
    assert done.assignment is not None
    return answer(a.AssignmentDone(assignment_view(done.assignment)))


def _with_status(done: Answer) -> ASGIResponse:
    assert done.driver is not None
    return answer(a.StatusView(done.driver.availability))


HANDLERS: Final[list[HTTPRouteHandler]] = [
    move,
    get_state,
    confirm_receipt,
    accept_offer,
    reject_offer,
    pick_up,
    complete,
    arrive,
    release,
    fail,
    take_break,
    end_shift,
    pause,
    resume,
    get_history,
]
