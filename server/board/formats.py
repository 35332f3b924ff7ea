"""How the screens write times, durations, amounts and levels, and the reasons that their dialogs suggest."""

import re
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Final

from babel import Locale
from babel.dates import format_datetime
from babel.numbers import format_currency

from server.dispatch.money import EXPONENTS
from server.dispatch.policy import Policy

LOCALE: Final = Locale("en")
"""Of the screens of ops."""
BETWEEN: Final = re.compile(r"(?<=[A-Za-z])(?=\d)")
"""Where CLDR has a space between a currency's code and the amount, and Babel has none."""

REASONS_TO_REASSIGN: Final = (
    "Driver asked for it",
    "Driver does not answer",
    "Driver is late",
    "Vehicle trouble",
    "Driver is unwell",
)
REASONS_TO_CANCEL: Final = ("Customer cancelled", "Store closed", "Out of stock", "Placed twice", "No driver found")
REASONS_TO_ASSIGN: Final = ("Waiting too long", "Nearest driver", "Agreed by phone")
REASONS_FOR_AVAILABILITY: Final = ("Asked by phone", "Does not answer", "Vehicle trouble", "Unwell", "End of the day")


def shape(level: int, policy: Policy) -> str:
    """The shape of a level, so that nobody needs colour: how near it is to the top of the ladder."""
    if level <= 0:
        return "calm"
    above = sum(rung.level > level for rung in policy.escalation)
    return ("top", "high")[above] if above < 2 else "low"


def span(seconds: float) -> str:
    """A duration in two units at most: `45 s`, `12 min`, `3 h 5 min`."""
    total = max(0, round(seconds))
    if total < 60:
        return f"{total} s"
    minutes = total // 60
    if minutes < 60:
        return f"{minutes} min" if total % 60 == 0 or minutes >= 10 else f"{minutes} min {total % 60} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def seconds(value: float) -> str:
    """A duration that is mostly short: tenths below ten seconds, `2.3 s`, else as `span` says it."""
    if value < 0.05:
        return "less than 0.1 s"
    return f"{value:.1f} s" if value < 10 else span(value)


def percent(share: float) -> str:
    """A share in percent, with one decimal below ten: `85%`, `4.3%`, `0%`."""
    value = round(share * 100, 1)
    return f"{value:.0f}%" if value >= 10 or value == int(value) else f"{value:.1f}%"


def counted(count: float, one: str, many: str) -> str:
    """A number with its noun: `1 order`, `2 orders`, `1,234 orders`."""
    return f"{count:,.10g} {one if count == 1 else many}"


def clock(at: datetime, zone: tzinfo, *, seconds: bool = False) -> str:
    """The time of day in the organisation's time zone."""
    local = at.astimezone(zone)
    return f"{local.hour:02}:{local.minute:02}:{local.second:02}" if seconds else f"{local.hour:02}:{local.minute:02}"


def day_and_clock(at: datetime | None, zone: tzinfo, *, seconds: bool = False) -> str:
    """The day with its year and the time in the organisation's time zone; empty if there was no such time."""
    if at is None:
        return ""
    day = format_datetime(at.astimezone(zone), "EEE dd MMM y", locale=LOCALE)
    return f"{day}, {clock(at, zone, seconds=seconds)}"


def lately(at: datetime, zone: tzinfo, *, now: datetime | None = None) -> str:
    """The time of day, to the second, if it was today; else the day and the minute, with the year if not this one."""
    here, today = at.astimezone(zone), (now or datetime.now(zone)).astimezone(zone)
    if here.date() == today.date():
        return clock(at, zone, seconds=True)
    return format_datetime(here, "dd MMM HH:mm" if here.year == today.year else "dd MMM y HH:mm", locale=LOCALE)


def money(cents: int | None, currency: str) -> str:
    """An amount of minor units with its currency as CLDR writes it: `$54.00`, `¥1,250`, `TND 1.500`."""
    if cents is None:
        return ""
    digits = EXPONENTS.get(currency, 2)
    pattern = "¤#,##0" + ("." + "0" * digits if digits else "")
    amount = Decimal(cents).scaleb(-digits)
    return BETWEEN.sub("\u00a0", format_currency(amount, currency, pattern, LOCALE, currency_digits=False))
