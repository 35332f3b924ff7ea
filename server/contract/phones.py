"""Phone numbers as people write them."""

import re
from typing import Final

from server.contract.personal import phone_digits
from server.dispatch.phones import dialled

_NUMBER: Final = re.compile(r"[+(]?[\d\s()./-]+")
FEWEST_DIGITS: Final = 7
LONGEST_COUNTRY_CODE: Final = 3


def digits_in_any_spelling(text: str) -> str | None:
    """The digits that every spelling of this number has: without the zeros in front, and without the first digits if
    they may be the code of a country. None for what is no number, or too short to be known by it.
    """
    plain = dialled(text.strip())
    if not _NUMBER.fullmatch(plain):
        return None
    digits = "".join(sign for sign in plain if sign in "0123456789")
    if plain.startswith("+"):
        digits = digits[min(LONGEST_COUNTRY_CODE, max(0, len(digits) - FEWEST_DIGITS)) :]
    digits = digits.lstrip("0")
    return digits if len(digits) >= FEWEST_DIGITS else None


def is_same_number(one: str, other: str) -> bool:
    """Whether two spellings are of one number: also if one has the code of the country, and the other a zero."""
    short, long = sorted((phone_digits(one), phone_digits(other)), key=lambda digits: not digits.startswith("0"))
    if short == long:
        return short != ""
    national = short.lstrip("0")
    return (
        short.startswith("0")
        and not long.startswith("0")
        and len(national) >= FEWEST_DIGITS
        and long.endswith(national)
        and len(long) - len(national) <= LONGEST_COUNTRY_CODE
    )
