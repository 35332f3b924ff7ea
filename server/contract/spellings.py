"""How people write words with and without the marks on their letters: José is Jose, Müller is Muller or Mueller. Pure.

The function `search_words` of the schema adds the same spellings to a text, so a search finds each by the other.
"""

import re
import unicodedata
from typing import Final

WITHOUT_MARK: Final[dict[str, str | int | None]] = {
    "ß": "ss", "ẞ": "SS", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "þ": "th", "Þ": "TH",
    "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ı": "i",
}  # fmt: skip
"""Letters that are no letter with a mark in Unicode."""
AS_TWO: Final[dict[str, str | int | None]] = {
    "ä": "ae", "Ä": "AE", "ö": "oe", "Ö": "OE", "ü": "ue", "Ü": "UE", "å": "aa", "Å": "AA", "ø": "oe", "Ø": "OE",
}  # fmt: skip
"""Letters that people without them write as two."""
_MARKS: Final = re.compile("[\u0300-\u036f]+")


def spellings(text: str) -> tuple[str, ...]:
    """The text as it is, composed and decomposed, and without marks in both ways; each once."""
    composed = unicodedata.normalize("NFC", text)
    decomposed = unicodedata.normalize("NFD", text)
    as_two = composed.translate(str.maketrans(AS_TWO))
    return tuple(dict.fromkeys((composed, decomposed, without_marks(composed), without_marks(as_two))))


def without_marks(text: str) -> str:
    """The text with plain letters."""
    plain = text.translate(str.maketrans(WITHOUT_MARK))
    return unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", plain)))
