"""How the screens write times, durations, amounts and levels, and the reasons that their dialogs suggest."""

import re
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final

from server.dispatch.money import EXPONENTS
from server.dispatch.policy import Policy
from server.texts.speech import ENGLISH, Speech, later

BETWEEN: Final = re.compile(r"(?<=[A-Za-z])(?=\d)")
"""Where CLDR has a space between a currency's code and the amount, and Babel has none."""

REASONS_TO_REASSIGN: Final = (
    later("Driver asked for it"),
    later("Driver does not answer"),
    later("Driver is late"),
    later("Vehicle trouble"),
    later("Driver is unwell"),
)
REASONS_TO_PAUSE: Final = (later("Driver does not answer"), later("Vehicle trouble"), later("Driver is unwell"))
"""Those of `REASONS_TO_REASSIGN` with which the dialog suggests to pause the driver too."""
REASONS_TO_CANCEL: Final = (
    later("Customer cancelled"),
    later("Store closed"),
    later("Out of stock"),
    later("Placed twice"),
    later("No driver found"),
)
REASONS_TO_ASSIGN: Final = (later("Waiting too long"), later("Nearest driver"), later("Agreed by phone"))
REASONS_FOR_AVAILABILITY: Final = (
    later("Asked by phone"),
    later("Does not answer"),
    later("Vehicle trouble"),
    later("Unwell"),
    later("End of the day"),
)
REASONS_TO_DELAY: Final = (later("Kitchen is busy"), later("Short of staff"), later("An item is missing"))
REASONS_TO_RETRY: Final = (
    later("Recipient is there now"),
    later("Address corrected"),
    later("Customer asked for it"),
)
REASONS_TO_REPORT: Final = (later("Phone is dead"), later("No network"), later("Reported by phone"))
REASONS_TO_DELIVER: Final = (*REASONS_TO_REPORT, later("PIN could not be checked"))


def shape(level: int, policy: Policy) -> str:
    """The shape of a level, so that nobody needs colour: how near it is to the top of the ladder."""
    if level <= 0:
        return "calm"
    above = sum(rung.level > level for rung in policy.escalation)
    return ("top", "high")[above] if above < 2 else "low"


def span(seconds: float, speech: Speech = ENGLISH) -> str:
    """A duration in two units at most: `45 s`, `12 min`, `3 h 5 min`."""
    total = max(0, round(seconds))
    if total < 60:
        return speech.said("{seconds} s", seconds=total)
    minutes, seconds = divmod(total, 60)
    if minutes < 60:
        if not seconds or minutes >= 10:
            return speech.said("{minutes} min", minutes=minutes)
        return speech.said("{minutes} min {seconds} s", minutes=minutes, seconds=seconds)
    hours, minutes = divmod(minutes, 60)
    if minutes:
        return speech.said("{hours} h {minutes} min", hours=hours, minutes=minutes)
    return speech.said("{hours} h", hours=hours)


def seconds(value: float, speech: Speech = ENGLISH) -> str:
    """A duration that is mostly short: tenths below ten seconds, `2.3 s`, else as `span` says it."""
    if value < 0.05:
        return speech.said("less than {seconds} s", seconds=speech.decimal(0.1))
    return speech.said("{seconds} s", seconds=speech.decimal(value)) if value < 10 else span(value, speech)


def percent(share: float, speech: Speech = ENGLISH) -> str:
    """A share in percent, with one decimal below ten: `85%`, `4.3%`, `0%`."""
    value = round(share * 100, 1)
    digits = 0 if value >= 10 or value == int(value) else 1
    return speech.said("{number}%", number=speech.decimal(value, digits))


def in_zone(at: datetime, zone: tzinfo) -> datetime:
    """The instant in this time zone; at the ends of the calendar, where it would be in no year, in UTC."""
    try:
        return at.astimezone(zone)
    except OverflowError:
        return at


def clock(at: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
    """The time of day in the organisation's time zone."""
    local = in_zone(at, zone)
    return f"{local.hour:02}:{local.minute:02}:{local.second:02}" if seconds else f"{local.hour:02}:{local.minute:02}"


def day_and_clock(at: datetime | None, zone: tzinfo, *, seconds: bool = False, speech: Speech = ENGLISH) -> str:
    """The day with its year and the time in the organisation's time zone; empty if there was no such time."""
    if at is None:
        return ""
    day = speech.dated(in_zone(at, zone), "EEE dd MMM y", "yMMMEd")
    return f"{day}, {clock(at, zone, seconds=seconds)}"


def lately(at: datetime, zone: tzinfo, *, now: datetime | None = None, speech: Speech = ENGLISH) -> str:
    """The time of day, to the second, if it was today; else the day and the minute, with the year if not this one."""
    here, today = in_zone(at, zone), (now or datetime.now(zone)).astimezone(zone)
    if here.date() == today.date():
        return clock(at, zone, seconds=True)
    day = speech.dated(here, "dd MMM", "MMMd") if here.year == today.year else speech.dated(here, "dd MMM y", "yMMMd")
    return f"{day} {clock(at, zone)}"


def money(cents: int | None, currency: str, speech: Speech = ENGLISH) -> str:
    """An amount of minor units with its currency as CLDR writes it: `$54.00`, `¥1,250`, `TND 1.500`."""
    if cents is None:
        return ""
    digits = EXPONENTS.get(currency, 2)
    return BETWEEN.sub("\u00a0", speech.money(Decimal(cents).scaleb(-digits), currency, digits))
