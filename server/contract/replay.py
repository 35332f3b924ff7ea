"""Stored messages of a driver's stream, made fit to be sent again."""

from datetime import datetime

import msgspec

from server.contract.messages import OfferMade
from server.contract.views import parse_instant, to_json

_OFFER = '{"type":"offer",'
_decode_offer = msgspec.json.Decoder(OfferMade).decode


def as_of(body: str, now: datetime) -> str:
    """The message as it reads at `now`: an offer's `remainingMs` counts from the moment of sending."""
    if not body.startswith(_OFFER):
        return body
    made = _decode_offer(body)
    left = (parse_instant(made.offer.expires_at) - now).total_seconds() * 1000
    offer = msgspec.structs.replace(made.offer, remaining_ms=max(0, round(left)))
    return to_json(msgspec.structs.replace(made, offer=offer))
