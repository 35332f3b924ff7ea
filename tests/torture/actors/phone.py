"""A driver's sockets, and what the app on them knows; everything that passes is written down."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final

from server.driver_client import messages as m
from server.driver_client.connection import Connection
from server.driver_client.mirror import Mirror
from tests.torture.actors.scene import Scene
from tests.torture.history import Closed, Heard, History, Opened, Sent, now

OPEN_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
PING_SECONDS: Final = 3.0
SILENT_SECONDS: Final = 9.0
"""When an app that hears nothing, not even an answer to its pings, takes its connection for lost."""
Message = dict[str, Any]


class Line(Connection):
    """One websocket with a number."""

    def __init__(self, number: int, phone: "Phone", url: str, token: str, last_seq: int | None) -> None:
        self.number = number
        super().__init__(
            url, token, lambda frame: phone.take(self, frame), over=lambda: phone.lost(self), last_seq=last_seq
        )


class Phone:
    """What a driver's app holds: the last number it heard, open offers, active assignments, its availability.

    `line` is the socket that was opened last; what others still bring is written down and otherwise passed over.
    """

    def __init__(self, scene: Scene, history: History, driver_id: str, heard: Callable[[m.ToDriver], None]) -> None:
        self.line: Line | None = None
        self.mirror = Mirror()
        self._scene = scene
        self._history = history
        self._token = scene.token("driver", driver_id)
        self._heard = heard
        self._lines = count(1)
        self._messages = count(1)
        self._newest: Line | None = None
        self._all: set[Line] = set()

    @property
    def connected(self) -> bool:
        """Whether there is a socket, greeted and not closed."""
        return self.line is not None and not self.line.ended.is_set()

    async def open(self, node: int, *, resume: bool = True, patient: bool = True) -> bool:
        """Open a socket; once it is greeted it is the one that counts. Whether that came to pass: the patient wait for
        it, others only until the handshake has ended.
        """
        last_seq = self.mirror.seq if resume else None
        line = Line(next(self._lines), self, self._scene.urls[node], self._token, last_seq)
        self._history.write(Opened(at=now(), socket=line.number, node=node, last_seq=last_seq))
        self._newest = line
        self._all.add(line)
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await line.open()
                if patient:
                    await line.greeting()
        except (OSError, TimeoutError):
            line.cut()
        return line.hello is not None

    def lost(self, line: Line) -> None:
        """A socket has closed."""
        self._all.discard(line)
        self._history.write(Closed(at=now(), socket=line.number, code=line.close_code))

    def take(self, line: Line, frame: m.Frame) -> None:
        """A socket brings something."""
        self._history.write(Heard(at=now(), socket=line.number, message=frame))
        message = m.understand(frame)
        if isinstance(message, m.Hello) and line is self._newest:
            self.line = line
        if line is not self.line or message is None:
            return
        if isinstance(message, m.Hello):
            self.mirror.greet(message, line.last_seq)
        elif isinstance(message, m.Streamed):
            self.mirror.fold(message)
        self._heard(message)

    def say(self, message: m.FromDriver, *, line: Line | None = None, answered: bool = True) -> str | None:
        """Send a message, with an id to be answered under, on the socket that counts or another; lost without one."""
        frame = m.as_frame(message)
        return self.send(frame.pop("type"), line=line, answered=answered, **frame)

    def send(self, kind: str, *, line: Line | None = None, answered: bool = True, **fields: Any) -> str | None:
        """The same of a message of any kind. Its id, if it was sent with one."""
        line = line or self.line
        if line is None or not line.usable:
            return None
        message_id = f"m{next(self._messages)}" if answered else None
        if message_id is not None:
            fields = {"id": message_id, **fields}
        self._history.write(Sent(at=now(), socket=line.number, message={"type": kind, **fields}))
        line.send(kind, **fields)
        return message_id

    def hang_up(self) -> None:
        """Abort the newest socket without a close frame."""
        if self._newest is not None:
            self._newest.cut()

    def switch_off(self) -> None:
        """Cut all sockets there are."""
        for line in list(self._all):
            line.cut()

    async def until_ended(self) -> None:
        """Wait until the socket that counts is gone."""
        if self.line is not None:
            await self.line.ended.wait()

    async def stay_on(self) -> None:
        """Wait until the socket that counts is gone, also one that was opened meanwhile. One on which nothing comes
        any more, though there was a ping, is as good as gone.
        """
        while self.line is not None and not self.line.ended.is_set():
            line = self.line
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await line.ended.wait()
            if line.silent_seconds > SILENT_SECONDS:
                line.cut()
            elif line.silent_seconds > PING_SECONDS:
                self.say(m.Ping(), line=line)


def weighted(chance: random.Random, choices: dict[str, float]) -> str:
    """One of these, as often as its weight says."""
    (chosen,) = chance.choices(list(choices), list(choices.values()))
    return chosen
