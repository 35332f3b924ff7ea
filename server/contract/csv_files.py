"""Tables as CSV files that a spreadsheet opens and never runs."""

import csv
import io
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a text begins that a spreadsheet takes for a formula."""

Cell = str | int | float | bool | None


class CsvForm(Struct, frozen=True):
    """What is between two cells, and between whole units and decimals."""

    delimiter: str
    decimal: str


COMMAS: Final = CsvForm(",", ".")
SEMICOLONS: Final = CsvForm(";", ",")


def csv_of(rows: Iterable[Sequence[Cell]], form: CsvForm = COMMAS) -> bytes:
    """The rows as a file in UTF-8 that begins with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=form.delimiter)
    for row in rows:
        writer.writerow([_written(cell, form.decimal) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def _written(cell: Cell, decimal: str) -> Cell:
    """Floats to four digits; a text that a spreadsheet would run begins with an apostrophe."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(round(cell, 4)).replace(".", decimal)
    if isinstance(cell, str) and is_formula(cell):
        return f"'{cell}"
    return cell


def is_formula(text: str) -> bool:
    """Whether a spreadsheet takes the text for a formula. Some read full-width characters (＝) as the usual ones, or
    ignore blanks and invisible characters before them.
    """
    if text.startswith(FORMULA):
        return True
    shown = (character for character in text if not character.isspace() and unicodedata.category(character) != "Cf")
    first = next(shown, "")
    return unicodedata.normalize("NFKC", first).startswith(FORMULA)
