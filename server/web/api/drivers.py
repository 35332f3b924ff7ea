"""The HTTP API of drivers: register, read, change and deactivate them; create tokens for their app."""

from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias, TypeVar, cast

from litestar.response.base import ASGIResponse
from msgspec import UNSET, UnsetType

from server.contract.commit import Answer
from server.contract.views import DriverView, driver_view, instant
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Actor, Driver
from server.dispatch.names import with_ascii_digits
from server.ids import new_id
from server.node import Node
from server.store.devices import count_devices
from server.store.query import unless_away
from server.store.reads.drivers import driver_exists, find_drivers, read_driver
from server.web.access.guards import ADMIN, SERVICE, SERVICE_AND_OPS, THE_DRIVER_SERVICE_AND_VIEWERS, VIEWERS
from server.web.access.tokens import mint_token
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.bodies import Query
from server.web.api.delivery_commands import distinct, planned
from server.web.api.endpoint import MayBeMissing, PathId, answer, endpoint, given, id_in_path
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of, submit
from server.web.http.errors import existing, not_found, unauthorized, unless_refused
from server.web.http.paging import BY_ID, Page

PATH: Final = "/drivers/{driver_id:str}"
REPORT: Final = Query(s.ReportQuery)
Given = TypeVar("Given")


async def driver_of(request: Call, driver_id: str) -> str:
    """The normalized id in the path. A driver's own call also makes them present. Raises 404 and 503."""
    principal = request.user
    if principal.role != "driver":
        return id_in_path(driver_id)
    refusal = await node_of(request).seen(principal.subject)
    if refusal == r.DRIVER_DEACTIVATED:
        raise unauthorized(r.DRIVER_DEACTIVATED.message)
    if refusal is not None:
        unless_refused(refusal)
    return principal.subject


CallingDriver: TypeAlias = Annotated[str, driver_of]


async def reporter_of(request: Call, driver_id: str) -> str:
    """The same, but a report with `present=0` does not make the driver present."""
    if REPORT.of(request).present:
        return await driver_of(request, driver_id)
    return id_in_path(driver_id)


ReportingDriver: TypeAlias = Annotated[str, reporter_of]


async def shown(node: Node, driver: Driver) -> DriverView:
    """The view of a driver, with the number of their devices. Raises DatabaseAway."""
    counts = await count_devices(node.database.pool, [driver.id])
    return _view(node, driver, counts.get(driver.id, 0))


async def _as_they_are_now(request: Call, done: Answer) -> DriverView:
    """The view of a driver who was just changed. It has no number of devices if that cannot be read: `try_again` would
    say that nothing was done.
    """
    assert done.driver is not None
    node = node_of(request)
    return await unless_away(shown(node, done.driver)) or _view(node, done.driver, UNSET)


def _view(node: Node, driver: Driver, device_count: int | UnsetType) -> DriverView:
    """Uses the position in this process's memory if it is newer."""
    heard = node.positions.latest(driver.id)
    if heard is not None and (driver.position is None or heard.at > driver.position.at):
        driver.position = heard
    return driver_view(driver, device_count)


def trimmed(given: Given) -> Given:
    """A text without the blanks around it; other values unchanged."""
    return cast(Given, given.strip()) if isinstance(given, str) else given


def _phone(given: Given) -> Given:
    return cast(Given, with_ascii_digits(given.strip())) if isinstance(given, str) else given


@endpoint(
    "POST /drivers",
    "Register a driver. They are offline until they connect.",
    SERVICE_AND_OPS,
    r.DRIVER_EXISTS,
    answers={201: DriverView},
)
async def register_driver(request: Call, new: s.NewDriver) -> ASGIResponse:
    done = await post_driver(request, new)
    assert done.driver is not None
    return answer(driver_view(done.driver, 0), 201, {"Location": f"/drivers/{done.driver.id}"})


def registration(new: s.NewDriver, actor: Actor) -> c.RegisterDriver:
    """The command for a new driver. Raises 422."""
    return c.RegisterDriver(
        driver_id=new_id(),
        name=trimmed(new.name),
        zone=new.zone,
        capacity=new.capacity,
        actor=actor,
        external_ref=trimmed(new.external_ref),
        phone=_phone(new.phone),
        vehicle=trimmed(new.vehicle),
        tags=distinct(new.tags),
        shift_ends_at=planned(new.shift_ends_at, "shiftEndsAt") if new.shift_ends_at is not None else None,
    )


async def post_driver(request: Call, new: s.NewDriver) -> Answer:
    """Register the driver in the name of the caller. Raises 409, 422 or 503."""
    return await submit(request, registration(new, request.user.actor))


@endpoint("GET /drivers", "List drivers, newest first.", VIEWERS)
async def list_drivers(request: Call, query: s.DriversQuery) -> Page[DriverView]:
    node = node_of(request)
    found = await find_drivers(
        node.database.pool,
        given(query.availability),
        await zone_of_query(node, query.zone),
        BY_ID.only(query.cursor),
        query.limit + 1,
    )
    counts = await count_devices(node.database.pool, [driver.id for driver in found])
    return BY_ID.page(found, query.limit, lambda d: (d.id,), lambda d: _view(node, d, counts.get(d.id, 0)))


@endpoint("GET /drivers/{driver_id}", "A driver.", THE_DRIVER_SERVICE_AND_VIEWERS)
async def get_driver(request: Call, driver_id: CallingDriver) -> DriverView:
    node = node_of(request)
    found = existing(await read_driver(node.database.pool, driver_id))
    return await shown(node, found)


@endpoint("POST /drivers/{driver_id}/token", "Create a token for the driver's app.", SERVICE)
async def make_token(request: Call, driver_id: PathId, wanted: MayBeMissing[s.TokenRequest]) -> a.TokenView:
    node = node_of(request)
    if not await driver_exists(node.database.pool, driver_id):
        raise not_found()
    token, expires_at = mint_token(node.settings.secret, "driver", driver_id, wanted.hours * 3600)
    return a.TokenView(token, instant(datetime.fromtimestamp(expires_at, UTC)))


@endpoint(
    "PATCH /drivers/{driver_id}",
    "Change a driver's data. Missing fields stay as they are, null clears a field.",
    SERVICE_AND_OPS,
    r.DRIVER_EXISTS,
    r.HAS_ACTIVE_WORK,
)
async def change_driver(request: Call, driver_id: PathId, new: s.ChangedDriver) -> DriverView:
    return await _as_they_are_now(request, await patch_driver(request, driver_id, new))


async def patch_driver(request: Call, driver_id: str, new: s.ChangedDriver) -> Answer:
    """Change the driver in the name of the caller. Raises 404, 409, 422 or 503."""
    ends_at = new.shift_ends_at
    command = c.ChangeDriver(
        driver_id=driver_id,
        actor=request.user.actor,
        name=trimmed(new.name),
        phone=_phone(new.phone),
        zone=new.zone,
        capacity=new.capacity,
        vehicle=trimmed(new.vehicle),
        tags=distinct(new.tags) if isinstance(new.tags, tuple) else UNSET,
        external_ref=trimmed(new.external_ref),
        shift_ends_at=planned(ends_at, "shiftEndsAt") if isinstance(ends_at, datetime) else ends_at,
    )
    return await submit(request, command)


@endpoint("DELETE /drivers/{driver_id}", "Deactivate a driver. Their history is kept.", ADMIN, r.HAS_ACTIVE_WORK)
async def deactivate_driver(request: Call, driver_id: PathId) -> None:
    await submit(request, c.DeactivateDriver(driver_id, request.user.actor))


@endpoint("POST /drivers/{driver_id}/reactivate", "Reactivate a driver.", ADMIN)
async def reactivate_driver(request: Call, driver_id: PathId, _: MayBeMissing[s.EmptyBody]) -> DriverView:
    return await _as_they_are_now(request, await submit(request, c.ReactivateDriver(driver_id, request.user.actor)))
