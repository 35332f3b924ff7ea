"""Tables as CSV files that a spreadsheet opens and never runs."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Final

from msgspec import Struct

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a text begins that a spreadsheet takes for a formula."""
SEPARATORS: Final = ",;\t\r\n"
"""Where a program may see another cell begin: it may expect another separator than the file's."""

Cell = str | int | float | Decimal | bool | None


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
        writer.writerow([_written(cell, form) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def _written(cell: Cell, form: CsvForm) -> Cell:
    """Floats to four digits, decimals with all of theirs; what a spreadsheet would run has an apostrophe before it."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, Decimal):
        return f"{cell:f}".replace(".", form.decimal)
    if isinstance(cell, float):
        return str(round(cell, 4)).replace(".", form.decimal)
    if isinstance(cell, str):
        return marked(cell, form)
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


def has_mark(text: str) -> bool:
    """Whether the text begins with an apostrophe before a formula. One that has its own gets another."""
    return text.startswith("'") and is_formula(text.lstrip("'"))


def marked(text: str, form: CsvForm) -> str:
    """With an apostrophe before each formula: at the beginning, and behind another separator than the file's own. A
    program that expects that one sees a cell begin there, and marks around the whole text do not keep it from that.
    """
    first, *others = _parts(text)
    begins = is_formula(text) or has_mark(text)
    return "".join([f"'{first}" if begins else first, *(_mark_put(part, form) for part in others)])


def unmarked(text: str) -> str:
    """The text that `marked` wrote, in any form."""
    first, *others = _parts(text)
    inner = "".join([first, *(_mark_taken(part) for part in others)])
    return inner[1:] if has_mark(inner) else inner


def _parts(text: str) -> list[str]:
    """The text at once if it has no separator; else each other part begins with one."""
    return re.split(f"(?=[{SEPARATORS}])", text)


def _mark_put(part: str, form: CsvForm) -> str:
    blanks, rest = _behind_blanks(part)
    begins = (_runs(rest) and not part.startswith(form.delimiter)) or _is_behind_mark(rest)
    return f"{blanks}'{rest}" if begins else part


def _mark_taken(part: str) -> str:
    blanks, rest = _behind_blanks(part)
    return blanks + rest[1:] if _is_behind_mark(rest) else part


def _is_behind_mark(rest: str) -> bool:
    return rest.startswith("'") and _runs(rest.lstrip("'"))


def _behind_blanks(part: str) -> tuple[str, str]:
    rest = part[1:].lstrip()
    return part[: len(part) - len(rest)], rest


def _runs(rest: str) -> bool:
    """Also behind quotation marks, which the program takes for those around its cell."""
    return is_formula(rest.lstrip('"'))
