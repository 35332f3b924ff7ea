"""CSV and Excel files as spreadsheet programs save them, in this process."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any, Final

from defusedxml import DefusedXmlException
from openpyxl import load_workbook
from openpyxl.utils.escape import unescape

from server.spreadsheets.cells import CELL_LIMIT, COLUMN_LIMIT, ROW_LIMIT, Sheet, SheetCell, SheetRow, SpecialCell

UNPACKED_BYTES: Final = 50 * 1024 * 1024
"""An Excel file is a ZIP archive. A small one can hold a huge one."""
ENTRIES: Final = 1000
DELIMITERS: Final = ";,\t"
NO_EXCEL: Final = "The file is of another kind, such as .ods or .numbers: save it as CSV or as .xlsx."
ROWS_LOOKED_AT: Final = 2_000_000
"""Rows of a sheet, empty ones too: programs save formats of empty rows down to the last of 1,048,576."""


class UnreadableFile(Exception):
    """Why the file cannot be read."""

    def __init__(self, why: str, *, too_large: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.too_large = too_large


def sheet_of(data: bytes, form: str) -> Sheet:
    """The header, which is the first row that is not empty, and the other rows. Raises UnreadableFile."""
    return _sheet(_of_excel(data) if form == "xlsx" else _of_csv(data))


def _sheet(rows: Iterable[tuple[int, list[SheetCell]]]) -> Sheet:
    header: list[str] | None = None
    found: list[SheetRow] = []
    for line, cells in rows:
        while cells and _is_empty(cells[-1]):
            cells.pop()
        if not cells:
            continue
        if len(cells) > COLUMN_LIMIT:
            raise UnreadableFile(f"Line {line} has more than {COLUMN_LIMIT} columns.", too_large=True)
        if any(isinstance(cell, str) and len(cell) > CELL_LIMIT for cell in cells):
            raise UnreadableFile(f"Line {line} has a cell with more than {CELL_LIMIT} characters.", too_large=True)
        if header is None:
            header = ["" if isinstance(cell, SpecialCell) else str(cell or "").strip() for cell in cells]
            continue
        if len(found) == ROW_LIMIT:
            raise UnreadableFile(f"The file has more than {ROW_LIMIT} rows.", too_large=True)
        found.append(SheetRow(line, cells))
    if header is None:
        raise UnreadableFile("The file is empty.")
    return Sheet(header, found)


def _is_empty(cell: SheetCell) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())


# CSV


def _of_csv(data: bytes) -> Iterator[tuple[int, list[SheetCell]]]:
    """The rows with the number of their first line. A first line `sep=;`, which Excel does not show, is not counted."""
    text = _decoded(data)
    first, _, rest = text.partition("\n")
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        delimiter, text = first.strip()[4], rest
    else:
        delimiter = _delimiter_of(text)
    csv.field_size_limit(CELL_LIMIT * 4)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=False)
    line = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            raise UnreadableFile(f"Line {line} cannot be read: is a quotation mark missing?") from None
        yield line, list(cells)
        line = reader.line_num + 1


def _decoded(data: bytes) -> str:
    """UTF-16 with a byte order mark, UTF-8 with or without one, else Windows-1252. Raises UnreadableFile."""
    for encoding in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise UnreadableFile("The text is neither UTF-8, UTF-16 nor Windows-1252.")


def _delimiter_of(text: str) -> str:
    """The delimiter that the header has most often, outside of quotation marks."""
    counts = dict.fromkeys(DELIMITERS, 0)
    quoted = False
    for sign in text.lstrip():
        if sign == '"':
            quoted = not quoted
        elif sign in "\r\n" and not quoted:
            break
        elif sign in counts and not quoted:
            counts[sign] += 1
    return max(counts, key=lambda sign: counts[sign])


# Excel


def _of_excel(data: bytes) -> Iterator[tuple[int, list[SheetCell]]]:
    """The rows of the first sheet that is visible. Raises UnreadableFile."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        names = {entry.filename for entry in entries}
        if "xl/workbook.bin" in names or not any(name.startswith("xl/") for name in names):
            raise UnreadableFile(NO_EXCEL)
        # No entry is unpacked beyond the size that it declares.
        if len(entries) > ENTRIES or sum(entry.file_size for entry in entries) > UNPACKED_BYTES:
            raise UnreadableFile(f"The file is larger than {UNPACKED_BYTES >> 20} MiB when unpacked.", too_large=True)
        book = load_workbook(io.BytesIO(data), read_only=True, keep_links=False)
        sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
        if not sheets:
            raise UnreadableFile("The file has no visible sheet.")
        sheet = sheets[0]
        sheet.reset_dimensions()  # programs save wrong ones
        for line, cells in enumerate(sheet.iter_rows(), 1):
            if line > ROWS_LOOKED_AT:
                raise UnreadableFile("The file has too many rows.", too_large=True)
            if cells:
                yield line, _cells(cells)
    except Exception as error:
        if any(isinstance(one, DefusedXmlException) for one in (error, error.__cause__)):
            raise UnreadableFile("The file has XML entities, which no spreadsheet program writes.") from None
        raise


def _cells(cells: Sequence[Any]) -> list[SheetCell]:
    """The cells up to the limit, and whatever is beyond."""
    beyond = [_cell(cell) for cell in cells[COLUMN_LIMIT:] if cell.value is not None]
    return [_cell(cell) for cell in cells[:COLUMN_LIMIT]] + beyond[:1]


def _cell(cell: Any) -> SheetCell:
    value = cell.value
    match cell.data_type:
        case "f":
            return SpecialCell("formula", "")
        case "e":
            return SpecialCell("error", str(value))
    match value:
        case None | bool() | int():
            return value
        case float():
            return int(value) if value.is_integer() and abs(value) < 1e15 else value
        case datetime():
            rounded = (value + timedelta(milliseconds=500)).replace(microsecond=0)
            return SpecialCell("time", rounded.isoformat())
        case date():
            return SpecialCell("time", datetime.combine(value, time()).isoformat())
        case _:
            return str(unescape(str(value)))
