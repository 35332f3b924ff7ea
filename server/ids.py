"""New ids: UUIDv7, as the canonical lower-case strings that ids are everywhere inside Callboard."""

import re
from datetime import datetime
from typing import Final
from uuid import UUID, uuid5

from uuid_utils import uuid7

FIRST_ID: Final = "00000000-0000-0000-0000-000000000000"
"""Before every id."""

_CANONICAL = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch


def new_id() -> str:
    """A new time-ordered UUID."""
    return str(uuid7())


def first_id_at(at: datetime) -> str:
    """An id below all ids that are made at this time or later, by the same clock."""
    milliseconds = min(max(0, int(at.timestamp() * 1000)), 2**48 - 1)
    return str(UUID(int=milliseconds << 80))


def derived_id(of: str, name: str) -> str:
    """The id of what `of` names `name`: the same for the same two."""
    return str(uuid5(UUID(of), name))


def is_id(text: str) -> bool:
    """Whether `text` is an id in the one form used inside: lower case, with dashes."""
    return _CANONICAL(text) is not None


def canonical(text: str) -> str | None:
    """The id in its one form, or None if no id reads so."""
    if is_id(text):
        return text
    lower = text.lower()
    return lower if is_id(lower) else None
