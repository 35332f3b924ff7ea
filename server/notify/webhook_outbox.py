"""The outbox: sends messages to webhooks, signed, in order for each delivery, retried for a day, then parked.

It runs on the node that has the lease. Two at once are harmless, since each webhook has one sender at a time. A round
records the results of the calls since the last round and reads due messages: one statement each, however many messages.
A slow or unreachable receiver only occupies its own few calls.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

import prometheus_client as p
import structlog
from msgspec import Struct

from server.contract.action_urls import with_root
from server.contract.commit import Committed
from server.ids import new_id
from server.lease import Lease
from server.notify.call_rounds import Calls, retry_seconds
from server.notify.sender import Result, Sender, without_answer
from server.notify.webhook_signature import webhook_body, webhook_headers
from server.redis.bus import Bus
from server.store.engine import DATABASE_ERRORS, Database
from server.store.queues.webhook_queue import (
    Attempt,
    ClaimedLine,
    DueMessage,
    LineRequest,
    MessageOutcome,
    claim,
    discard_plans,
    hasten,
    record,
    release,
    switch_off,
)

CHANNEL: Final = "outbox"
PER_WEBHOOK: Final = 16
"""Calls in progress to one webhook, each for another delivery."""
ROOM: Final = 128
"""Keys of one webhook whose messages are in memory."""
RECORDED_AT_ONCE: Final = 200
SPACING_SECONDS: Final = 0.02
PLANNED_SECONDS: Final = 10.0
"""How long plans are kept, which may have been made when the tables were smaller."""
KEPT_SECONDS: Final = 2.0
"""How long a message may wait in memory. What waits longer is read again before it is sent: a customer in it may have
been erased.
"""
LATE_SECONDS: Final = 5.0
"""So long after a message was written, its transaction has ended: later no message appears in the queue before those
that were read. A message whose commit takes longer is found when the queue is read from its start.
"""
FROM_THE_START_SECONDS: Final = 60.0
"""How often the queue is read from its start."""
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 1.0
GONE: Final = 410
"""The status of a receiver that wants no more calls."""

ATTEMPTS: Final = p.Counter("callboard_webhook_attempts", "Calls to webhooks, by outcome", ["outcome"])
CALL_TIME: Final = p.Histogram(
    "callboard_webhook_seconds", "How long a call to a webhook took", buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)
)
PARKED: Final = p.Counter(
    "callboard_webhook_messages_parked", "Webhook messages parked after 24 hours of failed attempts"
)
UNDER_WAY: Final = p.Gauge("callboard_webhook_calls", "Calls to webhooks in progress")

log = structlog.get_logger(__name__)


class Outage(Struct):
    """The pause for a receiver that is down, longer after each failure, until `until` on the loop's clock."""

    failures: int
    until: float


class MessageGroup:
    """Messages of one webhook and key, sent one after the other; due since `at`, the database's time, and read at
    `read_at`, on the loop's clock.
    """

    __slots__ = ("at", "ended", "messages", "read_at", "unrecorded")

    def __init__(self, at: datetime, messages: list[DueMessage], read_at: float) -> None:
        self.at = at
        self.read_at = read_at
        self.messages = messages
        self.unrecorded = 0
        self.ended = False


class WebhookLine:
    """The messages of a webhook in memory. `until` is when another node may send them, on the loop's clock."""

    def __init__(self) -> None:
        self.groups: dict[str, MessageGroup] = {}
        self.waiting: deque[MessageGroup] = deque()
        self.senders = 0
        self.until = 0.0
        self.reached: datetime | None = None
        """Everything due before this time (the database's) was read, except messages behind those in memory."""
        self.freed: datetime | None = None
        """The earliest due time of the messages that were removed from memory after the last read of the queue."""
        self.from_the_start_at = 0.0

    def read_on(self) -> datetime | None:
        """Where to continue reading; None: at the start."""
        times = [group.at for group in self.groups.values()]
        if self.freed is not None:
            times.append(self.freed)
            self.freed = None
        return None if self.reached is None else min(self.reached, *times) if times else self.reached

    def free(self, key: str) -> None:
        """No message of this key is in memory: read the messages that came after it."""
        at = self.groups.pop(key).at
        self.freed = at if self.freed is None else min(self.freed, at)

    def forget_waiting(self) -> None:
        """Messages that were not started are still in the queue."""
        for group in self.waiting:
            self.free(group.messages[0].key)
        self.waiting.clear()


class Outbox:
    """`run` is to be supervised. Links in messages begin with `root`."""

    def __init__(self, *, database: Database, lease: Lease, bus: Bus, sender: Sender, root: Callable[[], str]) -> None:
        self._database = database
        self._lease = lease
        self._bus = bus
        self.sender = sender
        self._root = root
        self._name = new_id()
        self._connection: Any = None
        self._planned_at = 0.0
        self._lines: dict[str, WebhookLine] = {}
        self._outcomes: list[tuple[WebhookLine, MessageGroup, MessageOutcome]] = []
        self._calls = Calls("webhook", lease, self._round, spacing_seconds=SPACING_SECONDS, leave=self._leave)
        self._pauses: dict[str, Outage] = {}
        self._back: set[str] = set()
        self._clock: tuple[datetime, float] | None = None
        bus.subscribe(CHANNEL, self.wake)

    def wake(self, webhook_id: bytes = b"") -> None:
        """There may be something to send; to this webhook even during its pause."""
        pause = self._pauses.get(webhook_id.decode("utf-8", "replace"))
        if pause is not None:
            pause.until = 0.0
        self._calls.wake()

    def committed(self, commit: Committed) -> None:
        """A commit on this node has messages for webhooks."""
        if commit.for_webhooks:
            self.look()

    def look(self, webhook_id: str = "") -> None:
        """There is something to send for the node with the lease; to this webhook, at once."""
        if self._lease.held:
            self.wake(webhook_id.encode())
        elif webhook_id:
            self._bus.publish(CHANNEL, webhook_id)
        else:
            self._bus.hint(CHANNEL)

    async def run(self) -> None:
        """Claim due messages and send them."""
        await self._calls.run()

    async def _round(self) -> None:
        try:
            await self._connect()
            await self._record()
            for webhook_id in list(self._back):
                if not await hasten(self._connection, webhook_id):
                    self._back.discard(webhook_id)
            again = await self._claim()
        except DATABASE_ERRORS:
            self._close_connection()
            raise
        if again or self._outcomes or self._back:
            self._calls.wake()

    async def _connect(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect_for_outbox()
        elif now - self._planned_at > PLANNED_SECONDS:
            await discard_plans(self._connection)
        else:
            return
        self._planned_at = now

    async def _leave(self) -> None:
        """Another node has the lease, or this node stops: record the results of the last calls, and leave the rest in
        the queue.
        """
        for line in self._lines.values():
            line.until = 0.0
        await self._calls.finish()
        try:
            if self._connection is not None and not self._connection.is_closed():
                async with asyncio.timeout(CLOSE_SECONDS):
                    while self._outcomes:
                        await self._record()
                    await release(self._connection, self._name)
        except DATABASE_ERRORS as error:
            log.warning("webhook_attempts_not_recorded", attempts=len(self._outcomes), reason=repr(error))
        finally:
            self._lines.clear()
            self._outcomes.clear()
            self._close_connection()

    def _close_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(*DATABASE_ERRORS):
                connection.terminate()

    async def _claim(self) -> bool:
        """Read due messages and start to send them. Returns whether to read on at once."""
        loop = asyncio.get_running_loop()
        asked_at = loop.time()
        wanted = [
            LineRequest(webhook_id, *self._room(webhook_id, line, asked_at)) for webhook_id, line in self._lines.items()
        ]
        busy = [(webhook_id, key) for webhook_id, line in self._lines.items() for key in line.groups]
        rooms = {one.webhook_id: one.room for one in wanted}
        try:
            found = await claim(self._connection, self._name, wanted, ROOM, busy)
        except BaseException:
            for line in self._lines.values():
                line.reached = None
            raise
        answered = loop.time()
        again = found.put_off > 0
        for webhook_id, line in list(self._lines.items()):
            if webhook_id not in found.lines:
                line.until = 0.0
                line.forget_waiting()
                if not line.groups and not line.senders:
                    del self._lines[webhook_id]
                    self._pauses.pop(webhook_id, None)
        for webhook_id, claimed in found.lines.items():
            self._clock = (claimed.now, asked_at)
            held = self._lines.setdefault(webhook_id, WebhookLine())
            full = claimed.due >= rooms.get(webhook_id, ROOM)
            if held.until <= answered:
                # Somebody else may have sent meanwhile what was read before.
                held.forget_waiting()
                full, held.reached = True, None
            else:
                held.reached = _reached(held, claimed, full=full)
            held.until = asked_at + claimed.seconds
            for at, messages in claimed.groups:
                group = held.groups[messages[0].key] = MessageGroup(at, messages, answered)
                held.waiting.append(group)
            for _ in range(min(PER_WEBHOOK - held.senders, len(held.waiting))):
                held.senders += 1
                self._calls.start(self._send(webhook_id, held))
            again = again or (full and len(held.groups) <= ROOM // 2 and webhook_id not in self._pauses)
        UNDER_WAY.set(len(self._calls))
        return again

    def _room(self, webhook_id: str, line: WebhookLine, now: float) -> tuple[int, datetime | None]:
        """How many messages to read, and from where: none while enough are in memory or during a pause, one right after
        a pause.
        """
        pause = self._pauses.get(webhook_id)
        if pause is not None:
            room = 0 if pause.until > now or line.groups else 1
        else:
            room = ROOM - len(line.groups) if len(line.groups) <= ROOM // 2 else 0
        if not room:
            return 0, None
        since = line.read_on()
        if line.from_the_start_at <= now:
            line.from_the_start_at = now + FROM_THE_START_SECONDS
            since = None
        return room, since

    async def _send(self, webhook_id: str, line: WebhookLine) -> None:
        """Send the messages in the queue, until none is left in memory."""
        try:
            while line.waiting and self._may_send(webhook_id, line):
                await self._send_group(webhook_id, line, line.waiting.popleft())
        finally:
            line.senders -= 1
            UNDER_WAY.set(len(self._calls) - 1)
            if line.waiting and webhook_id in self._pauses:
                line.forget_waiting()

    def _may_send(self, webhook_id: str, line: WebhookLine) -> bool:
        now = asyncio.get_running_loop().time()
        if now >= line.until:
            return False
        pause = self._pauses.get(webhook_id)
        return pause is None or (pause.until <= now and line.senders == 1)

    async def _send_group(self, webhook_id: str, line: WebhookLine, group: MessageGroup) -> None:
        failed_before = group.messages[0].attempt > 1
        try:
            for place, message in enumerate(group.messages):
                if place and not self._may_send(webhook_id, line):
                    return
                if asyncio.get_running_loop().time() > group.read_at + KEPT_SECONDS:
                    self._calls.wake()
                    return
                at = self._now()
                body = with_root(webhook_body(message), self._root())
                result = await self.sender.post(message.url, body.encode(), webhook_headers(message, at, body))
                ATTEMPTS.labels(result.outcome).inc()
                CALL_TIME.observe(result.ms / 1000)
                self._pause_or_resume(webhook_id, result)
                last = place + 1 == len(group.messages)
                self._note(line, group, message, at, result, hasten=last and failed_before)
                if result.error is not None:
                    return
        finally:
            group.ended = True
            if not group.unrecorded:
                line.free(group.messages[0].key)

    def _note(
        self, line: WebhookLine, group: MessageGroup, message: DueMessage, at: datetime, result: Result, *, hasten: bool
    ) -> None:
        attempt = Attempt(at, result.status, result.ms, result.error)
        again = max(retry_seconds(message.attempt), result.retry_after or 0.0)
        hasten = hasten and result.error is None
        outcome = MessageOutcome(message.id, message.attempt, attempt, again, hasten, message.body)
        group.unrecorded += 1
        self._outcomes.append((line, group, outcome))
        self._calls.wake()

    async def _record(self) -> None:
        """Record the results of the last calls, repeatedly until the database confirms it."""
        batch = self._outcomes[:RECORDED_AT_ONCE]
        if not batch:
            return
        recorded = await record(self._connection, [outcome for _, _, outcome in batch])
        del self._outcomes[: len(batch)]
        for line, group, outcome in batch:
            group.unrecorded -= 1
            if group.ended and not group.unrecorded and line.groups.get(group.messages[0].key) is group:
                line.free(group.messages[0].key)
            if outcome.attempt.error is not None and outcome.message_id in recorded:
                _settle(group, outcome, parked=recorded[outcome.message_id])
        for webhook_id in {group.messages[0].webhook_id for _, group, one in batch if one.attempt.status == GONE}:
            if await switch_off(self._connection, webhook_id, new_id()):
                log.warning("webhook_switched_off", webhookId=webhook_id)

    def _now(self) -> datetime:
        """The database's time: receivers refuse messages whose time is off by minutes."""
        assert self._clock is not None
        then, at = self._clock
        return then + timedelta(seconds=asyncio.get_running_loop().time() - at)

    def _pause_or_resume(self, webhook_id: str, result: Result) -> None:
        """A receiver that is down gets a pause, as long as it asked for if it did; any other answer ends it, and what
        waited for it may go. One that is gone gets a pause until its webhook is stopped.
        """
        loop = asyncio.get_running_loop()
        if result.status == GONE:
            self._pauses[webhook_id] = Outage(0, loop.time() + LONGEST_PAUSE_SECONDS)
            return
        if not result.receiver_is_down:
            if self._pauses.pop(webhook_id, None) is not None:
                self._back.add(webhook_id)
            return
        pause = self._pauses.setdefault(webhook_id, Outage(0, 0.0))
        if pause.until <= loop.time():
            pause.failures += 1
            seconds = min(FIRST_PAUSE_SECONDS * 2 ** (pause.failures - 1), LONGEST_PAUSE_SECONDS)
            pause.until = loop.time() + seconds
        if result.retry_after is not None:
            pause.until = max(pause.until, loop.time() + result.retry_after)


def _reached(line: WebhookLine, claimed: ClaimedLine, *, full: bool) -> datetime | None:
    """How far a queue has been read. Messages that are being written may be committed a little later."""
    if claimed.due == 0 and full:
        return line.reached
    latest = claimed.now - timedelta(seconds=LATE_SECONDS)
    return min(claimed.reached, latest) if full and claimed.reached is not None else latest


def _settle(group: MessageGroup, outcome: MessageOutcome, *, parked: bool) -> None:
    about = {
        "webhookId": group.messages[0].webhook_id,
        "messageId": outcome.message_id,
        "attempt": outcome.number,
        "reason": without_answer(outcome.attempt.error or ""),
    }
    if parked:
        PARKED.inc()
        log.error("webhook_message_parked", **about)
    else:
        log.info("webhook_attempt_failed", **about)
