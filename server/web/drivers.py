"""The HTTP API of drivers: registering them, and all that their app can also say over its socket."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import UNSET

from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Driver
from server.execute import Answer
from server.ids import new_id
from server.realtime.messages import Hello
from server.store.reads_drivers import (
    AvailabilityChange,
    driver_exists,
    read_driver,
    read_drivers,
    read_history,
)
from server.web import schemas as s
from server.web.auth import Guard, mint_token
from server.web.deliveries import utc
from server.web.driver_socket import hello
from server.web.endpoint import Body, Call, Query, answer, endpoint, id_in_path, no_content
from server.web.errors import not_found, unless_refused
from server.web.pages import BY_ID, BY_INSTANT
from server.wire import DriverView, assignment_view, driver_view, instant

if TYPE_CHECKING:
    from server.node import Node

TAG: Final = "Drivers"
PATH: Final = "/drivers/{driver_id:str}"

THEIRS: Final = Guard("admin", driver=True)
CAN_WATCH: Final = Guard("viewer", "ops", "admin", driver=True)

NEW_DRIVER: Final = Body(s.NewDriver)
TOKEN: Final = Body(s.TokenWanted, optional=True)
LOCATION: Final = Body(s.Location)
NOTHING: Final = Body(s.Nothing, optional=True)
ACCEPTANCE: Final = Body(s.Acceptance, optional=True)
REJECTION: Final = Body(s.Rejection, optional=True)
BREAK: Final = Body(s.BreakWanted)
DRIVERS: Final = Query(s.DriversAsked)
PAGE: Final = Query(s.PageAsked)


async def driver_of(request: Call, driver_id: str) -> str:
    """The id in the path in its one form; if it is the driver's own call, they are seen. Raises 404 and 503."""
    principal = request.user
    if principal.role != "driver":
        return id_in_path(driver_id)
    node: Node = request.app.state.node
    refusal = await node.seen(principal.subject)
    if refusal is not None:
        unless_refused(refusal)
    return principal.subject


def shown(node: "Node", driver: Driver) -> DriverView:
    """The view of a driver, with the position that this process heard of last, if it is newer."""
    heard = node.positions.latest(driver.id)
    if heard is not None and (driver.position is None or heard.at > driver.position.at):
        driver.position = heard
    return driver_view(driver)


@endpoint(
    "POST",
    "/drivers",
    tag=TAG,
    summary="Register a driver, who is offline until first seen.",
    guard=Guard("service", "admin"),
    body=NEW_DRIVER,
    answers={201: DriverView},
    refusals=(r.DRIVER_EXISTS.code,),
)
async def register_driver(request: Call) -> ASGIResponse:
    new = await NEW_DRIVER.of(request)
    node: Node = request.app.state.node
    command = c.RegisterDriver(
        driver_id=new_id(),
        name=new.name,
        zone=new.zone,
        capacity=new.capacity,
        actor=request.user.actor,
        external_ref=new.external_ref,
        phone=new.phone,
    )
    done = unless_refused(await node.executor.submit(command))
    assert done.driver is not None
    return answer(driver_view(done.driver), 201, {"Location": f"/drivers/{done.driver.id}"})


@endpoint(
    "GET",
    "/drivers",
    tag=TAG,
    summary="Drivers, the newest first.",
    guard=Guard("viewer", "ops", "admin"),
    query=DRIVERS,
    answers={200: list[DriverView]},
)
async def list_drivers(request: Call) -> ASGIResponse:
    asked = DRIVERS.of(request)
    node: Node = request.app.state.node
    before = BY_ID.key(asked.cursor)
    found = await read_drivers(
        node.database.pool,
        None if asked.availability is UNSET else asked.availability,
        None if asked.zone is UNSET else asked.zone,
        before[0] if before is not None else None,
        asked.limit + 1,
    )
    return answer(BY_ID.page(found, asked.limit, lambda d: (d.id,), lambda d: shown(node, d)))


@endpoint(
    "GET",
    PATH,
    tag=TAG,
    summary="A driver.",
    guard=Guard("service", "viewer", "ops", "admin", driver=True),
    answers={200: DriverView},
)
async def get_driver(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    node: Node = request.app.state.node
    found = await read_driver(node.database.pool, known)
    if found is None:
        raise not_found()
    return answer(shown(node, found))


@endpoint(
    "POST",
    PATH + "/token",
    tag=TAG,
    summary="A token for the driver's app.",
    guard=Guard("service", "admin"),
    body=TOKEN,
    answers={200: s.TokenView},
)
async def make_token(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    wanted = await TOKEN.of(request)
    node: Node = request.app.state.node
    known = id_in_path(driver_id)
    if not await driver_exists(node.database.pool, known):
        raise not_found()
    token, expires_at = mint_token(node.settings.secret, "driver", known, wanted.hours * 3600)
    return answer(s.TokenView(token, instant(datetime.fromtimestamp(expires_at, UTC))))


@endpoint(
    "POST",
    PATH + "/location",
    tag=TAG,
    summary="Where the driver is. It counts for the search within a second.",
    guard=THEIRS,
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
    summary="Everything the driver's app needs to be up to date: what the socket says first.",
    guard=CAN_WATCH,
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
    summary="The app has shown the offer.",
    guard=THEIRS,
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
    summary="Yes to an offer. Saying so again is harmless.",
    guard=THEIRS,
    body=ACCEPTANCE,
    answers={200: s.DoneWithAssignment},
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
    summary="No to an offer. The next driver is asked at once.",
    guard=THEIRS,
    body=REJECTION,
    answers={200: s.Done},
    refusals=(r.OFFER_NO_LONGER_OPEN.code,),
)
async def reject_offer(request: Call, driver_id: FromPath[str], offer_id: FromPath[str]) -> ASGIResponse:
    why = await REJECTION.of(request)
    known = await driver_of(request, driver_id)
    await _submit(request, c.RejectOffer(id_in_path(offer_id), known, request.user.actor, why.reason))
    return answer(s.Done())


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/pickup",
    tag=TAG,
    summary="The goods are with the driver.",
    guard=THEIRS,
    body=NOTHING,
    answers={200: s.DoneWithAssignment},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code,),
)
async def pick_up(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    command = c.PickUp(id_in_path(assignment_id), known, request.user.actor)
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/assignments/{assignment_id:str}/complete",
    tag=TAG,
    summary="The goods are handed over (and were picked up, if that was not said before).",
    guard=THEIRS,
    body=NOTHING,
    answers={200: s.DoneWithAssignment},
    refusals=(r.ASSIGNMENT_NOT_ACTIVE.code,),
)
async def complete(request: Call, driver_id: FromPath[str], assignment_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    command = c.Complete(id_in_path(assignment_id), known, request.user.actor)
    return _with_assignment(await _submit(request, command))


@endpoint(
    "POST",
    PATH + "/availability/take-break",
    tag=TAG,
    summary="A break from now; again while on break: a new end.",
    guard=THEIRS,
    body=BREAK,
    answers={200: s.BreakView},
    refusals=(r.DRIVER_NOT_AVAILABLE.code,),
)
async def take_break(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    wanted = await BREAK.of(request)
    known = await driver_of(request, driver_id)
    command = c.TakeBreak(known, wanted.duration_minutes, request.user.actor, wanted.reason)
    driver = (await _submit(request, command)).driver
    assert driver is not None
    assert driver.availability_until is not None
    return answer(s.BreakView(instant(driver.availability_until)))


@endpoint(
    "POST",
    PATH + "/availability/end-shift",
    tag=TAG,
    summary="The driver goes home, until they resume.",
    guard=THEIRS,
    body=NOTHING,
    answers={200: s.StatusView},
)
async def end_shift(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.EndShift(known, request.user.actor)))


@endpoint(
    "POST",
    PATH + "/availability/pause",
    tag=TAG,
    summary="No offers until the driver resumes.",
    guard=THEIRS,
    body=NOTHING,
    answers={200: s.StatusView},
    refusals=(r.DRIVER_NOT_AVAILABLE.code,),
)
async def pause(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.Pause(known, request.user.actor)))


@endpoint(
    "POST",
    PATH + "/availability/resume",
    tag=TAG,
    summary="Ready for offers, from whatever state.",
    guard=THEIRS,
    body=NOTHING,
    answers={200: s.StatusView},
)
async def resume(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    await NOTHING.of(request)
    known = await driver_of(request, driver_id)
    return _with_status(await _submit(request, c.Resume(known, request.user.actor)))


@endpoint(
    "GET",
    PATH + "/availability/history",
    tag=TAG,
    summary="Every change of the driver's availability, newest first.",
    guard=CAN_WATCH,
    query=PAGE,
    answers={200: list[s.HistoryItem]},
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


def history_item(change: AvailabilityChange) -> s.HistoryItem:
    """The view of an entry of the history."""
    return s.HistoryItem(
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
    return answer(s.DoneWithAssignment(assignment_view(done.assignment)))


def _with_status(done: Answer) -> ASGIResponse:
    assert done.driver is not None
    return answer(s.StatusView(done.driver.availability))


HANDLERS: Final[list[HTTPRouteHandler]] = [
    register_driver,
    list_drivers,
    get_driver,
    make_token,
    move,
    get_state,
    confirm_receipt,
    accept_offer,
    reject_offer,
    pick_up,
    complete,
    take_break,
    end_shift,
    pause,
    resume,
    get_history,
]
