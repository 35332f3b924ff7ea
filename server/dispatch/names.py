"""Names that people type: zones and tags. Spellings with the same key are one name."""

import unicodedata
from functools import lru_cache


@lru_cache(maxsize=16_384)
def name_key(name: str) -> str:
    """The key of a name: NFC, without case, with one blank between words and none around them."""
    return spelling(unicodedata.normalize("NFC", name).casefold())


def spelling(name: str) -> str:
    """The name to show: NFC, with one blank between words and none around them."""
    return " ".join(unicodedata.normalize("NFC", name).split())
