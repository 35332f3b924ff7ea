"""Pictures of handovers: each is of one colour, made from the id of the action that uploads it, so that a stored
one says whose it is.
"""

import hashlib
import io
from typing import Any, Final

from msgspec import Struct
from PIL import Image, UnidentifiedImageError

EDGE: Final = 16
NEARLY: Final = 6
"""By how much a JPEG may change one part of a colour."""

Colour = tuple[int, int, int]


class StoredImage(Struct, frozen=True):
    """What an HTTP call for a stored picture brought. No colour if it is not an image."""

    status: int
    colour: Colour | None = None


def colour_of(action_id: str) -> Colour:
    """The colour of this action's picture."""
    red, green, blue = hashlib.sha256(action_id.encode()).digest()[:3]
    return red, green, blue


def picture_of(action_id: str) -> bytes:
    """A PNG."""
    written = io.BytesIO()
    Image.new("RGB", (EDGE, EDGE), colour_of(action_id)).save(written, "PNG")
    return written.getvalue()


def downloaded(status: int, content: bytes) -> StoredImage:
    """What is in an answer."""
    try:
        pixel: Any = Image.open(io.BytesIO(content)).convert("RGB").getpixel((EDGE // 2, EDGE // 2))
    except UnidentifiedImageError:
        return StoredImage(status)
    return StoredImage(status, pixel)


def is_of(colour: Colour | None, action_id: str) -> bool:
    """Whether a stored picture is that of this action."""
    expected = colour_of(action_id)
    return colour is not None and all(abs(a - b) <= NEARLY for a, b in zip(colour, expected, strict=True))
