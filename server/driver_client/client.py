"""A driver's app that stays connected: it comes back with `lastSeq`, keeps what it knows, reports and asks.

What to do with an offer is decided elsewhere.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Literal
from uuid import uuid4

import httpx2 as httpx
import msgspec
from msgspec.structs import replace

from server.driver_client import messages as m
from server.driver_client.calls import PinAnswer, Refused, check_pin
from server.driver_client.connection import Connection
from server.driver_client.mirror import Mirror

HELLO_SECONDS: Final = 10.0
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0
AGAIN_SECONDS: Final = 0.3
ANSWER_SECONDS: Final = 180.0
TOKEN_EXPIRED: Final = 4102
FINAL_CODES: Final = range(4100, 4200)
"""Close codes after which an app does not come back, but for an expired token's."""
AGAIN_CODES: Final = frozenset({"try_again", "too_many_requests"})

Heard = Callable[[m.ToDriver], None]
TakeOver = Literal["always", "once", "ask"]

__all__ = ["Dismissed", "DriverClient", "Refused", "TakeOver", "phone_time"]


class Dismissed(Exception):
    """The server closed the socket for good."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code


class DriverClient:
    """One driver's connection, `run` as a task. `token` is asked anew for every handshake and every call.

    `heard` gets every message once it is folded into `mirror`, and those missed while away before the `hello`. If a
    number is missing, it connects again, and gets what was missing; a number that came before is ignored. A
    connection that is silent for `heartbeat_seconds` (the server's by default) is asked with a `ping`, and given up
    after twice as long.
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], Awaitable[str]],
        heard: Heard = lambda _: None,
        *,
        http: httpx.AsyncClient | None = None,
        heartbeat_seconds: float | None = None,
    ) -> None:
        self.mirror = Mirror()
        self.connected = asyncio.Event()
        self.connects = 0
        self.url = url
        self._token = token
        self._heard = heard
        self._http = http
        self._connection: Connection | None = None
        self._heartbeat_seconds = heartbeat_seconds or 20.0
        self._chosen_heartbeat = heartbeat_seconds
        self._away_until = 0.0
        self._come_back_in: float | None = None

    # The connection

    async def run(self, *, take_over: TakeOver = "always") -> None:
        """Stay connected until cancelled. Raises Dismissed.

        If another device of the driver is in use, "ask" is dismissed with 4106: ask the driver, and run "once", which
        takes over with its first `hello` and asks later, when it comes back from a lost connection. "always" does not
        ask.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            await asyncio.sleep(self.away_seconds)
            understood = False
            connection: Connection | None = None
            try:
                token, last_seq = await self._token(), self.mirror.seq
                connection = Connection(self.url, token, self._take, last_seq=last_seq, take_over=take_over != "ask")
                understood = await self._session(connection)
            except (OSError, TimeoutError, httpx.TransportError):  # who makes the tokens may be away too
                pass
            finally:
                self._connection = None
                self.connected.clear()
                if connection is not None:
                    connection.cut()
            code = connection.close_code if connection is not None else None
            if connection is not None and code is not None and code in FINAL_CODES and code != TOKEN_EXPIRED:
                raise Dismissed(code, connection.close_reason)
            if connection is not None and connection.hello is not None and take_over == "once":
                take_over = "ask"
            if understood:
                pause = FIRST_PAUSE_SECONDS
            wait = self._come_back_in if self._come_back_in is not None else pause * random.uniform(0.5, 1.5)
            self._come_back_in = None
            await asyncio.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _session(self, connection: Connection) -> bool:
        """One connection, from its handshake to its end; whether there was a `hello` that could be read."""
        self._connection = connection
        await connection.open()
        async with asyncio.timeout(HELLO_SECONDS):
            await connection.greeting()
        while not connection.ended.is_set():
            await _set_within(connection.ended, self._heartbeat_seconds / 2)
            if connection.silent_seconds > 2 * self._heartbeat_seconds:
                connection.cut()
            elif connection.silent_seconds > self._heartbeat_seconds and connection.usable:
                connection.send("ping")
        return self.connected.is_set()

    def _take(self, frame: m.Frame) -> None:
        """Take a message; if one before it is missing, connect again, which brings it."""
        message = self._fold(frame)
        if self.mirror.behind and self._connection is not None:
            self._connection.cut()
        if message is not None:
            self._heard(message)

    def _fold(self, frame: m.Frame) -> m.ToDriver | None:
        """The message, if it is one to hear."""
        try:
            message = m.understand(frame)
        except msgspec.ValidationError:
            self.mirror.miss(frame)
            return None
        match message:
            case None:
                self.mirror.pass_over(frame)
            case m.Hello():
                assert self._connection is not None
                self.connects += 1
                self._heartbeat_seconds = self._chosen_heartbeat or max(1.0, message.heartbeat_seconds)
                for missed in self.mirror.greet(message, self._connection.last_seq):
                    self._heard(missed)
                self.connected.set()
            case (
                m.OfferMade()
                | m.OfferClosed()
                | m.AssignmentChanged()
                | m.RunChanged()
                | m.AvailabilityChanged()
                | m.MessageWritten()
            ):
                return message if self.mirror.fold(message) else None
            case m.Goodbye():
                self._come_back_in = message.reconnect_after_ms / 1000
            case _:
                pass
        return message

    @property
    def away_seconds(self) -> float:
        """For how long there is no network yet."""
        return max(0.0, self._away_until - asyncio.get_running_loop().time())

    def lose_network(self, seconds: float) -> None:
        """The phone is in a tunnel: the connection is lost without a close, and comes back after this time."""
        self._away_until = asyncio.get_running_loop().time() + seconds
        if self._connection is not None:
            self._connection.cut()

    # What the driver says

    def tell(self, message: m.FromDriver) -> None:
        """Send a message that wants no answer; lost without a connection."""
        if self.connected.is_set() and self._connection is not None and self._connection.usable:
            frame = m.as_frame(message)
            self._connection.send(frame.pop("type"), **frame)

    async def ask(self, message: m.FromDriver, *, by_http: bool = False) -> m.Result:
        """Send a message and wait for its verdict, across lost connections: whatever is said again, it happens once.

        A deed and what the driver writes get an action's id, and a deed that says when it was done the time of each
        sending. Raises Refused, or TimeoutError after three minutes.
        """
        if isinstance(message, m.Deed | m.Say) and message.action_id is None:
            message = replace(message, action_id=str(uuid4()))
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                try:
                    return await self._post(message) if by_http else await self._ask(message)
                except ConnectionError:
                    by_http = False
                except Refused as refused:
                    if refused.code not in AGAIN_CODES:
                        raise
                await asyncio.sleep(AGAIN_SECONDS * random.uniform(0.5, 1.5))

    async def check_pin(self, assignment_id: str, pin: str) -> PinAnswer:
        """Whether the customer's PIN is right, while the customer is there. "unknown" without a network or `http`."""
        if self._http is None or self.away_seconds or self.mirror.driver_id is None:
            return "unknown"
        return await check_pin(self._http, self.mirror.driver_id, await self._token(), assignment_id, pin)

    async def _ask(self, message: m.FromDriver) -> m.Result:
        await self.connected.wait()
        if self._connection is None:
            raise ConnectionError("the connection is gone")
        frame = m.as_frame(_sent_now(message))
        answer = await self._connection.ask(frame.pop("type"), **frame)
        if answer["type"] == "error":
            raise Refused(answer["code"], answer["message"], answer)
        return msgspec.convert(answer.get("result") or {}, m.Result)

    async def _post(self, message: m.FromDriver) -> m.Result:
        """The same over HTTP. Raises ConnectionError without a network."""
        if self._http is None or self.away_seconds or self.mirror.driver_id is None:
            raise ConnectionError("there is no way over HTTP")
        call = m.as_call(self.mirror.driver_id, _sent_now(message))
        try:
            headers = {"Authorization": f"Bearer {await self._token()}"}
            answer = await self._http.post(call.path, json=call.body, headers=headers)
            body = answer.json() if answer.content else {}
        except (httpx.TransportError, OSError, ValueError) as error:
            raise ConnectionError(str(error)) from None
        if not answer.is_success:
            raise Refused(body.get("code", ""), body.get("detail", ""), body)
        return msgspec.convert(body, m.Result)


def _sent_now(message: m.FromDriver) -> m.FromDriver:
    return replace(message, sent_at=phone_time()) if isinstance(message, m.Deed) and message.at else message


def phone_time() -> str:
    """Now, by the phone's clock."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
