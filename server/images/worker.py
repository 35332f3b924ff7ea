"""Images that drivers upload, decoded and encoded anew without their metadata, in a separate process.

An image comes from outside, and decoders have had bugs: so the process has limits of memory, CPU and time, no
connection, and no secret in its environment, and ends after one image.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

PACKAGES: Final = Path(__file__).parent.parent.parent
"""Where `server` is imported from."""
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
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "server.images",
        kind,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=PACKAGES,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        async with asyncio.timeout(seconds):
            result, _ = await process.communicate(data)
    except TimeoutError:
        raise BadImage("it takes too long to decode") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0 or not result:
        raise BadImage("it cannot be decoded")
    return result
