"""What a claim of webhooks' messages costs: as much as it claims, however long the line, whatever was sent before.

Counted are the pages that a statement touches, with plans that were made while the tables were empty.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from server.ids import new_id
from server.store.engine import Database
from server.store.queues.webhook_queue import (
    CLAIM,
    GROUP,
    RECORD,
    Attempt,
    Claim,
    DueMessage,
    LineRequest,
    MessageOutcome,
    claim,
    hasten,
    record,
    release,
)
from tests.waiting import until

ROOM: Final = 32
SHORT, LONG = 600, 20_000
# Six messages a delivery, of deliveries that run side by side; one comes a millisecond after the other, until now.
FILL: Final = """
INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, next_attempt_at)
SELECT gen_random_uuid(), $1::text::uuid, md5('delivery ' || n / 600 * 100 + n % 100)::uuid::text, 'delivery.assigned',
       '{"n":' || n || '}', now() - ($2::int - n) * interval '1 ms'
FROM generate_series(1, $2::int) AS n"""
PREPARE: Final = f"""
PREPARE counted_claim (text, int, text[], int[], timestamptz[], text[], text[]) AS {CLAIM};
PREPARE counted_record (text[], int[], timestamptz[], int[], int[], text[], float8[], boolean[], bytea[]) AS {RECORD}"""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """As the outbox has one, with its statements planned on empty tables."""
    connection = await Database(database_url).connect_for_outbox()
    await connection.execute(PREPARE)
    await counted_claim(connection, new_id())
    await counted_record(connection, [new_id()], "NULL")
    yield connection
    await connection.close()


async def a_webhook(connection: Any) -> str:
    webhook_id = new_id()
    await connection.execute(
        "INSERT INTO webhooks (id, url, events, secret) VALUES ($1, 'https://shop', '{*}', 's')", webhook_id
    )
    return webhook_id


async def a_message(connection: Any, webhook_id: str, key: str, due: str = "now()") -> str:
    found: str = await connection.fetchval(
        "INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, next_attempt_at)"
        f" VALUES (gen_random_uuid(), $1, $2, 't', '', {due}) RETURNING id",
        webhook_id,
        key,
    )
    return found


async def counted_claim(connection: Any, webhook_id: str, since: datetime | None = None) -> int:
    """How many pages it touches to claim of one webhook, read from there on or from the start."""
    position = "NULL::timestamptz" if since is None else f"'{since.isoformat()}'::timestamptz"
    arguments = f"'me', 0, ARRAY['{webhook_id}'], ARRAY[{ROOM}], ARRAY[{position}], '{{}}', '{{}}'"
    return await pages(connection, f"counted_claim ({arguments})")


async def counted_record(connection: Any, ids: list[str], error: str) -> int:
    """How many pages it touches to record an attempt for each of these messages, undone afterwards."""
    names, number = ", ".join(f"'{one}'" for one in ids), len(ids)
    values = (
        ("1", "int"), ("now()", "timestamptz"), ("200", "int"), ("5", "int"), (error, "text"), ("60", "float8"),
        ("true", "boolean"), ("''::bytea", "bytea"),
    )  # fmt: skip
    arrays = ", ".join(f"array_fill({value}::{kind}, ARRAY[{number}])" for value, kind in values)
    await connection.execute("BEGIN")
    try:
        return await pages(connection, f"counted_record (ARRAY[{names}], {arrays})")
    finally:
        await connection.execute("ROLLBACK")


async def pages(connection: Any, execute: str) -> int:
    explained = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE {execute}")
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def ours(
    connection: Any, *wanted: LineRequest, sender: str = "me", busy: tuple[tuple[str, str], ...] = ()
) -> Claim:
    return await claim(connection, sender, wanted, ROOM, busy)


def messages(claimed: Claim, webhook_id: str) -> list[list[str]]:
    """The ids of each group."""
    return [[message.id for message in group] for _, group in claimed.lines[webhook_id].groups]


def said(message: DueMessage, error: str | None = None, again: float = 60.0, *, hasten: bool = False) -> MessageOutcome:
    return MessageOutcome(message.id, message.attempt, Attempt(message.at, 200, 5, error), again, hasten, message.body)


async def test_a_long_line_costs_a_claim_and_a_record_no_more_than_a_short_one(connection: Any) -> None:
    few, many = await a_webhook(connection), await a_webhook(connection)
    await ours(connection)
    await connection.execute(FILL, few, SHORT)
    short = await counted_claim(connection, few)
    (short_ids,) = await connection.fetchrow("SELECT array_agg(id::text) FROM webhook_deliveries WHERE seq % 20 = 0")
    short_recorded = [await counted_record(connection, short_ids, error) for error in ("NULL", "'answered 404'")]
    await connection.execute(FILL, many, LONG)
    long = await counted_claim(connection, many)
    assert short > ROOM, "it reads what it claims"
    # A level more of each index, at most.
    assert long < 2 * short
    (long_ids,) = await connection.fetchrow(
        "SELECT array_agg(id::text) FROM"
        " (SELECT id FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY seq LIMIT $2) AS m",
        many,
        len(short_ids),
    )
    for error, at_most in zip(("NULL", "'answered 404'"), short_recorded, strict=True):
        assert await counted_record(connection, long_ids, error) < 2 * at_most + 20


async def test_a_claim_does_not_look_at_what_was_sent_before(connection: Any, database_url: str) -> None:
    """Not even while a dump or a slow report keeps the vacuum from removing it."""
    webhook_id = await a_webhook(connection)
    await ours(connection)
    report = await asyncpg.connect(database_url)
    await connection.execute(FILL, webhook_id, LONG)
    fresh = await counted_claim(connection, webhook_id)
    async with report.transaction(isolation="repeatable_read"):
        await report.fetchval("SELECT count(*) FROM webhook_deliveries")
        await connection.execute("UPDATE webhook_deliveries SET delivered_at = now(), attempts = 1")
        (reached,) = await connection.fetchrow("SELECT max(next_attempt_at) FROM webhook_deliveries")
        for number in range(SHORT):
            await a_message(connection, webhook_id, f"new {number}")
        read_on = await counted_claim(connection, webhook_id, reached)
        assert read_on < 2 * fresh
        assert await counted_claim(connection, webhook_id) > read_on + LONG / 100, "from the start it is in the way"
    await report.close()


async def test_a_claim_takes_the_messages_of_a_key_together_from_the_first_that_is_open(connection: Any) -> None:
    webhook_id = await a_webhook(connection)
    soup = [await a_message(connection, webhook_id, "soup") for _ in range(GROUP + 2)]
    cake = await a_message(connection, webhook_id, "cake")
    claimed = await ours(connection)
    assert messages(claimed, webhook_id) == [soup[:GROUP], [cake]]
    again = await ours(connection, LineRequest(webhook_id, ROOM, None), busy=((webhook_id, "soup"),))
    assert messages(again, webhook_id) == [[cake]]
    assert messages(await ours(connection, LineRequest(webhook_id, 0, None)), webhook_id) == []


async def test_what_is_behind_a_message_that_waits_for_another_try_waits_as_long(connection: Any) -> None:
    webhook_id = await a_webhook(connection)
    first, second = [await a_message(connection, webhook_id, "soup") for _ in range(2)]
    ((_, group),) = (await ours(connection)).lines[webhook_id].groups
    assert await record(connection, [said(group[0], "answered 404")]) == {first: False}
    third = await a_message(connection, webhook_id, "soup")
    claimed = await ours(connection, LineRequest(webhook_id, ROOM, None))
    assert (messages(claimed, webhook_id), claimed.put_off) == ([], 1), "the third was put off, the second already"
    claimed = await ours(connection, LineRequest(webhook_id, ROOM, None))
    assert (messages(claimed, webhook_id), claimed.put_off) == ([], 0)
    assert await connection.fetchval("SELECT count(DISTINCT next_attempt_at) FROM webhook_deliveries") == 1
    await connection.execute("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE id = $1", first)
    claimed = await ours(connection, LineRequest(webhook_id, ROOM, None))
    assert messages(claimed, webhook_id) == [[first, second, third]]
    ((_, group),) = claimed.lines[webhook_id].groups
    assert [message.attempt for message in group] == [2, 1, 1]
    await record(connection, [said(group[0], hasten=True)])
    assert messages(await ours(connection, LineRequest(webhook_id, ROOM, None)), webhook_id) == [[second, third]]


async def test_an_attempt_is_recorded_once_however_often_it_is_said(connection: Any) -> None:
    webhook_id = await a_webhook(connection)
    message_id = await a_message(connection, webhook_id, "soup")
    ((_, (message,)),) = (await ours(connection)).lines[webhook_id].groups
    for expected in ({message_id: False}, {}):
        assert await record(connection, [said(message, "answered 500")]) == expected
    assert await record(connection, [said(message)]) == {}, "another has begun the next attempt"
    row = await connection.fetchrow("SELECT attempts, delivered_at, last_error FROM webhook_deliveries")
    assert tuple(row) == (1, None, "answered 500")
    assert await connection.fetchval("SELECT count(*) FROM webhook_attempts") == 1


@pytest.mark.parametrize(("body", "kept"), [("erased", "answered 422"), ("", "answered 422: no Zoe here")])
async def test_an_answer_to_a_body_that_was_erased_meanwhile_is_not_kept(
    connection: Any, database_url: str, body: str, kept: str
) -> None:
    """Even if the erasing is committed only while the answer is recorded."""
    webhook_id = await a_webhook(connection)
    message_id = await a_message(connection, webhook_id, "soup")
    ((_, (message,)),) = (await ours(connection)).lines[webhook_id].groups
    await connection.execute("SET lock_timeout = 0")
    waits = await connection.fetchval("SELECT pg_backend_pid()")
    erasing = await Database(database_url).connect_for_privacy()
    async with erasing.transaction():
        await erasing.execute("UPDATE webhook_deliveries SET body = $2 WHERE id = $1", message_id, body)
        recording = asyncio.create_task(record(connection, [said(message, "answered 422: no Zoe here")]))
        await until(lambda: erasing.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted AND pid = $1", waits))
    assert await recording == {message_id: False}
    await erasing.close()
    for answer in ("SELECT last_error FROM webhook_deliveries", "SELECT error FROM webhook_attempts"):
        assert await connection.fetchval(answer) == kept


async def test_what_was_tried_for_a_day_is_parked_and_lets_the_next_go(connection: Any) -> None:
    webhook_id = await a_webhook(connection)
    first, second = [await a_message(connection, webhook_id, "soup") for _ in range(2)]
    await connection.execute(
        "UPDATE webhook_deliveries SET next_attempt_at = now() + interval '1 h' WHERE id = $1", second
    )
    ((_, group),) = (await ours(connection)).lines[webhook_id].groups
    assert await record(connection, [said(group[0], "answered 500", again=25 * 3600.0)]) == {first: True}
    assert messages(await ours(connection, LineRequest(webhook_id, ROOM, None)), webhook_id) == [[second]]


async def test_a_webhook_has_one_sender_until_they_stop_or_are_not_heard_of(connection: Any, database_url: str) -> None:
    webhook_id = await a_webhook(connection)
    message_id = await a_message(connection, webhook_id, "soup")
    other = await Database(database_url).connect_for_outbox()
    claimed = await ours(connection)
    assert 0 < claimed.lines[webhook_id].seconds <= 8
    assert (await ours(other, sender="other")).lines == {}
    await release(other, "other")
    assert (await ours(other, sender="other")).lines == {}, "only a sender's own"
    await release(connection, "me")
    assert messages(await ours(other, sender="other"), webhook_id) == [[message_id]]
    assert (await ours(connection)).lines == {}
    await connection.execute("UPDATE webhooks SET sender_until = now() - interval '1 ms'")
    assert messages(await ours(connection), webhook_id) == [[message_id]]
    assert (await ours(other, sender="other")).lines == {}
    await connection.execute("UPDATE webhooks SET active = false")
    assert (await ours(connection)).lines == {}
    await other.close()


async def test_what_waits_for_a_receiver_that_is_back_is_due(connection: Any) -> None:
    webhook_id = await a_webhook(connection)
    await a_message(connection, webhook_id, "soup", "now() + interval '1 h'")
    claimed = await ours(connection)
    assert (messages(claimed, webhook_id), claimed.lines[webhook_id].due) == ([], 0)
    assert not await hasten(connection, webhook_id)
    assert len(messages(await ours(connection, LineRequest(webhook_id, ROOM, None)), webhook_id)) == 1
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert messages(await ours(connection, LineRequest(webhook_id, ROOM, later)), webhook_id) == []
