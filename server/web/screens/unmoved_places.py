"""Addresses that change in a form while their positions stay, which are asked about before they are saved.

Maps, trips and estimates use the position: with the new address only, a driver is led to the old place.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from server.web.api.geocoding import PLACES
from server.web.http.forms import Form

RIGHT: Final = "right"
"""The field of a form whose values confirm positions. A new address is asked about again."""

Located = Mapping[str, tuple[str, str]]
"""By place, an address and the position that belongs to it, as a form has them."""


def located_in(form: Form) -> dict[str, tuple[str, str]]:
    """What the form filled in: an order that is copied, or a store or customer that it knows."""
    found = {}
    for place in PLACES:
        try:
            found[place] = msgspec.json.decode(form.last(f"{place}.before"), type=tuple[str, str])
        except (ValueError, msgspec.MsgspecError):
            continue
    return found


def unmoved_places(before: Located, after: Located) -> dict[str, str]:
    """The places with another address at the position of the one before, and what confirms each."""
    return {
        place: f"{place} {address}"
        for place, (address, at) in after.items()
        if place in before and at == before[place][1] and _is_other(before[place][0], address)
    }


def _is_other(before: str, after: str) -> bool:
    """A position without an address may get one, and may lose it."""
    old, new = ("".join(text.casefold().replace(",", " ").split()) for text in (before, after))
    return bool(old and new) and old != new


def is_confirmed(unmoved: Mapping[str, str], ticked: Sequence[str]) -> bool:
    """Whether all of them are."""
    return all(one in ticked for one in unmoved.values())
