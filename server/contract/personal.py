"""Removes personal data from documents: events, messages, webhook bodies, details of a row.

The form of a document is kept: an erased text is null, a reason in free text is `erased`. Ids, times, states, money,
store names and codes are kept. Coordinates are rounded to about 100 m.
"""

import re
from collections.abc import Iterator
from typing import Final

from server.contract import words
from server.dispatch.model import ERASED

PERSONAL: Final = frozenset(
    {"address", "name", "phone", "notes", "note", "endNote", "acknowledgementNote", "pin", "text"}
)
"""Fields that are personal in any document."""
CODES: Final = frozenset({"verified", "unverified"})
"""The result of a PIN check, in a field with the same name as the PIN."""
REASONS: Final = frozenset({"reason", "endReason"})
POINT: Final = frozenset({"lat", "lon"})
DECIMALS: Final = 3
_WORDS: Final = "|".join(
    sorted(code for code in {ERASED, *words.FAILURES, *words.NOT_TAKEN, *words.REASONS} if code.isalpha())
)
CODE: Final = rf"^([a-z][a-z0-9]*_[a-z0-9_]{{1,60}}|{_WORDS})$"
"""A reason that is a code: several words, or a single one that the server knows. Any other, such as a name, is free
text."""

_is_code: Final = re.compile(CODE).search


def without_people(value: object) -> object:
    """This JSON value without personal data, at any depth."""
    if isinstance(value, dict):
        return {name: _field(name, held) for name, held in value.items()}
    if isinstance(value, list):
        return [without_people(held) for held in value]
    return value


def phones_in(value: object) -> Iterator[str]:
    """Every phone in this JSON value, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("phone"), str):
            yield value["phone"]
        for held in value.values():
            yield from phones_in(held)
    elif isinstance(value, list):
        for held in value:
            yield from phones_in(held)


def _field(name: str, value: object) -> object:
    if name in PERSONAL:
        return value if isinstance(value, str) and name == "pin" and value in CODES else None
    if name in REASONS and isinstance(value, str):
        return value if _is_code(value) else ERASED
    if name in POINT and isinstance(value, float):
        return round(value, DECIMALS)
    return without_people(value)
