"""Tables as CSV files that a spreadsheet opens and never runs."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""How a text begins that a spreadsheet takes for a formula."""

Cell = str | int | float | bool | None


def csv_of(rows: Iterable[Sequence[Cell]], *, marked: bool = False) -> bytes:
    """The rows as a file in UTF-8. `marked` begins it with the mark by which Excel knows UTF-8."""
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow([_written(cell) for cell in row])
    return text.getvalue().encode("utf-8-sig" if marked else "utf-8")


def _written(cell: Cell) -> Cell:
    """Floats to four digits; a text that a spreadsheet would run begins with an apostrophe."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return round(cell, 4)
    if isinstance(cell, str) and cell.startswith(FORMULA):
        return f"'{cell}"
    return cell
