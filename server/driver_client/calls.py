"""What a driver's app calls over HTTP beside its socket: sign-in, a look before it connects, the PIN, pictures.

`http` is a client whose `base_url` is the address of the server. All calls can be repeated. They raise Refused if the
server says no, and ConnectionError if nobody knows.
"""

from typing import Literal, TypeVar
from uuid import uuid4

import httpx2 as httpx
import msgspec
from msgspec import Struct

from server.driver_client import messages as m

PinAnswer = Literal["right", "wrong", "locked", "unknown"]
T = TypeVar("T")


class Refused(Exception):
    """The server said no: its `code`, what it said, and the rest of its answer."""

    def __init__(self, code: str, message: str, more: m.Frame) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.more = more


class SignedIn(Struct, frozen=True, rename="camel"):
    """The token for calls and the socket, when it expires, and the device token that replaces both, once."""

    driver_id: str
    token: str
    expires_at: str
    device_token: str


class OtherDevice(Struct, frozen=True, rename="camel"):
    """Another device of the driver that is in use. One without a name has its token from a back end."""

    name: str | None
    since: str


class Session(Struct, frozen=True, rename="camel"):
    """What an app shows before it connects."""

    driver: m.Driver
    assignments: list[m.Assignment]
    other_device: OtherDevice | None


async def sign_in(http: httpx.AsyncClient, code: str, *, action_id: str, name: str | None = None) -> SignedIn:
    """Exchange the code of an invitation. If the answer is lost, the same `action_id` repeats the same sign-in."""
    body = {"code": code, "actionId": action_id} | ({} if name is None else {"name": name})
    return await _posted(http, "/driver/sign-in", body, SignedIn)


async def renew(http: httpx.AsyncClient, device_token: str, *, action_id: str) -> SignedIn:
    """Exchange a device token, which works once: repeat a lost renewal with the same `action_id`. Store the answer."""
    return await _posted(http, "/driver/renew", {"deviceToken": device_token, "actionId": action_id}, SignedIn)


async def sign_out(http: httpx.AsyncClient, device_token: str) -> None:
    """End this device."""
    await _answered(http, "POST", "/driver/sign-out", json={"deviceToken": device_token})


async def session_of(http: httpx.AsyncClient, driver_id: str, token: str) -> Session:
    """The driver, what they have in hand, and another device that is in use. It does not make the driver present."""
    found = await _answered(http, "GET", f"/drivers/{driver_id}/session", headers=_bearer(token))
    return msgspec.convert(found, Session)


async def check_pin(http: httpx.AsyncClient, driver_id: str, token: str, assignment_id: str, pin: str) -> PinAnswer:
    """Whether the customer's PIN is right, before the handover is reported. A wrong one counts as a try: five lock it.

    "unknown" if no answer came, or the server cannot tell: the handover says it.
    """
    path = f"/drivers/{driver_id}/assignments/{assignment_id}/pin"
    try:
        await _answered(http, "POST", path, headers=_bearer(token), json={"pin": pin, "actionId": str(uuid4())})
    except Refused as refused:
        return "wrong" if refused.code == "pin_wrong" else "locked" if refused.code == "pin_locked" else "unknown"
    except ConnectionError:
        return "unknown"
    return "right"


async def upload(
    http: httpx.AsyncClient,
    driver_id: str,
    token: str,
    assignment_id: str,
    picture: bytes,
    *,
    kind: Literal["photo", "signature"],
    action_id: str,
) -> str:
    """Send a photo or signature of a handover; the proof's id. Send it before the handover that needs it."""
    path = f"/drivers/{driver_id}/assignments/{assignment_id}/proofs"
    query = {"kind": kind, "actionId": action_id, "present": "0"}
    done = await _answered(http, "POST", path, params=query, headers=_bearer(token), content=picture)
    proof_id: str = done["id"]
    return proof_id


async def hand_in(http: httpx.AsyncClient, driver_id: str, token: str, deed: m.Deed) -> m.Result:
    """Report a deed from a device that the driver does not use now: it takes nothing over, and makes nobody present."""
    call = m.as_call(driver_id, deed)
    done = await _answered(http, "POST", call.path, params={"present": "0"}, headers=_bearer(token), json=call.body)
    return msgspec.convert(done, m.Result)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def _posted(http: httpx.AsyncClient, path: str, body: m.Frame, kind: type[T]) -> T:
    return msgspec.convert(await _answered(http, "POST", path, json=body), kind)


async def _answered(
    http: httpx.AsyncClient,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    params: dict[str, str] | None = None,
    json: m.Frame | None = None,
    content: bytes | None = None,
) -> m.Frame:
    try:
        answer = await http.request(method, path, headers=headers, params=params, json=json, content=content)
        body: m.Frame = answer.json() if answer.content else {}
    except (httpx.TransportError, OSError, ValueError) as error:
        raise ConnectionError(str(error)) from None
    if not answer.is_success:
        raise Refused(body.get("code", ""), body.get("detail", ""), body)
    return body
