"""Texts that people type. Names of zones and tags: spellings with the same key are one name. Blanks, zero-width
characters and byte order marks alone are no text.
"""

import re
import unicodedata
from functools import lru_cache
from typing import Final

INVISIBLE: Final = (
    r"\s\u0000-\u0020\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f"
    r"\u205f-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
)
"""The inside of a class of a regular expression: characters that nobody can see."""
_seen = re.compile(f"[^{INVISIBLE}]").search


def visible(text: str | None) -> str | None:
    """The text without blanks around it, or None if there is nothing to see."""
    return text.strip() if text and _seen(text) else None


@lru_cache(maxsize=16_384)
def name_key(name: str) -> str:
    """The key of a name: NFC, without case, with one blank between words and none around them."""
    return spelling(unicodedata.normalize("NFC", name).casefold())


def spelling(name: str) -> str:
    """The name to show: NFC, with one blank between words and none around them."""
    return " ".join(unicodedata.normalize("NFC", name).split())
