"""The text format of instants in dispatch."""

from datetime import datetime
from functools import lru_cache


@lru_cache(4096)
def instant(at: datetime) -> str:
    """RFC 3339 in UTC with milliseconds: `2026-02-01T10:00:00.000Z`. `at` must be in UTC."""
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def instant_or_none(at: datetime | None) -> str | None:
    """As `instant`, None for None."""
    return None if at is None else instant(at)
