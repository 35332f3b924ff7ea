"""Images in and out: types by content, sizes, and the encoding without metadata."""

from io import BytesIO
from typing import Final

TYPES: Final = ("image/jpeg", "image/png", "image/webp")
PIXELS: Final = 50_000_000
"""More are not decoded: a small file can declare a huge image."""
EDGE: Final = {"photo": 2048, "signature": 1024}
"""The longest edge of the result in pixels."""
OUTPUT: Final = {"photo": ("JPEG", "image/jpeg"), "signature": ("PNG", "image/png")}


def type_of(data: bytes) -> str | None:
    """The type of the image by its content, or None for anything else."""
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return None


def encode(data: bytes, kind: str) -> bytes:
    """Decode and encode in this process. Raises what Pillow raises, and ValueError for too many pixels."""
    from PIL import Image, ImageOps  # only in the process that decodes

    form, _ = OUTPUT[kind]
    image: Image.Image = Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    if image.width * image.height > PIXELS:
        raise ValueError("too many pixels")
    edge = EDGE[kind]
    image.draft("RGB", (edge, edge))
    image.thumbnail((edge, edge))
    image = ImageOps.exif_transpose(image)
    plain = Image.new("RGB", image.size, "white")  # new, so that nothing of the file but its pixels is left
    opaque = image.convert("RGBA")
    plain.paste(opaque, mask=opaque.getchannel("A"))
    written = BytesIO()
    plain.save(written, form, **({"quality": 85} if form == "JPEG" else {}))
    return written.getvalue()
