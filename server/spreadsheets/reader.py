"""Reads uploaded files, a few at once, each in a separate process."""

import asyncio
from typing import Final

import msgspec

from server.apart.processes import run_apart
from server.spreadsheets.cells import Sheet, Unreadable

SECONDS: Final = 20
AT_ONCE: Final = 1
"""Processes of a node at the same time."""
WAITING: Final = 4
"""Files of a node that wait or are read. More are refused, because each of them takes memory."""
TYPES: Final = ("text/csv", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet")

_sheet: Final = msgspec.json.Decoder(Sheet)
_unreadable: Final = msgspec.json.Decoder(Unreadable)


class TooManyFiles(Exception):
    """Too many files at once. Try again."""


def form_of(data: bytes) -> str | None:
    """`xlsx` or `csv` by the content; None for what is neither, such as an old `.xls` or a picture."""
    if data.startswith(b"PK\x03\x04"):
        return "xlsx"
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "csv" if marked or b"\x00" not in data else None


class SpreadsheetReader:
    """Reads files, a few at once."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._inside = 0

    async def read(self, data: bytes, form: str) -> Sheet | Unreadable:
        """The cells of a file of this form, or why it cannot be read. Raises TooManyFiles."""
        if self._inside >= WAITING:
            raise TooManyFiles
        self._inside += 1
        try:
            async with self._turns:
                found = await run_apart("server.spreadsheets", [form], data, SECONDS)
        except TimeoutError:
            return Unreadable("The file is too large to read.", too_large=True)
        finally:
            self._inside -= 1
        if found is None:
            return Unreadable("The file is too large to read.", too_large=True)
        return _unreadable.decode(found) if found.startswith(b'{"why"') else _sheet.decode(found)
