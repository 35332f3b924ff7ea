"""Finds COMMITs in what a client sends to PostgreSQL, without looking at anything else in it."""

import re
from typing import Final

_UNTYPED: Final = frozenset({80877103, 80877104})
"""Requests for TLS and GSS come before the startup message and have no kind either."""
_COMMIT: Final = re.compile(rb"\s*(COMMIT|END)\b", re.IGNORECASE)
_ENOUGH: Final = 32
"""Bytes of a query in which its first word must stand."""


class CommitWatch:
    """Follows one connection from its first byte on, however the bytes are cut into pieces."""

    def __init__(self) -> None:
        self._started = False
        self._head = b""
        self._skip = 0
        self._query: bytes | None = None

    def feed(self, data: bytes) -> bool:
        """Whether a query with COMMIT came to its end in these bytes."""
        found, at = False, 0
        while at < len(data):
            if self._skip:
                taken = data[at : at + self._skip]
                at += len(taken)
                self._skip -= len(taken)
                if self._query is not None and len(self._query) < _ENOUGH:
                    self._query += taken
                if not self._skip:
                    found = found or (self._query is not None and _COMMIT.match(self._query) is not None)
                    self._query = None
                continue
            wanted = 5 if self._started else 8
            taken = data[at : at + wanted - len(self._head)]
            at += len(taken)
            self._head += taken
            if len(self._head) == wanted:
                self._message()
        return found

    def _message(self) -> None:
        head, self._head = self._head, b""
        if not self._started:
            self._skip = int.from_bytes(head[:4]) - 8
            self._started = int.from_bytes(head[4:]) not in _UNTYPED
            return
        self._skip = int.from_bytes(head[1:]) - 4
        self._query = b"" if head[:1] == b"Q" else None
