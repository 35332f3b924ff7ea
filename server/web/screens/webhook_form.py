"""What the screens of webhooks have in common: the form, and the strip of the last attempts."""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from server.contract.webhook_events import EVERYTHING, TYPES
from server.store.queues.webhook_log import Attempted
from server.texts.speech import later, said
from server.web.http.errors import Problem
from server.web.http.forms import Form, FormInvalid
from server.web.screens.form_words import problem_text

PATH: Final = "/webhooks"
TOPIC: Final = "webhooks"
URL_LENGTHS: Final = (8, 2000)
BAR_TALLEST: Final = 26
"""Height of the slowest attempt in the strip, which grows with the logarithm of its milliseconds."""
GROUPS: Final = {
    later("Orders"): tuple(kind for kind in TYPES if kind.startswith("delivery.")),
    later("Offers"): tuple(kind for kind in TYPES if kind.startswith("offer.")),
    later("Drivers and ops"): tuple(kind for kind in TYPES if not kind.startswith(("delivery.", "offer."))),
}


class Bar(Struct, frozen=True):
    """An attempt as a bar of the strip: how tall, and whether it was taken."""

    x: int
    height: int
    taken: bool


class WebhookForm(Struct, frozen=True):
    """A form as it was filled in, and what is wrong with it."""

    url: str = ""
    events: Sequence[str] = (EVERYTHING,)
    wrong: str | None = None


def bars(attempts: Sequence[Attempted]) -> list[Bar]:
    """The last attempts, the oldest first."""
    return [
        Bar(place * 6, round(4 + (BAR_TALLEST - 4) * min(1.0, math.log10(attempt.ms + 1) / 4)), attempt.error is None)
        for place, attempt in enumerate(reversed(attempts))
    ]


def filled_webhook(form: Form) -> WebhookForm:
    events = form.all("events")
    chosen = tuple(kind for kind in (EVERYTHING, *TYPES) if kind in events)
    return WebhookForm(form.text("url"), (EVERYTHING,) if EVERYTHING in chosen else chosen)


def checked_webhook(filled: WebhookForm) -> WebhookForm:
    """The form, if it says enough. Raises FormInvalid."""
    if not URL_LENGTHS[0] <= len(filled.url) <= URL_LENGTHS[1]:
        raise FormInvalid(said("Enter an address like https://shop.example/hooks."))
    if not filled.events:
        raise FormInvalid(said("Choose at least one event."))
    return filled


def mistake_of(problem: Problem) -> str:
    """What is wrong, for a person; what is no mistake of the form's goes on."""
    if problem.kind.status not in (409, 422):
        raise problem
    return problem_text(problem, {"url": later("Address")}, {})
