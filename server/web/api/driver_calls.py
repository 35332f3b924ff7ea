"""The HTTP API for drivers' apps without a socket. Each call also makes the driver present."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.commit import Answer
from server.contract.messages import Hello
from server.contract.views import assignment_view, instant
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.phone_clocks import phone_time
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.settings import time_zone_of
from server.sockets.hello import hello
from server.store.reads.driver_numbers import ON_SHIFT, DriverNumbers, read_driver_numbers, seconds_in
from server.store.reads.drivers import AvailabilityChange, read_driver, read_history
from server.web.access.guards import THE_DRIVER_AND_ADMIN, THE_DRIVER_AND_OPS, THE_DRIVER_AND_VIEWERS, Guard
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import PATH, TAG, driver_of
from server.web.api.endpoint import Body, Handler, Query, answer, endpoint, id_in_path, no_content
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of, submit
from server.web.http.errors import not_found, unless_refused
from server.web.http.paging import BY_INSTANT

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
PAGE: Final = Query(s.PageQuery)


def _call(
    what: str,
    summary: str,
    body: Body[object],
    answers: object,
    *refusals: Refusal | str,
    guard: Guard = THE_DRIVER_AND_ADMIN,
) -> Callable[[Handler], HTTPRouteHandler]:
    """A handler for calls of a driver's app, or of an admin for it. Without a response body the status is 204."""
    return endpoint(
        "POST",
        PATH + what,
        tag=TAG,
        summary=summary,
        guard=guard,
        body=body,
        answers={204 if answers is None else 200: answers},
        refusals=refusals,
    )


@_call("/location", "Report the driver's position. Searches use it within a second.", LOCATION, None)
async def move(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    here = await LOCATION.of(request)
    known = await driver_of(request, driver_id)
    node = node_of(request)
    if request.user.role != "driver" and await read_driver(node.database.pool, known) is None:
        raise not_found()
    node.positions.moved(
        known,
        here.lat,
        here.lon,
        at=phone_time(here.at) if here.at is not None else None,
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
    guard=THE_DRIVER_AND_VIEWERS,
    answers={200: Hello},
)
async def get_state(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    snapshot = unless_refused(await node_of(request).snapshots.read(known))
    return answer(hello(snapshot.driver.session_id or "", snapshot))


@endpoint(
    "GET",
    PATH + "/numbers",
    tag=TAG,
    summary="Get the driver's own numbers of today and of the week: deliveries, pay, time on shift.",
    guard=THE_DRIVER_AND_VIEWERS,
    answers={200: a.DriverNumbersView},
)
async def get_numbers(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    node = node_of(request)
    now = node.clock.now()
    local = now.astimezone(time_zone_of(node.settings.time_zone))
    today = local.replace(hour=0, minute=0, second=0, microsecond=0)
    week = today - timedelta(days=today.weekday())  # of the same zone, so still midnight if the clocks changed
    found = await read_driver_numbers(pool_of(request), known, week.astimezone(UTC), now)
    if found is None:
        raise not_found()
    periods = (_period(found, since.astimezone(UTC)) for since in (today, week))
    return answer(a.DriverNumbersView(node.settings.time_zone, *periods))


def _period(found: DriverNumbers, since: datetime) -> a.DriverPeriod:
    done = [one for one in found.delivered if one.at >= since]
    totals: Counter[str] = Counter()
    for one in done:
        if one.cents is not None:
            totals[one.currency] += one.cents
    return a.DriverPeriod(
        instant(since),
        len(done),
        [a.PayTotal(currency, cents) for currency, cents in sorted(totals.items())],
        sum(one.cents is None for one in done),
        seconds_in(found.stays, since, *ON_SHIFT),
        seconds_in(found.stays, since, "on_break"),
    )


@_call("/offers/{offer_id:str}/received", "Confirm that the app has displayed the offer.", NOTHING, None)
async def confirm_receipt(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    await submit(request, c.ConfirmReceipt(id_in_path(offer_id), known, request.user.actor))
    return no_content()


@_call(
    "/offers/{offer_id:str}/accept",
    "Accept an offer. Repeating the request is safe.",
    ACCEPTANCE,
    a.AssignmentDone,
    r.OFFER_NO_LONGER_OPEN,
    r.DRIVER_NOT_AVAILABLE,
)
async def accept_offer(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    await ACCEPTANCE.of(request)
    known = await driver_of(request, driver_id)
    command = c.AcceptOffer(id_in_path(offer_id), known, new_id(), request.user.actor)
    return with_assignment(await submit(request, command))


@_call(
    "/offers/{offer_id:str}/reject",
    "Reject an offer. The next driver gets an offer at once.",
    REJECTION,
    a.Done,
    r.OFFER_NO_LONGER_OPEN,
)
async def reject_offer(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    why = await REJECTION.of(request)
    known = await driver_of(request, driver_id)
    await submit(request, c.RejectOffer(id_in_path(offer_id), known, request.user.actor, why.reason, why.note))
    return answer(a.Done())


@_call(
    "/assignments/{assignment_id:str}/pickup",
    "Report the pickup.",
    ACTION,
    a.AssignmentDone,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
)
async def pick_up(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await ACTION.of(request)
    known = await driver_of(request, driver_id)
    command = c.PickUp(id_in_path(assignment_id), known, request.user.actor, action(said))
    return with_assignment(await submit(request, command))


@_call(
    "/assignments/{assignment_id:str}/complete",
    "Report the handover. A pickup that was not reported before is recorded too.",
    COMPLETION,
    a.AssignmentDone,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    "proof_required",
    r.PIN_WRONG,
    r.PIN_LOCKED,
)
async def complete(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await COMPLETION.of(request)
    known = await driver_of(request, driver_id)
    proof = said.proof or s.HandoverProof()
    command = c.Complete(
        id_in_path(assignment_id), known, request.user.actor, action(said), proof.pin, proof.name, proof.note
    )
    return with_assignment(await submit(request, command))


@_call(
    "/assignments/{assignment_id:str}/arrived",
    "Report the arrival at the store or at the customer.",
    ARRIVAL,
    a.AssignmentDone,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
)
async def arrive(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await ARRIVAL.of(request)
    known = await driver_of(request, driver_id)
    command = c.Arrive(id_in_path(assignment_id), known, said.where, request.user.actor, action(said))
    return with_assignment(await submit(request, command))


@_call(
    "/assignments/{assignment_id:str}/release",
    "Give a delivery back before pickup. A new search starts, without this driver.",
    RELEASE,
    a.AssignmentDone,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.ALREADY_PICKED_UP,
)
async def release(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await RELEASE.of(request)
    known = await driver_of(request, driver_id)
    command = c.Release(id_in_path(assignment_id), known, said.reason, request.user.actor, said.note, action(said))
    return with_assignment(await submit(request, command))


@_call(
    "/assignments/{assignment_id:str}/failed",
    "Report a failed handover: the driver brings the goods back, or the assignment ends here.",
    FAILURE,
    a.AssignmentDone,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.NOT_PICKED_UP,
)
async def fail(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    said = await FAILURE.of(request)
    known = await driver_of(request, driver_id)
    assignment = id_in_path(assignment_id)
    command = c.Fail(assignment, known, said.reason, request.user.actor, said.note, said.then, action(said))
    return with_assignment(await submit(request, command))


def action(said: s.Action) -> c.Action:
    """The details of an action, for the rules."""
    at = phone_time(said.at) if said.at is not None else None
    sent_at = phone_time(said.sent_at) if said.sent_at is not None else None
    both = said.lat is not None and said.lon is not None
    action_id = said.action_id.lower() if said.action_id is not None else None
    return c.Action(action_id, at, sent_at, said.lat if both else None, said.lon if both else None)


@_call(
    "/availability/take-break",
    "Start a break, or change the end of the current one; the minutes count from now.",
    BREAK,
    a.BreakView,
    r.DRIVER_NOT_AVAILABLE,
    r.DRIVER_DEACTIVATED,
    guard=THE_DRIVER_AND_OPS,
)
async def take_break(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    wanted = await BREAK.of(request)
    known = await driver_of(request, driver_id)
    command = c.TakeBreak(known, wanted.duration_minutes, request.user.actor, wanted.reason)
    driver = (await submit(request, command)).driver
    assert driver is not None
    assert driver.availability_until is not None
    return answer(a.BreakView(instant(driver.availability_until)))


@_call(
    "/availability/end-shift",
    "End the shift: no offers until the driver resumes.",
    NOTHING,
    a.StatusView,
    r.DRIVER_DEACTIVATED,
    guard=THE_DRIVER_AND_OPS,
)
async def end_shift(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await submit(request, c.EndShift(known, request.user.actor)))


@_call(
    "/availability/pause",
    "Pause: no offers until the driver resumes.",
    NOTHING,
    a.StatusView,
    r.DRIVER_NOT_AVAILABLE,
    r.DRIVER_DEACTIVATED,
    guard=THE_DRIVER_AND_OPS,
)
async def pause(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await submit(request, c.Pause(known, request.user.actor)))


@_call(
    "/availability/resume",
    "Make the driver available for offers, from any state.",
    NOTHING,
    a.StatusView,
    r.DRIVER_DEACTIVATED,
    guard=THE_DRIVER_AND_OPS,
)
async def resume(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await submit(request, c.Resume(known, request.user.actor)))


@endpoint(
    "GET",
    PATH + "/availability/history",
    tag=TAG,
    summary="List the changes of the driver's availability, newest first.",
    guard=THE_DRIVER_AND_VIEWERS,
    query=PAGE,
    answers={200: list[a.HistoryItem]},
)
async def get_history(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    query = PAGE.of(request)
    known = await driver_of(request, driver_id)
    before = BY_INSTANT.key(query.cursor)
    found = await read_history(pool_of(request), known, before, query.limit + 1)
    if found is None:
        raise not_found()
    return answer(BY_INSTANT.page(found, query.limit, lambda h: (h.timestamp, h.id), history_item))


def history_item(change: AvailabilityChange) -> a.HistoryItem:
    """The view of a change of availability."""
    return a.view(a.HistoryItem, change)


def with_assignment(done: Answer) -> ASGIResponse:
    """The response to a call about an assignment."""
    assert done.assignment is not None
    return answer(a.AssignmentDone(assignment_view(done.assignment)))


def _with_status(done: Answer) -> ASGIResponse:
    assert done.driver is not None
    return answer(a.StatusView(done.driver.availability))
