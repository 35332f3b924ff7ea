"""Reasons of a driver for rejecting, releasing or failing: a code of a closed set, and a note as free text."""

from typing import Final

from server.dispatch.names import visible

OTHER: Final = "other"
REJECTION: Final = frozenset({"too_far", "low_pay", "vehicle", "unwell", "wrong_direction", "shop_slow", OTHER})
RELEASE: Final = frozenset({"vehicle", "unwell", "too_far", "shop_closed", "shop_slow", "unsafe", OTHER})
FAILURE: Final = frozenset({"recipient_absent", "refused", "wrong_address", "damaged", "unsafe", OTHER})


def coded(text: str | None, note: str | None, codes: frozenset[str]) -> tuple[str | None, str | None]:
    """The code and the note of a reason. An unknown text becomes `other` with the text as note, before the given note.
    An empty text is no reason.
    """
    text, note = visible(text), visible(note)
    if text is None:
        return None, note
    if text in codes:
        return text, note
    return OTHER, text if note is None else f"{text}: {note}"
