"""What every actor writes down: what it sent, when, and what it saw. One JSON object a line, and the same in memory.

Instants are Unix seconds of this machine's clock, which is the database's too.
"""

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct


class _Entry(Struct, frozen=True, kw_only=True, tag_field="what"):
    at: float


class Opened(_Entry, frozen=True, kw_only=True, tag="opened"):
    """A driver's socket was asked for, on this node, with this `lastSeq`."""

    socket: int
    node: int
    last_seq: int | None


class Closed(_Entry, frozen=True, kw_only=True, tag="closed"):
    """A socket has closed: by the driver (no `code`), by the server, or lost."""

    socket: int
    code: int | None


class Sent(_Entry, frozen=True, kw_only=True, tag="sent"):
    """A message to the server."""

    socket: int
    message: dict[str, Any]


class Heard(_Entry, frozen=True, kw_only=True, tag="heard"):
    """A message from the server."""

    socket: int
    message: dict[str, Any]


class Asked(_Entry, frozen=True, kw_only=True, tag="asked"):
    """A call over HTTP, as the `subject` of a token of this role."""

    call: int
    role: str
    subject: str
    node: int
    method: str
    path: str
    body: Any = None


class Answered(_Entry, frozen=True, kw_only=True, tag="answered"):
    """Its answer; status 0 when there was none."""

    call: int
    status: int
    body: Any = None


class HookCall(_Entry, frozen=True, kw_only=True, tag="webhook_call"):
    """A webhook's message has come: whether its signature was good, and the `status` it was answered with."""

    message_id: str
    body: dict[str, Any]
    signed: bool
    status: int


Entry = Opened | Closed | Sent | Heard | Asked | Answered | HookCall

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


def now() -> float:
    """The instant to write down."""
    return time.time()


class History:
    """One actor's record. `file`, if any, gets every entry too."""

    def __init__(self, actor: str, file: IO[bytes] | None = None) -> None:
        self.actor = actor
        self.entries: list[Entry] = []
        self._file = file

    def write(self, entry: Entry) -> None:
        """Keep it."""
        self.entries.append(entry)
        if self._file is not None:
            self._file.write(_encode(entry) + b"\n")


class Histories:
    """The records of a run's actors, a file each in `folder` if there is one."""

    def __init__(self, folder: Path | None = None) -> None:
        self.by_actor: dict[str, History] = {}
        self._folder = folder
        self._files: list[IO[bytes]] = []

    def of(self, actor: str) -> History:
        """The record of this actor, a new one at first."""
        history = self.by_actor.get(actor)
        if history is None:
            history = self.by_actor[actor] = History(actor, self._open(actor))
        return history

    def _open(self, actor: str) -> IO[bytes] | None:
        if self._folder is None:
            return None
        file = (self._folder / f"{actor}.jsonl").open("wb")
        self._files.append(file)
        return file

    def entries(self) -> dict[str, list[Entry]]:
        """What everybody wrote until now, by actor."""
        return {actor: list(history.entries) for actor, history in self.by_actor.items()}

    def close(self) -> None:
        """Finish the files."""
        for file in self._files:
            file.close()


def read(lines: Iterable[bytes]) -> Iterator[Entry]:
    """A file's entries."""
    return (_decode(line) for line in lines)
