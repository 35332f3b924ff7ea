"""The outbox: messages for webhooks, signed, in order for each delivery, tried for a day, then parked.

It runs on the node that holds the lease; two at once are harmless, since every message is claimed. A receiver that is
slow or gone takes up its own few calls and nobody else's.
"""

import asyncio
import random
from collections import Counter
from typing import Any, Final

import prometheus_client as p
import structlog
from msgspec import Struct
from standardwebhooks import Webhook

from server.dispatcher.lease import Lease
from server.execute import Committed
from server.notify.calls import Calls
from server.notify.sender import TIMEOUT_SECONDS, Result, Sender
from server.realtime.bus import Bus
from server.store.engine import DATABASE_ERRORS
from server.store.webhooks import Attempt, Claimed, claim, hasten, record

CHANNEL: Final = "outbox"
PER_WEBHOOK: Final = 8
"""Calls under way to one webhook, each for another delivery."""
LOCK_SECONDS: Final = TIMEOUT_SECONDS + 10.0
RECORDING_AT_ONCE: Final = 3
"""Connections taken at most from those that answers are read with."""
SPACING_SECONDS: Final = 0.005
FIRST_RETRY_SECONDS: Final = 1.0
LONGEST_RETRY_SECONDS: Final = 3600.0
JITTER: Final = 0.2
FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 30.0
AGENT: Final = "Callboard-Webhooks/1"

ATTEMPTS: Final = p.Counter("callboard_webhook_attempts", "Calls to webhooks, by what became of them", ["outcome"])
CALL_TIME: Final = p.Histogram(
    "callboard_webhook_seconds", "How long a call to a webhook took", buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10)
)
PARKED: Final = p.Counter("callboard_webhook_messages_parked", "Messages given up after a day")
UNDER_WAY: Final = p.Gauge("callboard_webhook_calls", "Calls to webhooks under way")

log = structlog.get_logger(__name__)


class Pause(Struct):
    """A receiver that is down is left alone, longer from failure to failure, until `until` on the loop's clock."""

    failures: int
    until: float


class Outbox:
    """`run` is to be supervised."""

    def __init__(self, *, pool: Any, lease: Lease, bus: Bus, sender: Sender) -> None:
        self._pool = pool
        self._lease = lease
        self._bus = bus
        self._sender = sender
        self._under_way: Counter[str] = Counter()
        self._calls = Calls("webhook", lease, self._round, spacing_seconds=SPACING_SECONDS)
        self._pauses: dict[str, Pause] = {}
        self._back: set[str] = set()
        self._recording = asyncio.Semaphore(RECORDING_AT_ONCE)
        bus.subscribe(CHANNEL, self.wake)

    def wake(self, webhook_id: bytes = b"") -> None:
        """There may be something to send; to this webhook even if it is being left alone."""
        pause = self._pauses.get(webhook_id.decode("utf-8", "replace"))
        if pause is not None:
            pause.until = 0.0
        self._calls.wake()

    def committed(self, commit: Committed) -> None:
        """Webhooks hear of what was committed here."""
        if commit.for_webhooks:
            self.look()

    def look(self, webhook_id: str = "") -> None:
        """There is something to send, for whoever holds the lease: to this webhook, somebody wants it tried now."""
        if self._lease.held:
            self.wake(webhook_id.encode())
        elif webhook_id:
            self._bus.publish(CHANNEL, webhook_id)
        else:
            self._bus.hint(CHANNEL)

    async def run(self) -> None:
        """Claim what is due and send it, for ever."""
        await self._calls.run()

    async def _round(self) -> None:
        for webhook_id in list(self._back):
            if not await hasten(self._pool, webhook_id):
                self._back.discard(webhook_id)
        claimed, again = await claim(self._pool, self._used(), PER_WEBHOOK, LOCK_SECONDS)
        for message in claimed:
            self._send(message)
        if again or self._back:
            self._calls.wake()

    def _used(self) -> dict[str, int]:
        """What of each webhook's room is taken: all of it during a pause, all but one call right after."""
        now = asyncio.get_running_loop().time()
        used = dict(self._under_way)
        for webhook_id, pause in self._pauses.items():
            room = 0 if pause.until > now else 1
            used[webhook_id] = max(used.get(webhook_id, 0), PER_WEBHOOK - room)
            if self._under_way[webhook_id]:
                used[webhook_id] = PER_WEBHOOK
        return used

    def _send(self, message: Claimed) -> None:
        self._under_way[message.webhook_id] += 1
        self._calls.start(self._deliver(message)).add_done_callback(lambda _: self._sent(message))
        UNDER_WAY.set(len(self._calls))

    def _sent(self, message: Claimed) -> None:
        UNDER_WAY.set(len(self._calls))
        self._under_way[message.webhook_id] -= 1
        if not self._under_way[message.webhook_id]:
            del self._under_way[message.webhook_id]

    async def _deliver(self, message: Claimed) -> None:
        body = body_of(message)
        result = await self._sender.post(message.url, body.encode(), headers_of(message, body))
        ATTEMPTS.labels(result.outcome).inc()
        CALL_TIME.observe(result.ms / 1000)
        self._judge(message.webhook_id, result)
        attempt = Attempt(message.at, result.status, result.ms, result.error)
        again = max(retry_seconds(message.attempt), result.retry_after or 0.0)
        try:
            async with self._recording:
                parked = await record(self._pool, message, attempt, again)
        except DATABASE_ERRORS as error:
            log.warning("webhook_attempt_not_recorded", messageId=message.id, reason=repr(error))
            return
        if result.error is not None:
            told = {"webhookId": message.webhook_id, "messageId": message.id, "attempt": message.attempt}
            if parked:
                PARKED.inc()
                log.error("webhook_message_parked", **told, reason=result.error)
            else:
                log.info("webhook_attempt_failed", **told, reason=result.error)

    def _judge(self, webhook_id: str, result: Result) -> None:
        """A receiver that is down gets a pause; any other answer ends it, and what waited for it may go."""
        if not result.receiver_is_down:
            if self._pauses.pop(webhook_id, None) is not None:
                self._back.add(webhook_id)
            return
        pause = self._pauses.setdefault(webhook_id, Pause(0, 0.0))
        loop = asyncio.get_running_loop()
        if pause.until <= loop.time():
            pause.failures += 1
            seconds = min(FIRST_PAUSE_SECONDS * 2 ** (pause.failures - 1), LONGEST_PAUSE_SECONDS)
            pause.until = loop.time() + seconds


def retry_seconds(attempt: int) -> float:
    """How long after its `attempt`th failure a message is tried again: doubling up to an hour, with jitter."""
    seconds = min(FIRST_RETRY_SECONDS * 2.0 ** min(attempt - 1, 30), LONGEST_RETRY_SECONDS)
    return seconds * random.uniform(1 - JITTER, 1 + JITTER)


def body_of(message: Claimed) -> str:
    """The whole body: the id of the message before what was stored of it."""
    return f'{{"id":"{message.id}",{message.body[1:]}'


def headers_of(message: Claimed, body: str) -> dict[str, str]:
    """The headers of Standard Webhooks. For a day after a rotation both secrets sign. The time is the database's, since
    receivers refuse what a node whose clock is off by minutes would say.
    """
    secrets = [message.secret] if message.previous_secret is None else [message.secret, message.previous_secret]
    return {
        "content-type": "application/json",
        "user-agent": AGENT,
        "webhook-id": message.id,
        "webhook-timestamp": str(int(message.at.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message.id, message.at, body) for secret in secrets),
    }
