"""What was found valid counts as valid for a second without another read."""

import time
from collections.abc import Callable, Coroutine
from typing import Final, Generic, TypeVar

from server.tasks import SharedReads

Found = TypeVar("Found")

FRESH_SECONDS: Final = 1.0
"""How long a valid key or session is cached: what ends on another node ends here within this time."""


class FreshReads(Generic[Found]):
    """Reads of keys or sessions by their hash, shared by all who ask at once. At most `limit` results are cached."""

    def __init__(self, name: str, limit: int) -> None:
        self._limit = limit
        self._good: dict[str, tuple[Found, float]] = {}
        self._reads = SharedReads[Found | None](name)

    async def of(self, key: str, read: Callable[[], Coroutine[None, None, Found | None]]) -> Found | None:
        """What is cached for this key, or what `read` returns or raises: None for what is not valid."""
        known = self._good.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        return await self._reads.of(key, lambda: self._read(key, read))

    async def _read(self, key: str, read: Callable[[], Coroutine[None, None, Found | None]]) -> Found | None:
        asked_at = time.monotonic()
        self._good.pop(key, None)
        found = await read()
        if found is not None and self._reads.is_current(key):  # else it was forgotten during the read
            if len(self._good) >= self._limit:
                self._good.clear()
            self._good[key] = (found, asked_at + FRESH_SECONDS)
        return found

    def forget(self, key: str) -> None:
        """It is no longer valid: later callers get a new read."""
        self._good.pop(key, None)
        self._reads.forget(key)

    def forget_all(self, ended: Callable[[str, Found], bool]) -> None:
        """The same for every key and result that `ended` is true for. Reads that run are not cached."""
        for key, (found, _) in list(self._good.items()):
            if ended(key, found):
                del self._good[key]
        self._reads.forget_all()
