"""Pages of a list by keyset: a cursor is the key of the last item shown, opaque to clients.

Rows that come or go meanwhile neither repeat nor hide others.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from server.ids import is_id
from server.web.http.errors import invalid_field

Row = TypeVar("Row")
K = TypeVar("K")


class Pager(Generic[K]):
    """How one list is cut into pages: by keys of this kind, a tuple whose last part, if text, is an id."""

    def __init__(self, kind: Any) -> None:
        self._decode = msgspec.json.Decoder(kind).decode

    def key(self, cursor: str | UnsetType) -> K | None:
        """The key in a cursor, None for the first page. Raises 422 for what is no cursor of this list."""
        if cursor is UNSET:
            return None
        assert isinstance(cursor, str)
        try:
            key: Any = self._decode(urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)))
        except (ValueError, RecursionError):
            key = None
        if key is None or (isinstance(key[-1], str) and not is_id(key[-1])):
            raise invalid_field("cursor", "is not a cursor of this list")
        return key  # type: ignore[no-any-return]

    def page(
        self, rows: Sequence[Row], limit: int, key: Callable[[Row], K], view: Callable[[Row], Any]
    ) -> dict[str, Any]:
        """`{items, nextCursor}` of rows, of which one more than `limit` was asked for."""
        more = len(rows) > limit
        shown = rows[:limit]
        return {
            "items": [view(row) for row in shown],
            "nextCursor": cursor_of(key(shown[-1])) if more else None,
        }


BY_ID: Final = Pager[tuple[str]](tuple[str])
BY_NUMBER: Final = Pager[tuple[int]](tuple[Annotated[int, Meta(ge=0, le=2**62)]])
BY_INSTANT: Final = Pager[tuple[datetime, str]](tuple[Annotated[datetime, Meta(tz=True)], str])


def cursor_of(key: Any) -> str:
    """A key as clients carry it."""
    return urlsafe_b64encode(msgspec.json.encode(key)).decode().rstrip("=")
