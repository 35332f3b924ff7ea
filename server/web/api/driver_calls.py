"""The HTTP API for drivers' apps without a socket. Each call also makes the driver present, unless it is a report that
says otherwise.
"""

from collections import Counter
from datetime import UTC, datetime, timedelta

from server.contract.commit import Answer
from server.contract.messages import Hello
from server.contract.views import assignment_view, driver_view, instant
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.phone_clocks import phone_time
from server.dispatch.takeovers import is_of_another
from server.ids import new_id
from server.settings import time_zone_of
from server.sockets.hello import hello
from server.store.reads.connections import last_connection_of
from server.store.reads.driver_numbers import ON_SHIFT, DriverNumbers, read_driver_numbers, seconds_in
from server.store.reads.drivers import read_driver, read_history
from server.web.access.guards import THE_DRIVER_AND_ADMIN, THE_DRIVER_AND_OPS, THE_DRIVER_AND_VIEWERS
from server.web.access.tokens import bearer, holder_of
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import CallingDriver, ReportingDriver
from server.web.api.endpoint import MayBeMissing, PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of, submit
from server.web.http.errors import existing, invalid_field, not_found, unless_refused
from server.web.http.paging import BY_INSTANT, Page


@endpoint(
    "POST /drivers/{driver_id}/location",
    "Report the driver's position. Searches use it within a second.",
    THE_DRIVER_AND_ADMIN,
)
async def move(request: Call, driver_id: CallingDriver, here: s.Location) -> None:
    node = node_of(request)
    if request.user.role != "driver" and await read_driver(node.database.pool, driver_id) is None:
        raise not_found()
    node.positions.moved(
        driver_id,
        here.lat,
        here.lon,
        at=phone_time(here.at) if here.at is not None else None,
        heading=here.heading,
        speed_kmh=here.speed_kmh,
        accuracy_m=here.accuracy_m,
    )


@endpoint(
    "GET /drivers/{driver_id}/state",
    "Get everything that the driver's app needs to be up to date; the same as `hello` on the socket.",
    THE_DRIVER_AND_VIEWERS,
)
async def get_state(request: Call, driver_id: CallingDriver) -> Hello:
    snapshot = unless_refused(await node_of(request).snapshots.read(driver_id))
    return hello(snapshot.driver.session_id or "", snapshot)


@endpoint(
    "GET /drivers/{driver_id}/session",
    "Get what an app shows before it connects: the driver, their deliveries in hand, and another device in use. Unlike"
    " other calls of a driver, this one does not make them present.",
    THE_DRIVER_AND_VIEWERS,
)
async def get_session(request: Call, driver_id: PathId) -> a.DriverSessionView:
    node = node_of(request)
    snapshot = unless_refused(await node.snapshots.read(driver_id))
    last = await last_connection_of(pool_of(request), driver_id)
    own = holder_of(request.user.device, bearer(request.scope["headers"]) or "")
    other: a.OtherDeviceView | None = None
    if last is not None and is_of_another(last, own, snapshot.at):
        other = a.OtherDeviceView(last.name, instant(last.since))
    return a.DriverSessionView(driver_view(snapshot.driver), snapshot.assignments, other)


@endpoint(
    "GET /drivers/{driver_id}/numbers",
    "Get the driver's own numbers of today and of the week: deliveries, pay, time on shift.",
    THE_DRIVER_AND_VIEWERS,
)
async def get_numbers(request: Call, driver_id: CallingDriver) -> a.DriverNumbersView:
    node = node_of(request)
    now = node.clock.now()
    local = now.astimezone(time_zone_of(node.settings.time_zone))
    today = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    week = today - timedelta(days=today.weekday())  # of the same zone, so still midnight if the clocks changed
    found = existing(await read_driver_numbers(pool_of(request), driver_id, week.astimezone(UTC), now))
    periods = (_period(found, since.astimezone(UTC)) for since in (today, week))
    return a.DriverNumbersView(node.settings.time_zone, *periods)


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


@endpoint(
    "POST /drivers/{driver_id}/offers/{offer_id}/received",
    "Confirm that the app has displayed the offer.",
    THE_DRIVER_AND_ADMIN,
)
async def confirm_receipt(
    request: Call, driver_id: CallingDriver, offer_id: PathId, _: MayBeMissing[s.EmptyBody]
) -> None:
    await submit(request, c.ConfirmReceipt(offer_id, driver_id, request.user.actor))


@endpoint(
    "POST /drivers/{driver_id}/offers/{offer_id}/accept",
    "Accept an offer. Repeating the request is safe.",
    THE_DRIVER_AND_ADMIN,
    r.OFFER_NO_LONGER_OPEN,
    r.DRIVER_NOT_AVAILABLE,
)
async def accept_offer(
    request: Call, driver_id: CallingDriver, offer_id: PathId, _: MayBeMissing[s.Acceptance]
) -> a.AssignmentDone:
    command = c.AcceptOffer(offer_id, driver_id, new_id(), request.user.actor)
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /drivers/{driver_id}/offers/{offer_id}/reject",
    "Reject an offer. The next driver gets an offer at once.",
    THE_DRIVER_AND_ADMIN,
    r.OFFER_NO_LONGER_OPEN,
)
async def reject_offer(
    request: Call, driver_id: CallingDriver, offer_id: PathId, why: MayBeMissing[s.Rejection]
) -> a.Done:
    await submit(request, c.RejectOffer(offer_id, driver_id, request.user.actor, why.reason, why.note))
    return a.Done()


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/pickup",
    "Report the pickup.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
)
async def pick_up(
    request: Call, driver_id: ReportingDriver, assignment_id: PathId, _: s.ReportQuery, said: MayBeMissing[s.Action]
) -> a.AssignmentDone:
    command = c.PickUp(assignment_id, driver_id, request.user.actor, action(said))
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/complete",
    "Report the handover. A pickup that was not reported before is recorded too.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    "proof_required",
    r.PIN_WRONG,
    r.PIN_LOCKED,
)
async def complete(
    request: Call, driver_id: ReportingDriver, assignment_id: PathId, _: s.ReportQuery, said: MayBeMissing[s.Completion]
) -> a.AssignmentDone:
    proof = said.proof or s.HandoverProof()
    command = c.Complete(assignment_id, driver_id, request.user.actor, action(said), proof.pin, proof.name, proof.note)
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/pin",
    "Check the customer's PIN before the handover is reported. A wrong one counts as a try.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.PIN_WRONG,
    r.PIN_LOCKED,
)
async def check_pin(request: Call, driver_id: CallingDriver, assignment_id: PathId, said: s.PinTry) -> a.Done:
    action_id = said.action_id.lower() if said.action_id is not None else None
    await submit(request, c.CheckPin(assignment_id, driver_id, request.user.actor, said.pin, c.Action(action_id)))
    return a.Done()


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/arrived",
    "Report the arrival at the store, or with the goods at the customer.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.NOT_PICKED_UP,
    r.ALREADY_RETURNING,
)
async def arrive(
    request: Call, driver_id: ReportingDriver, assignment_id: PathId, _: s.ReportQuery, said: s.Arrival
) -> a.AssignmentDone:
    command = c.Arrive(assignment_id, driver_id, said.where, request.user.actor, action(said))
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/release",
    "Give a delivery back before pickup. A new search starts, without this driver.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.ALREADY_PICKED_UP,
)
async def release(
    request: Call, driver_id: ReportingDriver, assignment_id: PathId, _: s.ReportQuery, said: s.Release
) -> a.AssignmentDone:
    command = c.Release(assignment_id, driver_id, said.reason, request.user.actor, said.note, action(said))
    return with_assignment(await submit(request, command))


@endpoint(
    "POST /drivers/{driver_id}/assignments/{assignment_id}/failed",
    "Report a failed handover: the driver brings the goods back, or the assignment ends here.",
    THE_DRIVER_AND_ADMIN,
    r.ASSIGNMENT_NOT_ACTIVE,
    r.ACTION_ID_USED,
    r.NOT_PICKED_UP,
    r.ALREADY_RETURNING,
)
async def fail(
    request: Call, driver_id: ReportingDriver, assignment_id: PathId, _: s.ReportQuery, said: s.Failure
) -> a.AssignmentDone:
    command = c.Fail(assignment_id, driver_id, said.reason, request.user.actor, said.note, said.then, action(said))
    return with_assignment(await submit(request, command))


def action(said: s.Action) -> c.Action:
    """The details of an action, for the rules. Raises 422 for half a place."""
    if (said.lat is None) != (said.lon is None):
        missing, given = ("lat", "lon") if said.lat is None else ("lon", "lat")
        raise invalid_field(missing, f"is required with {given}")
    at = phone_time(said.at) if said.at is not None else None
    sent_at = phone_time(said.sent_at) if said.sent_at is not None else None
    action_id = said.action_id.lower() if said.action_id is not None else None
    return c.Action(action_id, at, sent_at, said.lat, said.lon)


@endpoint(
    "POST /drivers/{driver_id}/availability/take-break",
    "Start a break, or change the end of the current one; the minutes count from now, with `extend` from that end.",
    THE_DRIVER_AND_OPS,
    r.DRIVER_NOT_AVAILABLE,
    r.DRIVER_DEACTIVATED,
)
async def take_break(request: Call, driver_id: CallingDriver, wanted: s.BreakRequest) -> a.BreakView:
    command = c.TakeBreak(driver_id, wanted.duration_minutes, request.user.actor, wanted.reason, wanted.extend)
    driver = (await submit(request, command)).driver
    assert driver is not None
    assert driver.availability_until is not None
    return a.BreakView(instant(driver.availability_until))


@endpoint(
    "POST /drivers/{driver_id}/availability/end-shift",
    "End the shift: no offers until the driver resumes.",
    THE_DRIVER_AND_OPS,
    r.DRIVER_DEACTIVATED,
)
async def end_shift(request: Call, driver_id: CallingDriver, _: MayBeMissing[s.EmptyBody]) -> a.StatusView:
    return _with_status(await submit(request, c.EndShift(driver_id, request.user.actor)))


@endpoint(
    "POST /drivers/{driver_id}/availability/pause",
    "Pause: no offers until the driver resumes.",
    THE_DRIVER_AND_OPS,
    r.DRIVER_NOT_AVAILABLE,
    r.DRIVER_DEACTIVATED,
)
async def pause(request: Call, driver_id: CallingDriver, _: MayBeMissing[s.EmptyBody]) -> a.StatusView:
    return _with_status(await submit(request, c.Pause(driver_id, request.user.actor)))


@endpoint(
    "POST /drivers/{driver_id}/availability/resume",
    "Make the driver available for offers, from any state.",
    THE_DRIVER_AND_OPS,
    r.DRIVER_DEACTIVATED,
)
async def resume(request: Call, driver_id: CallingDriver, _: MayBeMissing[s.EmptyBody]) -> a.StatusView:
    return _with_status(await submit(request, c.Resume(driver_id, request.user.actor)))


@endpoint(
    "GET /drivers/{driver_id}/availability/history",
    "List the changes of the driver's availability, newest first.",
    THE_DRIVER_AND_VIEWERS,
)
async def get_history(request: Call, driver_id: CallingDriver, query: s.PageQuery) -> Page[a.HistoryItem]:
    before = BY_INSTANT.key(query.cursor)
    found = existing(await read_history(pool_of(request), driver_id, before, query.limit + 1))
    return BY_INSTANT.page(found, query.limit, lambda h: (h.timestamp, h.id), lambda h: a.view(a.HistoryItem, h))


def with_assignment(done: Answer) -> a.AssignmentDone:
    assert done.assignment is not None
    return a.AssignmentDone(assignment_view(done.assignment))


def _with_status(done: Answer) -> a.StatusView:
    assert done.driver is not None
    return a.StatusView(done.driver.availability)
