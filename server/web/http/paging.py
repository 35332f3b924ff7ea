"""Pages of a list by keyset: a cursor contains the key of the last item on the page and is opaque to clients.

Rows that are added or removed meanwhile do not repeat or hide others.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from server.ids import is_id
from server.web.http.errors import invalid_field

Row = TypeVar("Row")
View = TypeVar("View")
K = TypeVar("K")


class Page(Struct, Generic[View], frozen=True, rename="camel"):
    """A page of a list, and the cursor of the next one."""

    items: list[View]
    next_cursor: str | None


class Pager(Generic[K]):
    """How a list is paged: by a tuple of these types as key; a last part of type text is an id."""

    def __init__(self, kind: object) -> None:
        self._decode = msgspec.json.Decoder(kind).decode

    def key(self, cursor: str | UnsetType) -> K | None:
        """The key in a cursor, None for the first page. Raises 422 for a cursor of another list."""
        if cursor is UNSET:
            return None
        assert isinstance(cursor, str)
        try:
            key: Any = _in_utc(self._decode(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))))
        except (ValueError, OverflowError, RecursionError):
            key = None
        if key is None or (isinstance(key[-1], str) and not is_id(key[-1])):
            raise invalid_field("cursor", "is not a cursor of this list")
        return key  # type: ignore[no-any-return]

    def only(self, cursor: str | UnsetType) -> Any:
        """The value of a key with one part. Returns None and raises as `key` does."""
        key: Any = self.key(cursor)
        return key[0] if key is not None else None

    def page(self, rows: Sequence[Row], limit: int, key: Callable[[Row], K], view: Callable[[Row], View]) -> Page[View]:
        """The page of these rows; the caller reads one row more than `limit`."""
        shown = rows[:limit]
        return Page([view(row) for row in shown], cursor_of(key(shown[-1])) if len(rows) > limit else None)


def _in_utc(key: Any) -> Any:
    """The key with its instants in UTC. Raises OverflowError for one that is before or after all years there."""
    if isinstance(key, tuple):
        return tuple(_in_utc(part) for part in key)
    return key.astimezone(UTC) if isinstance(key, datetime) else key


BY_ID: Final = Pager[tuple[str]](tuple[str])
BY_NUMBER: Final = Pager[tuple[int]](tuple[Annotated[int, Meta(ge=0, le=2**62)]])
BY_RANK: Final = Pager[tuple[int, datetime, str]](
    tuple[Annotated[int, Meta(ge=0, le=1000)], Annotated[datetime, Meta(tz=True)], str]
)
BY_INSTANT: Final = Pager[tuple[datetime, str]](tuple[Annotated[datetime, Meta(tz=True)], str])


def cursor_of(key: object) -> str:
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")
