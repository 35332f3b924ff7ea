"""A line of messages for a webhook: in order, none lost, none twice unless something broke."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from server.notify import webhook_outbox as module
from server.notify.sender import Sender
from server.notify.webhook_outbox import PER_WEBHOOK, Outbox
from server.store.engine import Database
from server.store.queues.webhook_queue import MessageOutcome, record, switch_off
from tests.receiver import Heard, Receiver, listening
from tests.waiting import until

SECRET = "whsec_" + "A" * 43 + "="
OPEN = "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND parked_at IS NULL"


@asynccontextmanager
async def running(database: Database, lease: Any = None) -> AsyncIterator[Outbox]:
    """An outbox by itself, on a node that holds the lease."""
    bus: Any = SimpleNamespace(subscribe=lambda *_: None)
    sender = Sender(allow_private=True)
    outbox = Outbox(database=database, lease=lease or held(), bus=bus, sender=sender, root=str)
    task = asyncio.create_task(outbox.run())
    try:
        yield outbox
    finally:
        task.cancel()
        await asyncio.wait([task])
        await sender.close()


def held() -> Any:
    return SimpleNamespace(held=True, taken=asyncio.Event())


async def a_line(database: Database, receiver: Receiver, keys: int, each: int) -> str:
    """A webhook, and for each key so many messages, in turns."""
    webhook_id: str = await database.pool.fetchval(
        "INSERT INTO webhooks (id, url, events, secret) VALUES (gen_random_uuid(), $1, '{*}', $2) RETURNING id",
        receiver.url,
        SECRET,
    )
    await database.pool.execute(
        "INSERT INTO webhook_deliveries (id, webhook_id, key, type, body)"
        " SELECT gen_random_uuid(), $1::text::uuid, 'key ' || n % $2, 'delivery.assigned',"
        " '{\"key\":\"key ' || n % $2 || '\",\"number\":' || n / $2 || '}'"
        " FROM generate_series(0, $2::int * $3::int - 1) AS n",
        webhook_id,
        keys,
        each,
    )
    return webhook_id


def all_sent(database: Database) -> Callable[[], Awaitable[bool]]:
    async def sent() -> bool:
        return bool(await database.pool.fetchval(OPEN) == 0)

    return sent


def in_order(heard: list[Heard]) -> bool:
    """Whether the numbers of every key come one after the other; again, if they were refused."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for one in heard:
        numbers[one.message["key"]].append(one.message["number"])
    return all(found == sorted(found) for found in numbers.values())


async def test_many_messages_keep_their_order_though_some_are_refused_in_between(database: Database) -> None:
    class Picky(Receiver):
        """Refuses every third message at first, and some of them twice."""

        def answer_to(self, heard: Heard) -> int:
            refused[heard.id] += 1
            number = heard.message["number"]
            return 404 if refused[heard.id] <= (number % 3 == 1) + (number % 6 == 1) else 200

    refused: Counter[str] = Counter()
    receiver = Picky()
    await receiver.start()
    await a_line(database, receiver, keys=40, each=13)
    async with running(database):
        await until(all_sent(database))
    assert in_order(receiver.heard)
    assert set(Counter(heard.id for heard in receiver.heard).values()) == {1, 2, 3}
    assert len(refused) == 40 * 13
    assert all(heard.verified_by(SECRET) for heard in receiver.heard)
    assert await database.pool.fetchval("SELECT count(*) FROM webhook_attempts") == len(receiver.heard)
    await receiver.stop()


async def test_messages_go_over_connections_that_are_kept(database: Database, receiver: Receiver) -> None:
    await a_line(database, receiver, keys=300, each=2)
    async with running(database):
        await until(all_sent(database))
    assert len(receiver.heard) == 600
    assert receiver.connections <= PER_WEBHOOK


async def test_a_node_that_dies_before_it_could_record_loses_nothing(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_: Any) -> dict[str, bool]:
        raise OSError("the node is gone")

    await a_line(database, receiver, keys=5, each=2)
    with monkeypatch.context() as patched:
        patched.setattr(module, "record", dies)
        async with running(database):
            await receiver.messages(10)
    assert await database.pool.fetchval(OPEN) == 10
    assert await database.pool.fetchval("SELECT sender_until > now() FROM webhooks"), "it did not even say so"
    await database.pool.execute("UPDATE webhooks SET sender_until = now()")
    async with running(database):
        await until(all_sent(database))
    first, again = receiver.heard[:10], receiver.heard[10:]
    assert {heard.id: heard.body for heard in first} == {heard.id: heard.body for heard in again}
    assert in_order(first)
    assert in_order(again)


async def test_what_could_not_be_recorded_at_once_is_recorded_later_and_not_sent_again(
    database: Database, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError("away"), TimeoutError(), OSError("still away")]

    async def at_last(*arguments: Any) -> dict[str, bool]:
        if failures:
            raise failures.pop()
        return await record(*arguments)

    monkeypatch.setattr("server.notify.webhook_outbox.record", at_last)
    await a_line(database, receiver, keys=20, each=3)
    async with running(database):
        await until(all_sent(database))
    assert not failures
    assert len(receiver.heard) == len({heard.id for heard in receiver.heard}) == 60


async def test_a_webhook_that_cannot_be_stopped_at_once_holds_nobody_up(
    database: Database, receiver: Receiver, other: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its 410 is recorded together with answers of another, whose next messages still go out."""
    failures = [OSError("away")]

    async def at_last(*arguments: Any) -> bool:
        if failures:
            raise failures.pop()
        return await switch_off(*arguments)

    async def together(source: Any, outcomes: list[MessageOutcome]) -> dict[str, bool]:
        if len(outbox._outcomes) < 1 + 10 and not recorded:
            raise TimeoutError
        recorded.append(len(outcomes))
        return await record(source, outcomes)

    recorded: list[int] = []
    monkeypatch.setattr(module, "switch_off", at_last)
    monkeypatch.setattr(module, "record", together)
    receiver.status = 410
    other.hold = asyncio.Event()
    await a_line(database, receiver, keys=1, each=1)
    webhook_id = await a_line(database, other, keys=10, each=1)
    async with running(database) as outbox:
        await until(lambda: outbox._outcomes)
        other.hold.set()
        await until(lambda: recorded)
        await database.pool.execute(
            "INSERT INTO webhook_deliveries (id, webhook_id, key, type, body)"
            " SELECT gen_random_uuid(), $1::text::uuid, key, type, body FROM webhook_deliveries"
            " WHERE webhook_id = $1::text::uuid",
            webhook_id,
        )
        await other.messages(20)
    assert not failures
    assert recorded[0] == 11


async def test_two_outboxes_at_once_send_each_message_once(
    database: Database, receiver: Receiver, other: Receiver
) -> None:
    for one in (receiver, other):
        await a_line(database, one, keys=50, each=5)
    async with running(database), running(database):
        await until(all_sent(database))
    for one in (receiver, other):
        assert len(one.heard) == len({heard.id for heard in one.heard}) == 250
        assert in_order(one.heard)


async def test_whoever_loses_the_lease_leaves_the_line_to_the_next_at_once(
    database: Database, receiver: Receiver
) -> None:
    receiver.hold = asyncio.Event()
    await a_line(database, receiver, keys=100, each=2)
    lease = held()
    async with running(database, lease):
        await until(lambda: receiver.waiting == PER_WEBHOOK)
        async with running(database) as second:
            lease.held = False
            receiver.hold.set()

            async def taken() -> bool:
                return bool(await database.pool.fetchval("SELECT sender = $1 FROM webhooks", second._name))

            await until(taken)
            await until(all_sent(database))
    assert len(receiver.heard) == len({heard.id for heard in receiver.heard}) == 200


async def test_a_receiver_that_takes_long_has_little_of_its_line_in_memory(
    database: Database, receiver: Receiver, other: Receiver
) -> None:
    receiver.hold = asyncio.Event()
    await a_line(database, receiver, keys=1000, each=2)
    await a_line(database, other, keys=200, each=2)
    async with running(database) as outbox:
        await other.messages(400)
        assert receiver.most_waiting == PER_WEBHOOK
        assert sum(len(line.groups) for line in outbox._lines.values()) <= 2 * module.ROOM
        receiver.hold.set()
        receiver.hold = None
        await until(all_sent(database))
    assert in_order(receiver.heard)


async def test_what_waited_for_a_slow_receiver_is_read_again_before_it_is_sent(
    database: Database, receiver: Receiver
) -> None:
    """Its customer may have been erased meanwhile. It is sent once, in order."""
    receiver.hold = asyncio.Event()
    webhook_id = await a_line(database, receiver, keys=2 * PER_WEBHOOK, each=2)
    async with running(database) as outbox:
        await until(lambda: receiver.waiting == PER_WEBHOOK)
        for number, instead in ((1, 7), (0, 5)):
            await database.pool.execute(
                "UPDATE webhook_deliveries SET body = replace(body, $1, $2)",
                f'"number":{number}',
                f'"number":{instead}',
            )
        for group in outbox._lines[webhook_id].groups.values():
            group.read_at -= 60
        receiver.hold.set()
        receiver.hold = None
        await until(all_sent(database))
    said = Counter(heard.message["number"] for heard in receiver.heard)
    assert said == {0: PER_WEBHOOK, 5: PER_WEBHOOK, 7: 2 * PER_WEBHOOK}, "what was under way alone is as it was"
    assert len(receiver.heard) == len({heard.id for heard in receiver.heard})
    assert in_order(receiver.heard)


async def test_what_comes_behind_messages_that_are_under_way_is_not_left_behind(database: Database) -> None:
    """However long they take: nobody reads the line from its start any more."""
    async with listening() as receiver:
        receiver.hold = asyncio.Event()
        webhook_id = await a_line(database, receiver, keys=1, each=1)
        async with running(database) as outbox:
            await until(lambda: receiver.waiting == 1)
            await database.pool.execute(
                "INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, next_attempt_at)"
                " VALUES (gen_random_uuid(), $1, 'key 0', 't', '{\"key\":\"key 0\",\"number\":1}',"
                " (SELECT next_attempt_at FROM webhook_deliveries))",
                webhook_id,
            )
            line = outbox._lines[webhook_id]
            line.reached = await database.pool.fetchval("SELECT now() + interval '1 h'")
            line.from_the_start_at = float("inf")
            receiver.hold.set()
            await until(all_sent(database))
