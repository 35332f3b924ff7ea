"""Stops the servers of a data folder when their last user is gone, also if it was killed.

A separate small process, one a data folder: `python -m server.embedded.watchdog DATA`. Users of the servers hold a
shared lock, which the system releases with the process that holds it.
"""

import fcntl
import sys
import time
from pathlib import Path
from typing import Final

from server.embedded.programs import EmbeddedError
from server.embedded.servers import GATE, USE, WATCH, Embedded

LOOK_SECONDS: Final = 1.0


def watch(data: Path) -> None:
    """Look every second whether somebody uses the servers. Ends after they were stopped, by whomever."""
    with (data / WATCH).open("ab") as own, (data / GATE).open("ab") as gate, (data / USE).open("ab") as use:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another one does it
        while True:
            time.sleep(LOOK_SECONDS)
            fcntl.flock(gate, fcntl.LOCK_EX)  # nobody starts or stops servers meanwhile
            try:
                fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                fcntl.flock(gate, fcntl.LOCK_UN)
            else:
                if data.exists():
                    Embedded(data).stop_unused()
                return


if __name__ == "__main__":
    try:
        watch(Path(sys.argv[1]))
    except (OSError, EmbeddedError):
        sys.exit(1)  # the data folder is gone
