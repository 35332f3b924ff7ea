"""Web push for drivers: an offer reaches a phone whose app is closed, as long as it runs, and is taken back after that.
So does a message of dispatch that the driver has not seen.

It runs on the node that holds the lease; two at once are harmless, since every notice is claimed. What a push service
does with a message twice, the phone shows once: all of an offer's messages have one topic there and one tag here.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import prometheus_client as p
import structlog
from msgspec import Struct

from server.contract.commit import Committed
from server.contract.views import instant, to_json
from server.dispatch.model import OfferPayload
from server.lease import Lease
from server.notify.call_rounds import Calls, retry_seconds
from server.notify.push_message import (
    NOBODY,
    Address,
    Signer,
    encrypted,
    new_private_key,
    origin_of,
    push_headers,
    topic_of,
)
from server.notify.sender import Result, Sender, without_answer
from server.redis.bus import Bus
from server.settings import Settings
from server.store.engine import DATABASE_ERRORS, Database
from server.store.kept_connection import KeptConnection
from server.store.push_subscriptions import kept_key
from server.store.queues.push_notices import SOONEST_SECONDS, NoticeToSend, claim_driver_notices, record_driver_notice

CHANNEL: Final = "push"
AT_ONCE: Final = 64
"""The limit of calls in progress."""
NOTICE_SOURCES: Final = 4
"""Offers, closed offers, messages, and what is tried again: the room is divided between them."""
TIMEOUT_SECONDS: Final = 5.0
LOCK_SECONDS: Final = TIMEOUT_SECONDS + 3.0
RECORDING_AT_ONCE: Final = 2
SPACING_SECONDS: Final = 0.05
GONE: Final = (404, 410)
TEXT_LIMIT: Final = 300
"""Characters of a message in a push: push services take 4 KiB."""
WORTH_ANOTHER_TRY: Final = (408, 425, 429)

MESSAGES: Final = p.Counter("callboard_push_messages", "Calls to push services, by outcome", ["outcome"])
CALL_TIME: Final = p.Histogram(
    "callboard_push_seconds", "How long a call to a push service took", buckets=(0.02, 0.05, 0.1, 0.25, 0.5, 1, 2, 5)
)

log = structlog.get_logger(__name__)


class PushedOffer(Struct, frozen=True, rename="camel", tag_field="type", tag="offer"):
    push_id: str
    offer_id: str
    driver_id: str
    delivery_id: str
    expires_at: str
    store_name: str
    distance_km: float
    pickup_minutes: int
    earning_cents: int
    currency: str


class PushedEnd(Struct, frozen=True, rename="camel", tag_field="type", tag="offer_closed"):
    """The push message that removes a closed offer from the phone."""

    push_id: str
    offer_id: str
    driver_id: str
    expires_at: str


class PushedMessage(Struct, frozen=True, rename="camel", tag_field="type", tag="message"):
    """The push message of a message of dispatch; a long text is cut."""

    push_id: str
    message_id: str
    driver_id: str
    expires_at: str
    from_: str = msgspec.field(name="from")
    text: str
    at: str


class Push:
    """`run` is to be supervised."""

    def __init__(
        self, *, database: Database, lease: Lease, bus: Bus, sender: Sender, settings: Callable[[], Settings]
    ) -> None:
        self._pool = database.pool
        # Looks every second, and after commits: the pool would plan the statement each time, which takes ten times as
        # long as to run it.
        self._kept = KeptConnection(database, database.connect_for_outbox)
        self._lease = lease
        self._bus = bus
        self._sender = sender
        self._settings = settings
        self._signer: Signer | None = None
        self._subject = ""
        self._calls = Calls("push", lease, self._round, spacing_seconds=SPACING_SECONDS, leave=self._leave)
        self._recording = asyncio.Semaphore(RECORDING_AT_ONCE)
        bus.subscribe(CHANNEL, self._calls.wake)

    async def signer(self) -> Signer:
        """The key of all nodes. Raises DatabaseAway."""
        settings = self._settings()
        home = settings.public_url
        subject = settings.vapid_subject or (home if home.startswith("https://") else NOBODY)
        if self._signer is None or self._subject != subject:
            key = settings.vapid_private_key or await kept_key(self._pool, new_private_key())
            self._signer = await asyncio.to_thread(Signer, key, subject)
            self._subject = subject
        return self._signer

    def committed(self, commit: Committed) -> None:
        """Something happened to a driver who has no socket."""
        if any(driver.session_id is None for driver in commit.drivers):
            self.look()

    def look(self) -> None:
        """There may be something to send; the node with the lease does so."""
        if self._lease.held:
            self._calls.wake()
        else:
            self._bus.hint(CHANNEL)

    async def run(self) -> None:
        """Claim due pushes and send them."""
        await self._calls.run()

    async def _leave(self) -> None:
        """Another node has the lease, or this node stops."""
        await self._calls.finish()
        self._kept.close()

    async def _round(self) -> None:
        each = (AT_ONCE - len(self._calls)) // NOTICE_SOURCES
        if each == 0:
            return
        claimed_at = asyncio.get_running_loop().time()
        try:
            notices = await claim_driver_notices(await self._kept.get(), each, LOCK_SECONDS)
        except DATABASE_ERRORS as error:
            self._kept.failed(error)
            raise
        if len(notices) >= each:
            self._calls.wake()
        for notice in notices:
            self._calls.start(self._deliver(notice, claimed_at + notice.seconds_left))

    async def _deliver(self, notice: NoticeToSend, deadline: float) -> None:
        """Send a push, or record why not; `deadline` is on the loop's clock."""
        reason = moot(notice, deadline - asyncio.get_running_loop().time())
        if reason is not None:
            await self._record(notice, Result(None, 0, reason, outcome="moot"), None, tried=False)
            return
        assert notice.endpoint is not None
        assert notice.p256dh is not None
        assert notice.auth is not None
        address = Address(notice.endpoint, notice.p256dh, notice.auth)
        signer = await self.signer()
        body = await asyncio.to_thread(encrypted, address, body_of(notice))
        left = deadline - asyncio.get_running_loop().time()
        headers = push_headers(signer, address, ttl_seconds=max(int(left), 0), topic=topic_of(notice.about))
        result = await self._sender.post(address.endpoint, body, headers, within=min(TIMEOUT_SECONDS, max(left, 0)))
        CALL_TIME.observe(result.ms / 1000)
        again = max(retry_seconds(notice.attempt), result.retry_after or 0.0) if may_try_again(result) else None
        await self._record(notice, result, again, tried=True)

    async def _record(self, notice: NoticeToSend, result: Result, again: float | None, *, tried: bool) -> None:
        gone = result.status in GONE
        MESSAGES.labels("gone" if gone else result.outcome).inc()
        ids = {"noticeId": notice.id, "driverId": notice.driver_id, "kind": notice.kind}
        ids["offerId" if notice.offer_id is not None else "messageId"] = notice.about
        try:
            async with self._recording:
                failed = await record_driver_notice(
                    self._pool, notice, result.status, result.error, again, tried=tried, gone=gone
                )
        except DATABASE_ERRORS as error:
            log.warning("push_not_recorded", **ids, reason=repr(error))
            return
        if notice.endpoint is not None:
            ids["service"] = origin_of(notice.endpoint)
        if result.error is None:
            log.info("push_sent", **ids, attempt=notice.attempt, ms=result.ms)
        elif failed:
            log.warning("push_failed", **ids, attempt=notice.attempt, reason=without_answer(result.error))
        else:
            log.info("push_attempt_failed", **ids, attempt=notice.attempt, reason=without_answer(result.error))


def moot(notice: NoticeToSend, seconds_left: float) -> str | None:
    """Why a notice is no longer useful, or None."""
    if notice.endpoint is None:
        return "the subscription no longer exists"
    if seconds_left < SOONEST_SECONDS:
        about = "message" if notice.kind == "message" else "offer"
        return f"the {about} expired before the push could be sent"
    if notice.kind == "offer.created":
        if not notice.open:
            return "the offer was closed before the push could be sent"
        if notice.received:
            return "the app already had the offer"
    if notice.kind == "message":
        if notice.received:
            return "the driver has seen the message"
        if not notice.open:
            return "the message was erased before the push could be sent"
    return None


def may_try_again(result: Result) -> bool:
    """Whether a later attempt may succeed."""
    if result.status is None:
        return result.outcome != "not_allowed"
    return result.status >= 500 or result.status in WORTH_ANOTHER_TRY


def body_of(notice: NoticeToSend) -> bytes:
    """The content for the phone; only the driver's browser can decrypt it."""
    expires_at = instant(notice.expires_at)
    if notice.kind == "message":
        assert notice.text is not None
        assert notice.author is not None
        assert notice.written_at is not None
        text = notice.text if len(notice.text) <= TEXT_LIMIT else notice.text[: TEXT_LIMIT - 1] + "…"
        message = PushedMessage(
            notice.id, notice.about, notice.driver_id, expires_at, notice.author, text, instant(notice.written_at)
        )
        return to_json(message).encode()
    assert notice.offer_id is not None
    assert notice.delivery_id is not None
    if notice.kind == "offer.closed":
        return to_json(PushedEnd(notice.id, notice.offer_id, notice.driver_id, expires_at)).encode()
    assert notice.payload is not None
    payload = msgspec.json.decode(notice.payload, type=OfferPayload)
    offer = PushedOffer(
        notice.id,
        notice.offer_id,
        notice.driver_id,
        notice.delivery_id,
        expires_at,
        payload.pickup_store_name,
        payload.estimated_distance_km,
        payload.estimated_pickup_time_min,
        payload.estimated_earning_cents,
        payload.currency,
    )
    return to_json(offer).encode()
