r"""Texts that JSON allows and the database does not.

Half a character, such as `"a\ud83d"`, which JavaScript writes after it cut an emoji in two: msgspec refuses the whole
document without naming the field. Only refused documents come here, so it may be slow. And NUL, which msgspec takes.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import Struct

HALF_CHARACTER: Final = "must not contain half a character (a surrogate without its other half)"


def is_whole(text: str) -> bool:
    """Whether every character is complete, so that UTF-8 can hold the text."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def parsed(raw: bytes | str) -> object:
    """The document, also if its texts contain half characters; None if it is not valid JSON in UTF-8."""
    try:
        return json.loads(raw.decode() if isinstance(raw, bytes) else raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def half_character_in(raw: bytes | str) -> str | None:
    """The path of a text with half a character, such as `pickup.address`; None if there is none, or if this is not
    valid JSON.
    """
    left: list[tuple[str, Any]] = [("", parsed(raw))]
    while left:
        at, value = left.pop()
        if isinstance(value, str) and not is_whole(value):
            return at
        if isinstance(value, list):
            left += [(f"{at}[{index}]", item) for index, item in enumerate(value)]
        if isinstance(value, dict):
            for name, item in value.items():
                place = f"{at}.{name}" if at else name
                if not is_whole(name):
                    return place.encode("utf-8", "replace").decode()[:200]
                left.append((place, item))
    return None


def nul_in(value: object, at: str = "") -> str | None:
    """The wire path of a text with a NUL in a decoded document, if any."""
    if isinstance(value, str):
        return at if "\x00" in value else None
    inside: Iterator[tuple[str, Any]] = iter(())
    if isinstance(value, Struct):
        fields = msgspec.structs.fields(value)
        inside = ((f.encode_name, getattr(value, f.name)) for f in fields)
    elif isinstance(value, (list, tuple)):
        inside = ((f"[{index}]", item) for index, item in enumerate(value))
    for name, item in inside:
        found = nul_in(item, name if not at else at + name if name.startswith("[") else f"{at}.{name}")
        if found is not None:
            return found
    return None


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
