"""Times that a person writes into a form, and those in the past, which are asked about before they are saved."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from server.settings import time_zone_of
from server.texts.speech import said
from server.web.http.caller import Call
from server.web.http.current_node import node_of

PAST: Final = "past"
"""The field of a form whose value confirms its times in the past."""
SLACK: Final = timedelta(seconds=90)
"""A form has whole minutes, so the minute that has just begun is not past."""


def instant_in(request: Call, text: str) -> str:
    """The time of a form, in the company's zone, as RFC 3339. Raises ValueError with a sentence."""
    return _at(request, text).isoformat()


def _at(request: Call, text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(said("Write the time like 2026-02-01T18:30.")) from None
    return at if at.tzinfo is not None else at.replace(tzinfo=time_zone_of(node_of(request).settings.time_zone))


def past_times(request: Call, filled: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Of these fields, which have good times or are empty, those in the past, with what is written there."""
    before = node_of(request).clock.now() - SLACK
    times = {name: filled[name] for name in names if filled[name]}
    return {name: text.replace("T", " ") for name, text in times.items() if _at(request, text) < before}


def confirmation(past: Mapping[str, str]) -> str:
    """What a form sends to confirm these times. Others are asked about again."""
    return "; ".join(f"{name} {text}" for name, text in past.items())
