"""What a file of a spreadsheet program holds, as the reading process hands it over."""

from typing import Final, Literal

from msgspec import Struct

ROW_LIMIT: Final = 10_000
"""Rows of a file that are read, without the header."""
COLUMN_LIMIT: Final = 200
CELL_LIMIT: Final = 10_000
"""Characters of a cell. No field takes more."""


class SpecialCell(Struct, frozen=True, array_like=True):
    """A cell that is neither text nor number: a time without a time zone (ISO 8601), a formula, or an error value."""

    kind: Literal["time", "formula", "error"]
    text: str


SheetCell = str | int | float | bool | SpecialCell | None


class SheetRow(Struct, frozen=True, array_like=True):
    """A row that is not empty. `line` is its number in the file, from 1."""

    line: int
    cells: list[SheetCell]


class Sheet(Struct, frozen=True):
    header: list[str]
    rows: list[SheetRow]


class Unreadable(Struct, frozen=True):
    """Why a file cannot be read, in a sentence. `too_large` is whether it is beyond a limit."""

    why: str
    too_large: bool = False
