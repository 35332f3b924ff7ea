"""The HTTP API by which a driver signs in on a phone: the invitation and its code, renewal of the tokens, sign-out.

Codes and tokens are only in the response to the caller who needs them. No URL that a browser sends, no log line and no
other message contains them.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import ceil
from typing import Final

import structlog

from server.contract.views import instant
from server.dispatch import refusals as r
from server.dispatch.model import Actor
from server.ids import new_id
from server.node import Node
from server.sockets.revocations import TOKEN_HOURS
from server.store import sign_in as store
from server.store.devices import SignedIn, holder
from server.store.query import DatabaseAway
from server.web.access.device_secrets import DeviceToken, first_token, new_code, next_token, read_device_token
from server.web.access.guards import SERVICE_AND_OPS
from server.web.access.login_limits import Tries, network_of
from server.web.access.tokens import address_of, hashed, mint_token
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.devices import end
from server.web.api.endpoint import MayBeMissing, PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import TOO_MANY, TRY_AGAIN, UNAUTHORIZED, not_found, refused, too_many, unauthorized

NO_INVITATION: Final = "This invitation is not valid: it was used, it expired, or a newer one replaced it."
NOT_SIGNED_IN: Final = "This device is signed out. Sign in with a new invitation."
SIGN_IN_PROBLEMS: Final = (UNAUTHORIZED, TOO_MANY, TRY_AGAIN)
UNNAMED: Final = "A device"
_SYSTEMS: Final = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Macintosh", "Mac"),
    ("Linux", "Linux"),
)  # fmt: skip
_BROWSERS: Final = (
    ("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("FxiOS", "Firefox"), ("CriOS", "Chrome"),
    ("Chrome", "Chrome"), ("Safari", "Safari"),
)  # fmt: skip

log = structlog.get_logger(__name__)


@endpoint(
    "POST /drivers/{driver_id}/invitation",
    "Invite a driver to sign in on a phone, once, within 7 days. This replaces their previous invitation.",
    SERVICE_AND_OPS,
    r.DRIVER_DEACTIVATED,
)
async def invite_driver(request: Call, driver_id: PathId, _: MayBeMissing[s.EmptyBody]) -> a.InvitationView:
    return await invitation(request, driver_id)


async def invitation(request: Call, driver_id: str) -> a.InvitationView:
    """Create an invitation of a driver. Raises 404, 409 or DatabaseAway."""
    code = new_code()
    known, expires_at = await invited_with(request, driver_id, code)
    if not known:
        raise not_found()
    if expires_at is None:
        raise refused(r.DRIVER_DEACTIVATED)
    return a.InvitationView(invitation_link(request, code), code, instant(expires_at))


async def invited_with(
    request: Call, driver_id: str, code: str, unless_after: datetime | None = None
) -> tuple[bool, datetime | None]:
    """Invite a driver with this code: see `store.invite`. Raises DatabaseAway."""
    known, expires_at = await store.invite(pool_of(request), driver_id, hashed(code), request.user.actor, unless_after)
    if expires_at is not None:
        log.info("driver_invited", driverId=driver_id, actor=request.user.role, actorId=request.user.subject)
    return known, expires_at


def invitation_link(request: Call, code: str) -> str:
    return page_link(request, f"code={code}")


def page_link(request: Call, fragment: str) -> str:
    """The URL of the driver page, with a fragment, which browsers never send."""
    home = node_of(request).settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    return f"{home}/driver#{fragment}"


@endpoint(
    "POST /driver/sign-in",
    "Sign in on this phone with the code of an invitation. A code works once.",
    None,
    problems=SIGN_IN_PROBLEMS,
)
async def sign_in(request: Call, given: s.SignIn) -> a.SignedInView:
    node = node_of(request)
    pool = node.database.pool
    action_id = given.action_id.lower() if given.action_id is not None else None
    code = given.code.strip()  # as copied from a message
    token = first_token(node.settings.secret, code, action_id)
    name = (given.name or "").strip() or device_name(request.headers.get("user-agent", ""))
    with one_try(request) as give_back:
        found = await store.sign_in(
            pool, hashed(code), new_id(), name[: s.DEVICE_NAME_LIMIT], token.family_hash, token.token_hash
        )
        if found is not None:
            log.info("driver_signed_in", driverId=found.driver_id, deviceId=found.device_id)
        elif action_id is not None:  # the answer may have been lost
            found = await store.signed_in_before(pool, token.family_hash, token.token_hash)
        if found is None:
            log.warning("driver_sign_in_refused", address=address_of(request))
            raise unauthorized(NO_INVITATION)
        give_back()
    return _signed_in(node, found, token)


@endpoint(
    "POST /driver/renew",
    "Get a new token and the next device token. A device token that was used before ends the device.",
    None,
    problems=SIGN_IN_PROBLEMS,
)
async def renew(request: Call, given: s.Renewal) -> a.SignedInView:
    node = node_of(request)
    action_id = given.action_id.lower() if given.action_id is not None else None
    with one_try(request) as give_back:
        held = read_device_token(given.device_token)
        if held is None:
            raise unauthorized(NOT_SIGNED_IN)
        following = next_token(node.settings.secret, held, action_id)
        renewed = await store.renew(node.database.pool, held.family_hash, held.token_hash, following.token_hash)
        if renewed is None:
            raise unauthorized(NOT_SIGNED_IN)
        found, ended = renewed
        if ended is not None:
            node.revocations.device_ended(found.device_id)
            log.warning("device_ended", driverId=found.driver_id, deviceId=found.device_id, reason=ended)
            raise unauthorized(NOT_SIGNED_IN)
        give_back()
    return _signed_in(node, found, following)


@endpoint(
    "POST /driver/sign-out",
    "Sign the driver out on this phone. Its tokens become invalid. An older device token will do: the phone may not"
    " have got the answer with the newest.",
    None,
    problems=SIGN_IN_PROBLEMS,
)
async def sign_out(request: Call, given: s.SignOut) -> None:
    node = node_of(request)
    with one_try(request) as give_back:
        held = read_device_token(given.device_token)
        found = await holder(node.database.pool, held.family_hash) if held is not None else None
        if found is None:
            raise unauthorized(NOT_SIGNED_IN)
        give_back()
    await end(node, found.driver_id, found.device_id, Actor("driver", found.driver_id), "signed_out")


@contextmanager
def one_try(request: Call) -> Iterator[Callable[[], None]]:
    """Count one try of this network. Call what this gives to give the try back after a success; when the database is
    away, which is nobody's mistake, it is given back anyway. Raises 429.
    """
    tries: Tries = request.app.state.sign_in_tries
    network, now = network_of(address_of(request)), time.monotonic()
    wait = tries.wait_seconds(network, now)
    if wait > 0.0:
        log.warning("driver_sign_in_limited", address=address_of(request))
        raise too_many(max(1, ceil(wait)))
    tries.take(network, now)

    def give_back() -> None:
        tries.give_back(network, time.monotonic())

    try:
        yield give_back
    except DatabaseAway:
        give_back()
        raise


def _signed_in(node: Node, found: SignedIn, token: DeviceToken) -> a.SignedInView:
    minted, expires_at = mint_token(
        node.settings.secret, "driver", found.driver_id, TOKEN_HOURS * 3600, found.device_id
    )
    return a.SignedInView(found.driver_id, minted, instant(datetime.fromtimestamp(expires_at, UTC)), token.text)


def device_name(user_agent: str) -> str:
    """A name for a browser, such as "Chrome on Android"."""
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), None)
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), None)
    return " on ".join(part for part in (browser, system) if part) or UNNAMED
