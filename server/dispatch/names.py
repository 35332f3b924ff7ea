"""Texts that people type: a digit is the same in any script. Names of zones and tags: spellings with the same key are
one name. Blanks, zero-width characters and byte order marks alone are no text.
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
_other_digit = re.compile(r"[^\D0-9]")


def visible(text: str | None) -> str | None:
    """The text without blanks around it, or None if there is nothing to see."""
    return text.strip() if text and _seen(text) else None


def with_ascii_digits(text: str) -> str:
    """The text with 0 to 9 for the digits of other scripts, such as full-width or Arabic ones."""
    return text if text.isascii() else _other_digit.sub(lambda found: str(unicodedata.decimal(found[0])), text)


@lru_cache(maxsize=16_384)
def name_key(name: str) -> str:
    """The key of a name: NFC, without case, with one blank between words and none around them."""
    return spelling(unicodedata.normalize("NFC", name).casefold())


def spelling(name: str) -> str:
    """The name to show: NFC, with one blank between words and none around them."""
    return " ".join(unicodedata.normalize("NFC", name).split())
