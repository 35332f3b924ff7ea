"""`python -m server.spreadsheets csv|xlsx` reads a file from stdin and writes its cells to stdout as JSON."""

import sys
from typing import Final

import msgspec

from server.apart.processes import limit_this_process
from server.spreadsheets.cells import Unreadable
from server.spreadsheets.reader import SECONDS

MEMORY_BYTES: Final = 1 << 30


def main() -> None:
    """One file from stdin to stdout."""
    limit_this_process(SECONDS, MEMORY_BYTES)
    from server.spreadsheets.parsing import UnreadableFile, sheet_of  # only in the process that reads

    try:
        result: object = sheet_of(sys.stdin.buffer.read(), sys.argv[1])
    except UnreadableFile as error:
        result = Unreadable(error.why, error.too_large)
    except Exception:
        result = Unreadable("The file is damaged, or not what its name says.")
    sys.stdout.buffer.write(msgspec.json.encode(result))


main()
