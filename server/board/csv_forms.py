"""Which form of CSV a spreadsheet program reads: its separator and decimal mark are those of the machine's region.

Excel puts a file with another separator into one column, and takes a number with another decimal mark for a text.
"""

from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.numbers import get_decimal_symbol

from server.contract.csv_files import COMMAS, SEMICOLONS, CsvForm
from server.texts.languages import SOURCE, tags_by_preference

SWISS: Final = CsvForm(";", ".")
CHOICES: Final = {"semicolon": SEMICOLONS, "comma": COMMAS}
"""The forms that people choose by hand."""


def csv_form_for(accepted: str) -> CsvForm:
    """That of the language which a browser prefers (`Accept-Language`). Commas without one: programs send none."""
    tags = tags_by_preference(accepted)
    return _form_of(tags[0]) if tags else COMMAS


def csv_form_in(time_zone: str) -> CsvForm:
    """That of the country of a time zone, in the language that most people there speak. Commas if it has none."""
    country = get_global("zone_territories").get(time_zone)
    return _form_of(f"und-{country}") if country else COMMAS


@lru_cache(500)
def _form_of(tag: str) -> CsvForm:
    try:
        locale = Locale.parse(tag, sep="-")
    except (UnknownLocaleError, ValueError):
        language = tag.partition("-")[0]
        return _form_of(language) if language != tag else COMMAS
    if get_decimal_symbol(locale) == ",":
        return SEMICOLONS
    return SWISS if locale.territory in ("CH", "LI") and locale.language != SOURCE else COMMAS
