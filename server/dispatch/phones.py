"""Phone numbers as phones dial them."""

import re
from typing import Final

_ABROAD: Final = re.compile(r"^\s*(?:\(\s*(?:00|\+)\s*([1-9]\d{0,2})\s*\)|(?:00|\+)\s*([1-9]))")
_TRUNK: Final = re.compile(r"\s*\(\s*0\s*\)\s*")


def dialled(text: str) -> str:
    """The number as a phone dials it: with `+` for `00`, and without the `(0)` that nobody dials after the code of a
    country. Others stay as they are.
    """
    found = _ABROAD.match(text)
    if found is None:
        return text
    rest = text[found.end() :]
    return f"+{found[1] or found[2]}" + _TRUNK.sub(" ", rest, count=1)


_BETWEEN: Final = re.compile(r"[\s()/.\u2010-\u2015-]")


def phone_key(text: str) -> str:
    """Equal for two ways to write one number: `0049 (0)30 901820` is +49 30/901820."""
    return _BETWEEN.sub("", dialled(text))
