"""Images that drivers upload, decoded and encoded anew without their metadata, in a separate process."""

import asyncio
from typing import Final

from server.apart.processes import run_apart

SECONDS: Final = 10
AT_ONCE: Final = 2
"""Processes of a node at the same time."""
WAITING: Final = 8
"""Images of a node that wait or are decoded. More are refused, because each of them takes memory."""


class BadImage(Exception):
    """It cannot be decoded as an image."""


class TooManyImages(Exception):
    """Too many images at once. Try again."""


class Images:
    """Encodes images, a few at once."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    async def reencoded(self, data: bytes, kind: str, *, seconds: float = SECONDS) -> bytes:
        """The image as OUTPUT[kind], upright, no larger than EDGE[kind], without metadata. Raises BadImage, and
        TooManyImages.
        """
        if self._inside >= WAITING:
            raise TooManyImages
        self._inside += 1
        try:
            async with self._turns:
                return await _in_a_process(data, kind, seconds)
        finally:
            self._inside -= 1


async def _in_a_process(data: bytes, kind: str, seconds: float) -> bytes:
    try:
        result = await run_apart("server.images", [kind], data, seconds)
    except TimeoutError:
        raise BadImage("it takes too long to decode") from None
    if result is None:
        raise BadImage("it cannot be decoded")
    return result
