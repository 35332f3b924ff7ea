"""Uploaded images are decoded and encoded anew in a separate process, and nothing else of them is left."""

import asyncio
import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image

from server.images.encoding import EDGE, encode, type_of
from server.images.worker import WAITING, BadImage, Images, TooManyImages

SECRET = b"52.5200 N 13.4050 E"


def an_image(form: str = "JPEG", size: tuple[int, int] = (300, 200), **options: Any) -> bytes:
    """Red at the left, blue at the right."""
    image = Image.new("RGB", size, "red")
    image.paste("blue", (size[0] // 2, 0, *size))
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def with_exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = SECRET.decode()
    return an_image(exif=exif, comment=SECRET)


def bomb(edge: int = 30_000) -> bytes:
    """A small PNG of so many pixels in both directions."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", edge, edge, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(edge * (edge // 8 + 1)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("form", "kind"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
async def test_images_of_every_type_become_the_type_of_their_kind(form: str, kind: str) -> None:
    data = an_image(form)
    assert type_of(data) == kind
    images = Images()
    assert type_of(await images.reencoded(data, "photo")) == "image/jpeg"
    assert type_of(await images.reencoded(data, "signature")) == "image/png"


async def test_nothing_is_left_of_the_metadata_and_the_picture_is_upright() -> None:
    data = with_exif(orientation=6)
    assert data.count(SECRET) == 2
    result = await Images().reencoded(data, "photo")
    assert SECRET not in result
    shown = Image.open(io.BytesIO(result))
    assert not shown.getexif()
    assert shown.size == (200, 300)
    above, below = (shown.getpixel((100, y)) for y in (20, 280))
    assert isinstance(above, tuple)
    assert isinstance(below, tuple)
    assert above[0] > 200 > 50 > below[0]


async def test_a_large_picture_becomes_smaller() -> None:
    shown = Image.open(io.BytesIO(await Images().reencoded(an_image(size=(4000, 1000)), "photo")))
    assert shown.size == (EDGE["photo"], EDGE["photo"] // 4)


def test_a_transparent_signature_is_on_white() -> None:
    written = io.BytesIO()
    Image.new("RGBA", (10, 10), (0, 0, 0, 0)).save(written, "PNG")
    assert Image.open(io.BytesIO(encode(written.getvalue(), "signature"))).getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(
    "data",
    [an_image()[:400], b"\xff\xd8\xff" + b"x" * 100, b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", bomb()],
    ids=["cut off", "garbage", "a head only", "an empty container", "a bomb"],
)
async def test_what_cannot_be_decoded_is_refused(data: bytes) -> None:
    assert type_of(data) is not None
    with pytest.raises(BadImage):
        await Images().reencoded(data, "photo")


def test_a_bomb_is_small_and_refused_before_it_is_decoded() -> None:
    assert len(bomb()) < 1_000_000
    with pytest.raises(ValueError, match="too many pixels"):
        encode(bomb(8_000), "photo")


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg/>", b"%PDF-1.7", b"\xff\xd8", b"RIFF1234WAVE"])
def test_other_types_are_known_by_their_content(data: bytes) -> None:
    assert type_of(data) is None


async def test_a_process_that_takes_too_long_is_ended() -> None:
    with pytest.raises(BadImage, match="too long"):
        await Images().reencoded(an_image(), "photo", seconds=0)


async def test_only_so_many_images_wait() -> None:
    images, data = Images(), an_image(size=(10, 10))
    results = await asyncio.gather(
        *(images.reencoded(data, "photo") for _ in range(WAITING + 3)), return_exceptions=True
    )
    assert [type(result) for result in results] == [bytes] * WAITING + [TooManyImages] * 3
    assert await images.reencoded(data, "photo"), "the others are done"
