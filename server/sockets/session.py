"""A driver's session, sans-IO: frames and stream messages in, effects out; no socket, loop or clock.

It owns the rate limit, the count of malformed frames, the decoding and answering of messages, and the order of the
driver's stream.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import msgspec
from msgspec import UNSET, Struct

from server.contract import messages as m
from server.contract.unstorable import HALF_CHARACTER, half_character_in, is_whole, nul_in, parsed
from server.contract.views import AssignmentView, DriverView, instant, parse_phone_time, to_json
from server.dispatch import commands as c
from server.dispatch.model import Actor
from server.dispatch.refusals import NOT_FOUND, Refusal
from server.ids import canonical, derived_id

NORMAL_RATE: Final = 20.0
BURST: Final = 100.0
FRAMES_RATE: Final = 1000.0
"""All frames a second, and in one go. Only `location` may come so often: the newest of them counts."""
MALFORMED_LIMIT: Final = 10
HELD_LIMIT: Final = 256
UNREADABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What a frame raises that is not a message of the contract."""


class CloseCode(Struct, frozen=True):
    """A close code of the contract with the reason sent along."""

    code: int
    reason: str


UNAUTHORIZED = CloseCode(4101, "unauthorized")
TOKEN_EXPIRED = CloseCode(4102, "token expired")
SUPERSEDED = CloseCode(4103, "superseded by a newer connection")
PROTOCOL_VIOLATION = CloseCode(4104, "too many malformed messages")
TWO_DEVICES = CloseCode(4105, "another device is connected")
OTHER_DEVICE = CloseCode(4106, "another device is in use")
TOO_SLOW = CloseCode(4201, "too slow")
TOO_MANY_MESSAGES = CloseCode(4202, "too many messages")
RESTARTING = CloseCode(4203, "restarting")


class Send(Struct, frozen=True):
    """Write this text frame."""

    text: str


class Execute(Struct, frozen=True):
    """Run the command; its answer comes through `Session.answered`."""

    command: c.Command
    reply_id: str | None


class PositionReported(Struct, frozen=True):
    """The driver's position: degrees, km/h, metres; `at` is UTC, None for now."""

    lat: float
    lon: float
    heading: float | None
    speed_kmh: float | None
    accuracy_m: float | None
    at: datetime | None


class FetchMissing(Struct, frozen=True):
    """The stream has a gap: read the rows after `after_seq` and hand each to `Session.message`."""

    after_seq: int


class Close(Struct, frozen=True):
    """End the session."""

    why: CloseCode


Effect = Send | Execute | PositionReported | FetchMissing | Close
Effects = tuple[Effect, ...]


class Answered(Struct, frozen=True):
    """What of an answer the session shows: the assignment or the driver, if the command was about one."""

    assignment: AssignmentView | None = None
    driver: DriverView | None = None


class _Allowance:
    """Allows `rate` a second, and at most `burst` in one go."""

    __slots__ = ("_at", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._left, self._at = burst, now

    def allows(self, now: float) -> bool:
        left = min(self._left + (now - self._at) * self._rate, self._burst)
        self._at = now
        self._left = left - 1.0
        return left >= 1.0


class Session:
    """The state of one socket between its handshake and its close.

    `new_id` names what a command makes. Times given to `frame` are monotonic seconds.
    """

    __slots__ = (
        "_actor",
        "_asked_after",
        "_frames",
        "_held",
        "_malformed",
        "_messages",
        "_new_id",
        "driver_id",
        "last_seq",
    )

    def __init__(self, driver_id: str, actor: Actor, new_id: Callable[[], str], now: float) -> None:
        self.driver_id = driver_id
        self.last_seq: int | None = None
        self._actor = actor
        self._new_id = new_id
        self._frames = _Allowance(FRAMES_RATE, FRAMES_RATE, now)
        self._messages = _Allowance(NORMAL_RATE, BURST, now)
        self._malformed = 0
        self._held: dict[int, str] | None = None
        self._asked_after = -1

    def frame(self, text: str, now: float, wall: Callable[[], datetime]) -> Effects:
        """Handle a text frame. `wall` returns the server's time, for `pong`.

        1. Too many frames, or too many messages other than `location`: close. 2. Not a message of the contract: an
           error, and a close after ten in a row. 3. An id that cannot exist: `not_found`. 4. Otherwise what the
           message requests.
        """
        if not self._frames.allows(now):
            return (Close(TOO_MANY_MESSAGES),)
        try:
            message = m.decode(text)
        except UNREADABLE as error:
            if not self._messages.allows(now):
                return (Close(TOO_MANY_MESSAGES),)
            half = half_character_in(text)
            why = str(error) if half is None else f"{HALF_CHARACTER} - at `$.{half}`"
            return self._malformed_frame(why, readable_id(text))
        if type(message) is not m.Location and not self._messages.allows(now):
            return (Close(TOO_MANY_MESSAGES),)
        try:
            if type(message) is m.Location:
                moved = PositionReported(
                    message.lat,
                    message.lon,
                    message.heading,
                    message.speed_kmh,
                    message.accuracy_m,
                    parse_phone_time(message.at) if message.at is not None else None,
                )
                self._malformed = 0
                return (moved,) if message.id is None else (moved, Send(to_json(m.Ack(id=message.id))))
            if "\\u0000" in text:
                _refuse_nul(message)
            action = _action(message)
        except UNREADABLE as error:
            if type(message) is m.Location and not self._messages.allows(now):
                return (Close(TOO_MANY_MESSAGES),)
            return self._malformed_frame(str(error), readable_id(text))
        self._malformed = 0
        if type(message) is m.Ping:
            reply_id = message.id if message.id is not None else UNSET
            return (Send(to_json(m.Pong(id=reply_id, server_time=instant(wall())))),)
        command = self._command(message, action)
        if command is None:
            return (self._error(NOT_FOUND, message.id),)
        return (Execute(command, message.id),)

    def binary_frame(self, now: float) -> Effects:
        """A binary frame has arrived: never a message of the contract."""
        if not self._frames.allows(now) or not self._messages.allows(now):
            return (Close(TOO_MANY_MESSAGES),)
        return self._malformed_frame("Messages are text frames of JSON.", None)

    def answered(self, command: c.Command, reply_id: str | None, answer: Answered | Refusal) -> Effects:
        """A command was committed or refused: exactly one ack or error for a message with an id."""
        if isinstance(answer, Refusal):
            return (self._error(answer, reply_id),)
        if reply_id is None:
            return ()
        result = _result(command, answer)
        return (Send(to_json(m.Ack(id=reply_id, result=UNSET if result is None else result))),)

    def greeted(self, seq: int) -> Effects:
        """`hello` was sent, up to and including `seq`: later messages follow."""
        self.last_seq = seq
        return self._release()

    def message(self, seq: int, body: str) -> Effects:
        """A message of the driver's stream, from any node: each number is sent once, n only after n-1."""
        last = self.last_seq
        if last is not None and seq == last + 1:
            self.last_seq = seq
            return (Send(body),) if self._held is None else (Send(body), *self._release())
        if last is not None and seq <= last:
            return ()
        if self._held is None:
            self._held = {}
        if len(self._held) < HELD_LIMIT:
            self._held[seq] = body
        return () if last is None else self._ask(last)

    def _release(self) -> Effects:
        held, last = self._held, self.last_seq
        if held is None or last is None:
            return ()
        ready: list[Effect] = []
        while (body := held.pop(last + 1, None)) is not None:
            last += 1
            ready.append(Send(body))
        self.last_seq = last
        later = {seq: body for seq, body in held.items() if seq > last}
        self._held = later or None
        return (*ready, *self._ask(last)) if later else tuple(ready)

    def _ask(self, last: int) -> Effects:
        if self._asked_after == last:
            return ()
        self._asked_after = last
        return (FetchMissing(last),)

    def fetch_over(self) -> None:
        """The requested messages were read, or could not be read: a remaining gap is requested again."""
        self._asked_after = -1

    def _malformed_frame(self, why: str, reply_id: str | None) -> Effects:
        self._malformed += 1
        error = self._error(Refusal("invalid", why), reply_id)
        return (error, Close(PROTOCOL_VIOLATION)) if self._malformed >= MALFORMED_LIMIT else (error,)

    def _about_an_assignment(
        self, message: m.Arrived | m.PickedUp | m.Completed | m.Release | m.Failed, action: c.Action
    ) -> c.Command | None:
        driver_id, actor = self.driver_id, self._actor
        assignment = canonical(message.assignment_id)
        if assignment is None:
            return None
        match message:
            case m.Arrived():
                return c.Arrive(assignment, driver_id, message.where, actor, action)
            case m.PickedUp():
                return c.PickUp(assignment, driver_id, actor, action)
            case m.Completed():
                proof = message.proof or m.HandoverProof()
                return c.Complete(assignment, driver_id, actor, action, proof.pin, proof.name, proof.note)
            case m.Release():
                return c.Release(assignment, driver_id, message.reason, actor, message.note, action)
            case m.Failed():
                return c.Fail(assignment, driver_id, message.reason, actor, message.note, message.then, action)

    def _error(self, refusal: Refusal, reply_id: str | None) -> Send:
        named = UNSET if reply_id is None else reply_id
        more = refusal.more
        error = m.Error(
            id=named,
            code=refusal.code,
            message=refusal.message,
            now_with=more.get("nowWith", UNSET),
            missing=more.get("missing", UNSET),
        )
        return Send(to_json(error))

    def _command(self, message: m.FromDriver, action: c.Action) -> c.Command | None:
        """The command for a message, or None if it names an id that cannot exist."""
        driver_id, actor = self.driver_id, self._actor
        match message:
            case m.Accept() | m.Reject() | m.Received():
                offer_id = canonical(message.offer_id)
                if offer_id is None:
                    return None
                if isinstance(message, m.Accept):
                    return c.AcceptOffer(offer_id, driver_id, self._new_id(), actor)
                if isinstance(message, m.Reject):
                    return c.RejectOffer(offer_id, driver_id, actor, message.reason, message.note)
                return c.ConfirmReceipt(offer_id, driver_id, actor)
            case m.Arrived() | m.PickedUp() | m.Completed() | m.Release() | m.Failed():
                return self._about_an_assignment(message, action)
            case m.Seen():
                seen = canonical(message.message_id)
                return None if seen is None else c.SeeMessage(driver_id, seen, actor)
            case m.Say():
                message_id = self._new_id() if action.action_id is None else derived_id(driver_id, action.action_id)
                return c.Say(driver_id, message_id, message.text.strip(), actor)
            case m.TakeBreak():
                minutes = int(message.duration_minutes)
                return c.TakeBreak(driver_id, minutes, actor, message.reason, message.extend)
            case m.EndShift():
                return c.EndShift(driver_id, actor)
            case m.Pause():
                return c.Pause(driver_id, actor)
            case m.Resume():
                return c.Resume(driver_id, actor)
            case _:
                raise AssertionError(f"{type(message).__name__} is answered without a command")


def _refuse_nul(message: m.FromDriver) -> None:
    """ValueError for a text that PostgreSQL cannot hold."""
    found = nul_in(message)
    if found is not None:
        raise ValueError(f"NUL is not allowed - at `$.{found}`")


def _action(message: m.FromDriver) -> c.Action:
    """The details of an action. Raises ValueError for an action id or a time that cannot be parsed, and for half a
    place.
    """
    if not isinstance(message, m.Action | m.Say):
        return c.PLAIN_ACTION
    action_id = canonical(message.action_id) if message.action_id is not None else None
    if message.action_id is not None and action_id is None:
        raise ValueError("an id is a UUID - at `$.actionId`")
    if isinstance(message, m.Say):
        return c.Action(action_id)
    at, sent_at = (parse_phone_time(text) if text is not None else None for text in (message.at, message.sent_at))
    if (message.lat is None) != (message.lon is None):
        missing, given = ("lat", "lon") if message.lat is None else ("lon", "lat")
        raise ValueError(f"is required with {given} - at `$.{missing}`")
    return c.Action(action_id, at, sent_at, message.lat, message.lon)


def readable_id(text: str) -> str | None:
    """The `id` of a frame that is no valid message, if it can be made out and would be a valid one."""
    frame = parsed(text)
    found = frame.get("id") if isinstance(frame, dict) else None
    return found if isinstance(found, str) and len(found) <= 64 and is_whole(found) else None


def _result(command: c.Command, answer: Answered) -> dict[str, object] | None:
    match command:
        case c.AcceptOffer() | c.Arrive() | c.PickUp() | c.Complete() | c.Release() | c.Fail() if (
            answer.assignment is not None
        ):
            return {"assignment": answer.assignment}
        case c.TakeBreak() if answer.driver is not None:
            return {"status": answer.driver.availability, "breakUntil": answer.driver.availability_until}
        case c.EndShift() | c.Pause() | c.Resume() if answer.driver is not None:
            return {"status": answer.driver.availability}
        case _:
            return None
