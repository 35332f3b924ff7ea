"""The forms of the board: reasons, notes, ids and availability, each mistake one plain sentence."""

from typing import Final, cast, get_args

from server.dispatch.model import Availability
from server.ids import canonical
from server.texts.speech import said
from server.web.http.forms import Form, FormInvalid

REASON_LIMIT: Final = 500
NOTE_LIMIT: Final = 1000
TEXT_LIMIT: Final = 1000
OTHER: Final = "other"


class BoardForm(Form):
    """A form of the board: its reasons, notes and ids."""

    def reason(self) -> str:
        """A common reason, or the person's own words if they chose those (or wrote any)."""
        own, chosen = self.text("own_reason"), self.text("reason")
        reason = own if own and chosen in ("", OTHER) else chosen
        if reason == OTHER or not reason:
            raise FormInvalid(said("Choose a reason, or write your own."))
        if own and own != reason:
            reason = f"{reason}: {own}"
        if len(reason) > REASON_LIMIT:
            raise FormInvalid(said("A reason has at most {count} characters.", count=REASON_LIMIT))
        return reason

    def note(self) -> str | None:
        note = self.text("note")
        if len(note) > NOTE_LIMIT:
            raise FormInvalid(said("A note has at most {count} characters.", count=NOTE_LIMIT))
        return note or None

    def message(self) -> str:
        text = self.text("text")
        if not text:
            raise FormInvalid(said("Write a message."))
        if len(text) > TEXT_LIMIT:
            raise FormInvalid(said("A message has at most {count} characters.", count=TEXT_LIMIT))
        return text

    def id(self, name: str, otherwise: str) -> str:
        """An id. `otherwise` is said if there is none."""
        found = self.optional_id(name)
        if found is None:
            raise FormInvalid(otherwise)
        return found

    def optional_id(self, name: str) -> str | None:
        text = self.text(name)
        if not text:
            return None
        known = canonical(text)
        if known is None:
            raise FormInvalid(said("There is no driver with this id."))
        return known

    def mode(self) -> str:
        """`offer` unless `assign`."""
        return "assign" if self.text("mode") == "assign" else "offer"

    def whole_number(self, name: str) -> int | None:
        text = self.text(name)
        if not text:
            return None
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise FormInvalid(said("{field}: enter a whole number.", field=said(name.capitalize())))
        return int(text)

    def availability(self) -> Availability:
        """One of the five."""
        text = self.text("availability")
        if text not in get_args(Availability):
            raise FormInvalid(said("Choose an availability."))
        return cast(Availability, text)


def wanted_availability(form: BoardForm) -> tuple[Availability, str, int | None]:
    """Which, why, and for how many minutes if it is a break. Raises FormInvalid."""
    availability = form.availability()
    minutes = form.whole_number("minutes") if availability == "on_break" else None
    if minutes is not None and not 1 <= minutes <= 1440:
        raise FormInvalid(said("A break lasts 1 to 1440 minutes."))
    return availability, form.reason(), minutes
