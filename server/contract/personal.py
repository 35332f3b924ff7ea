"""Removes personal data from documents: events, messages, webhook bodies, details of a row.

The form of a document is kept: an erased text is null, a reason in free text is `erased`. Ids, times, states, money,
store names and codes are kept. Coordinates are rounded to about 100 m.
"""

import re
import unicodedata
from functools import cache
from typing import Final

from server.contract import words
from server.dispatch.model import ERASED
from server.dispatch.names import with_ascii_digits

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


def phone_digits(text: str) -> str:
    """The digits to compare a phone by: +49 30 …, +49 (0)30 … and 0049 30 … are one phone."""
    return re.sub("^00", "", re.sub("[^0-9]", "", with_ascii_digits(text).replace("(0)", "")))


def masked(text: str) -> str:
    """The first letter of each word: enough to know somebody again, not enough to know who it is."""
    return " ".join(f"{word[0]}…" for word in text.split())


@cache
def _spellings() -> dict[str, str]:
    """A digit -> the class of its characters in all scripts. Those of the planes above have no digits."""
    found: dict[str, str] = {}
    for sign in re.findall(r"\d", "".join(map(chr, range(0x20000)))):
        digit = str(unicodedata.decimal(sign))
        found[digit] = found.get(digit, "") + sign
    return {digit: f"[{signs}]" for digit, signs in found.items()}


def phone_pattern(digits: str) -> str:
    """A regular expression, for PostgreSQL too, that finds a phone with these digits, also of other scripts, in a text.

    It finds a little too much: the zero of 49 (0) 30 may be one of the digits or not.
    """
    between = r"([^0-9A-Za-z]|\(0\)){0,5}"
    spellings = _spellings()
    return "(^|[^0-9])(00)?" + between.join(spellings[digit] for digit in digits) + "([^0-9]|$)"


def names_phone(value: object, digits: str) -> bool:
    """Whether a phone field in this JSON value is this phone, or any other personal text or reason contains it."""
    pattern = re.compile(f"(?<![0-9])(00)?{'[^0-9A-Za-z]{0,5}'.join(digits)}(?![0-9])")

    def is_named(name: str | None, held: object) -> bool:
        if isinstance(held, dict):
            return any(is_named(name if name in PERSONAL else key, inner) for key, inner in held.items())
        if isinstance(held, list):
            return any(is_named(name, inner) for inner in held)
        if not isinstance(held, str) or name not in PERSONAL | REASONS:
            return False
        if name == "phone":
            return phone_digits(held) == digits
        return pattern.search(with_ascii_digits(held).replace("(0)", "")) is not None

    return is_named(None, value)


def _field(name: str, value: object) -> object:
    if name in PERSONAL:
        if isinstance(value, dict):
            return {key: _field(name, held) for key, held in value.items()}
        return value if isinstance(value, str) and name == "pin" and value in CODES else None
    if name in REASONS and isinstance(value, str):
        return value if _is_code(value) else ERASED
    if name in POINT and isinstance(value, float):
        return round(value, DECIMALS)
    return without_people(value)
