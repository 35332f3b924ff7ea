"""Whether this machine's clock is kept right: with the database on the same machine, no comparison would tell."""

import ctypes
from typing import Final

from server.doctor.findings import Finding, note, ok

UNSYNCHRONISED: Final = 5
"""TIME_ERROR of adjtimex(2)."""


def kernel_state() -> int | None:
    """The state of the kernel's clock, which any user may read; None if it is unknown."""
    adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
    state = -1 if adjtimex is None else int(adjtimex(ctypes.create_string_buffer(512)))  # all zero: change nothing
    return state if state >= 0 else None


def check_time_service(state: int | None) -> list[Finding]:
    if state is None:
        return []
    if state == UNSYNCHRONISED:
        text = "no time service keeps the clock of this machine right: offers, tokens and reports go by it"
        return [note("time sync", text, "install systemd-timesyncd or chrony; `timedatectl` shows the state")]
    return [ok("time sync", "a time service keeps the clock of this machine right")]
