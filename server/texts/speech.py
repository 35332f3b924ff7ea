"""The language of the screens: its texts, and how it writes numbers and days.

A text is English where it is written. `said` and `counted` give it in the language of the request that is answered;
`later` marks a text that is written down before, such as one in a table: the template shows it with the filter `said`.
`make texts` finds all three. `{name}` in a text is the place of a value.
"""

import re
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import date, datetime
from decimal import Decimal
from functools import cache, cached_property
from typing import Final

from babel import Locale
from babel.dates import format_date, format_datetime, format_skeleton
from babel.numbers import format_currency, format_decimal
from babel.support import NullTranslations

from server.texts.catalogues import SCREENS, is_complete, translations
from server.texts.languages import SOURCE


def later(text: str) -> str:
    """A text for a catalogue, shown later."""
    return text


class Speech:
    """One language. English needs no catalogue, and writes its numbers without one."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.is_source = language == SOURCE
        self.locale: Locale = Locale.parse(language)
        self.direction: str = self.locale.text_direction

    @cached_property
    def translations(self) -> NullTranslations:
        """The catalogue of the screens."""
        return translations(self.language, SCREENS)

    def said(self, text: str, **values: object) -> str:
        """A text in this language, with its values in their places."""
        found = text if self.is_source else self._found(text)
        return found.format(**values) if values else found

    def _found(self, text: str) -> str:
        # The text without words is the head of a catalogue.
        return self.translations.gettext(text) if text else text

    def counted(self, one: str, many: str, count: float, **values: object) -> str:
        """The text that fits a number, which is `{count}` in it."""
        found = self.translations.ngettext(one, many, count)  # type: ignore[arg-type]
        return found.format(count=self.number(count), **values)

    def table(self, texts: Mapping[str, str]) -> dict[str, str]:
        """The same keys with their texts in this language."""
        return {key: self.said(text) for key, text in texts.items()}

    def number(self, value: float) -> str:
        """As many digits as it has: `1,234`."""
        return f"{value:,.10g}" if self.is_source else format_decimal(value, locale=self.locale)

    def decimal(self, value: float, digits: int = 1) -> str:
        """So many digits behind the point: `1.5`."""
        if self.is_source:
            return f"{value:.{digits}f}"
        return format_decimal(value, "0." + "0" * digits if digits else "0", locale=self.locale)

    def money(self, amount: Decimal, currency: str, digits: int) -> str:
        """An amount with so many digits behind the point, and the symbol that this language has for the currency."""
        pattern = re.sub(r"0\.0+|0(?![.0])", "0" + ("." + "0" * digits if digits else ""), self._money_pattern)
        return format_currency(amount, currency, pattern, self.locale, currency_digits=False)

    @cached_property
    def _money_pattern(self) -> str:
        return str(self.locale.currency_formats["standard"].pattern)

    def dated(self, at: date | datetime, pattern: str, skeleton: str) -> str:
        """A day: by the pattern in English, by the skeleton of CLDR elsewhere."""
        if not self.is_source:
            return format_skeleton(skeleton, at, locale=self.locale)
        if isinstance(at, datetime):
            return format_datetime(at, pattern, locale=self.locale)
        return format_date(at, pattern, locale=self.locale)


@cache
def speech(language: str) -> Speech:
    """The one of a language."""
    return Speech(language)


def screens_language(chosen: str) -> str:
    """The language of the settings if its catalogue has every text of the screens, else the source."""
    return chosen if chosen and is_complete(chosen, SCREENS) else SOURCE


ENGLISH: Final = speech(SOURCE)
_spoken: ContextVar[Speech] = ContextVar("_spoken", default=ENGLISH)


def speak(language: str) -> None:
    """From here on, this request is answered in this language."""
    _spoken.set(speech(language))


def spoken() -> Speech:
    """The language of the request that is answered."""
    return _spoken.get()


def said(text: str, **values: object) -> str:
    """A text in the language of the request."""
    return _spoken.get().said(text, **values)


def counted(one: str, many: str, count: float, **values: object) -> str:
    """The text that fits a number, which is `{count}` in it, in the language of the request."""
    return _spoken.get().counted(one, many, count, **values)
