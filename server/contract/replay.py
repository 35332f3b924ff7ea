"""Stored messages of a driver's stream, made fit to be sent again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from msgspec import UNSET

from server.contract.messages import OfferMade
from server.contract.views import DrivenAssignmentView, parse_instant, to_json

_OFFER: Final = '{"type":"offer",'
_ASSIGNMENT: Final = '{"type":"assignment",'
_MESSAGE: Final = '{"type":"message",'
_ERASED: Final = '"text":null'
_decode_offer: Final = msgspec.json.Decoder(OfferMade).decode
_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode

_WHILE_ACTIVE: Final = [
    field.encode_name for field in msgspec.structs.fields(DrivenAssignmentView) if field.default is UNSET
]
_OF_A_POINT: Final = ("lat", "lon", "address")


def replayed(bodies: Sequence[str], now: datetime) -> list[str]:
    """The last messages of a stream, up to its end, as they read at `now`.

    1. An offer's `remainingMs` counts from the moment of sending.
    2. An assignment that has ended since shows as little of the job as the message that says so.
    3. The text of a message that was erased is empty.
    """
    read = [_as_of(body, now) for body in bodies]
    if any(body.startswith(_ASSIGNMENT) for body in bodies):
        _hide_what_has_ended(read)
    return read


def _as_of(body: str, now: datetime) -> str:
    if body.startswith(_MESSAGE):
        return body.replace(_ERASED, '"text":""')
    if not body.startswith(_OFFER):
        return body
    made = _decode_offer(body)
    left = (parse_instant(made.offer.expires_at) - now).total_seconds() * 1000
    offer = msgspec.structs.replace(made.offer, remaining_ms=max(0, round(left)))
    return to_json(msgspec.structs.replace(made, offer=offer))


def _hide_what_has_ended(bodies: list[str]) -> None:
    """From the end: what follows about an assignment is known before."""
    over: set[str] = set()
    for place in reversed(range(len(bodies))):
        if not bodies[place].startswith(_ASSIGNMENT):
            continue
        message = _decode(bodies[place])
        shown = message["assignment"]
        if shown["status"] != "ACTIVE":
            over.add(shown["id"])
        elif shown["id"] in over:
            for name in _WHILE_ACTIVE:
                shown.pop(name, None)
            for end in ("pickup", "dropoff"):
                shown[end] = {name: held for name, held in shown[end].items() if name in _OF_A_POINT}
            bodies[place] = to_json(message)
