"""Everything that a driver's app needs to be up to date, read in one statement: for `hello` and `GET …/state`.

Requests that arrive while a read runs are taken together by the next one, so that many reconnects cost few queries.
"""

import asyncio
from datetime import datetime
from typing import Final

import msgspec
from msgspec import Raw, Struct

from server.contract.replay import replayed
from server.contract.views import (
    ChatMessageView,
    DrivenAssignmentView,
    OfferView,
    RunStopView,
    chat_message_view,
    driven_assignment_view,
    offer_view,
    run_stop_view,
)
from server.dispatch.model import ChatMessage, Delivery, Driver, Offer
from server.dispatch.refusals import NOT_FOUND, TRY_AGAIN, Refusal
from server.store.connections import Pool, Record
from server.store.primary import DATABASE_ERRORS
from server.store.rows import (
    ASSIGNMENT_COLUMNS,
    ASSIGNMENT_WIDTH,
    DELIVERY_WIDTH,
    DRIVER_COLUMNS,
    DRIVER_WIDTH,
    assignment_from,
    columns_of,
    delivery_from,
    driver_from,
    spans,
    work_from,
    work_sql,
)

MISSED_LIMIT: Final = 100
BATCH_LIMIT: Final = 200
QUERY_TIMEOUT_SECONDS: Final = 5.0

_PARTS: Final = spans(2, DRIVER_WIDTH + 4, 8, ASSIGNMENT_WIDTH, DELIVERY_WIDTH, 3)
_ASKED, _DRIVER, _OFFER, _ASSIGNMENT, _DELIVERY, _MESSAGES = _PARTS
SNAPSHOT: Final = f"""
SELECT s.ask, date_trunc('milliseconds', clock_timestamp()),
       {DRIVER_COLUMNS}, p.lat, p.lon, p.at, p.last_call_at,
       o.id, o.delivery_id, o.driver_id, o.status, o.attempt, o.offer_payload, o.created_at, o.expires_at,
       {ASSIGNMENT_COLUMNS}, {columns_of(Delivery, "e")},
       CASE WHEN s.last_seq < d.stream_seq AND s.last_seq >= d.stream_seq - $3 THEN ARRAY(
           SELECT m.body FROM driver_messages m
           WHERE m.driver_id = d.id AND m.seq > s.last_seq AND m.seq <= d.stream_seq ORDER BY m.seq) END,
       ARRAY(SELECT to_json(c)::text FROM chat_messages c
             WHERE c.driver_id = d.id AND c.seen_at IS NULL AND NOT c.by_driver AND c.text IS NOT NULL
             ORDER BY c.at, c.id),
       CASE WHEN d.active_count > 1 THEN {work_sql("d.id")} END
FROM unnest($1::text[]::uuid[], $2::bigint[]) WITH ORDINALITY AS s (driver_id, last_seq, ask)
JOIN drivers d ON d.id = s.driver_id
LEFT JOIN driver_positions p ON p.driver_id = d.id
LEFT JOIN driver_offers o ON o.id = d.open_offer_id
LEFT JOIN assignments a ON a.driver_id = d.id AND a.status = 'ACTIVE'
LEFT JOIN deliveries e ON e.id = a.delivery_id
ORDER BY s.ask, a.created_at
"""  # noqa: S608
NO_SEQ: Final = -1
_decode_message: Final = msgspec.json.Decoder(ChatMessage).decode


class Snapshot(Struct):
    """A driver as of `at`: open offers, active assignments, their run if they have more than one, the last number of
    their stream, the missed messages of it, and the messages of dispatch that they have not seen.
    """

    at: datetime
    driver: Driver
    offers: list[OfferView]
    assignments: list[DrivenAssignmentView]
    seq: int
    messages: list[ChatMessageView]
    missed: list[Raw]
    resync: bool
    run: list[RunStopView] | None = None


class Snapshots:
    """Reads snapshots in batches. `run` is to be supervised."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._requests: list[tuple[str, int | None, asyncio.Future[Snapshot | Refusal]]] = []
        self._something = asyncio.Event()

    def read(self, driver_id: str, last_seq: int | None = None) -> "asyncio.Future[Snapshot | Refusal]":
        """The driver now; with `last_seq` also the messages after it. NOT_FOUND, or TRY_AGAIN without a database."""
        future: asyncio.Future[Snapshot | Refusal] = asyncio.get_running_loop().create_future()
        self._requests.append((driver_id, last_seq, future))
        self._something.set()
        return future

    async def run(self) -> None:
        """Answer requests."""
        while True:
            await self._something.wait()
            requests, self._requests = self._requests[:BATCH_LIMIT], self._requests[BATCH_LIMIT:]
            if not self._requests:
                self._something.clear()
            answers: list[Snapshot | Refusal] = [TRY_AGAIN] * len(requests)
            try:
                answers = await self._answer([(driver_id, seq) for driver_id, seq, _ in requests])
            except DATABASE_ERRORS:
                pass  # each request is answered try_again
            finally:
                for (_, _, future), answer in zip(requests, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)

    async def _answer(self, requests: list[tuple[str, int | None]]) -> list[Snapshot | Refusal]:
        rows = await self._pool.fetch(
            SNAPSHOT,
            [driver_id for driver_id, _ in requests],
            [NO_SEQ if seq is None else max(NO_SEQ, min(seq, 2**62)) for _, seq in requests],
            MISSED_LIMIT,
            timeout=QUERY_TIMEOUT_SECONDS,
        )
        answers: list[Snapshot | Refusal] = [NOT_FOUND] * len(requests)
        for row in rows:
            index = row[0] - 1
            snapshot = answers[index]
            if isinstance(snapshot, Refusal):
                snapshot = answers[index] = _snapshot(row, requests[index][1])
            assignment, delivery = row[_ASSIGNMENT], row[_DELIVERY]
            if assignment[0] is not None:
                driven = driven_assignment_view(assignment_from(assignment), delivery_from(delivery, None, {}))
                snapshot.assignments.append(driven)
        return answers


def _snapshot(row: Record, last_seq: int | None) -> Snapshot:
    _, now = row[_ASKED]
    driver = driver_from(row[_DRIVER])
    offers = []
    offer_id, delivery_id, driver_id, status, attempt, payload, created_at, expires_at = row[_OFFER]
    if offer_id is not None:
        raw = Raw(payload.encode())
        offer = Offer(offer_id, delivery_id, driver_id, status, attempt, raw, created_at, expires_at)
        offers.append(offer_view(offer, now))
    bodies, unseen, work = row[_MESSAGES]
    seq = driver.stream_seq
    missed: list[Raw] = []
    resync = False
    if last_seq is not None and last_seq != seq:
        resync = last_seq < 0 or bodies is None or len(bodies) != seq - last_seq
        if bodies and not resync:
            missed = [Raw(body.encode()) for body in replayed(bodies, now)]
    messages = [chat_message_view(_decode_message(message)) for message in unseen]
    return Snapshot(now, driver, offers, [], seq, messages, missed, resync, _run(work))


def _run(text: str | None) -> list[RunStopView] | None:
    if text is None:
        return None
    work = work_from(text)
    stops = [(stop, work.deliveries.get(stop.delivery_id)) for stop in work.stops]
    return [run_stop_view(stop, delivery) for stop, delivery in stops if delivery is not None] or None
