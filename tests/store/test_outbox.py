"""What webhooks hear is written with the events, or not at all; in order; only for those that want it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.contract.webhook_events import webhook_messages
from server.dispatch import commands as c
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.events import Event
from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.world import World
from server.ids import new_id
from server.store.engine import Database
from server.write.load import Named, NodeCopies, load
from server.write.save import save
from tests.builders import NOW, PICKUP, SHOP, SOUP, a_delivery, a_driver, a_world
from tests.write.test_load_save import undone

WEBHOOK = "INSERT INTO webhooks (id, url, events, secret, active) VALUES ($1, 'https://shop', $2, 's', $3)"
MESSAGES = "SELECT type, key, body FROM webhook_deliveries WHERE webhook_id = $1 ORDER BY seq"


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    connection = await Database(database_url).connect_for_writing()
    yield connection
    await connection.close()


def happen(world: World, *commands: c.Command) -> list[Event]:
    events: list[Event] = []
    for command in commands:
        decided = decide(command, world)
        assert isinstance(decided, Decided)
        for event in decided.events:
            apply(world, event)
        events += decided.events
    return events


def an_order(delivery_id: str) -> c.CreateDelivery:
    return c.CreateDelivery(delivery_id, "shop", delivery_id, "Roma", "default", PICKUP, PICKUP, 0, "f", SHOP)


async def test_each_webhook_gets_what_it_wants_in_order_or_all_is_undone(connection: Any) -> None:
    everything, some, stopped = new_id(), new_id(), new_id()
    for webhook_id, events, active in (
        (everything, ["*"], True),
        (some, ["delivery.cancelled", "ticket.created"], True),
        (stopped, ["*"], False),
    ):
        await connection.execute(WEBHOOK, webhook_id, events, active)
    first, second = new_id(), new_id()
    async with undone(connection):
        loaded = await load(connection, Named(), NodeCopies(lambda: DEFAULT_POLICY))
        assert loaded.has_webhooks
        world = loaded.world
        happened = happen(
            world,
            an_order(first),
            an_order(second),
            c.CancelDelivery(second, "sold out", SHOP),
            c.CancelDelivery(first, "sold out", SHOP),
        )
        await save(connection, world, happened, [], webhook_messages(happened, world))
        found = [(row[0], row[1]) for row in await connection.fetch(MESSAGES, everything)]
        assert found == [
            ("delivery.created", first),
            ("delivery.created", second),
            ("delivery.cancelled", second),
            ("delivery.cancelled", first),
        ]
        assert [row[0] for row in await connection.fetch(MESSAGES, some)] == ["delivery.cancelled"] * 2
        assert await connection.fetch(MESSAGES, stopped) == []
    assert await connection.fetchval("SELECT count(*) FROM webhook_deliveries") == 0


async def test_messages_are_due_from_when_they_are_written_however_long_the_transaction_lasts(connection: Any) -> None:
    await connection.execute(WEBHOOK, new_id(), ["*"], True)
    async with undone(connection):
        world = (await load(connection, Named(), NodeCopies(lambda: DEFAULT_POLICY))).world
        happened = happen(world, an_order(new_id()))
        later = await connection.fetchval("SELECT clock_timestamp()")
        await save(connection, world, happened, [], webhook_messages(happened, world))
        assert await connection.fetchval("SELECT min(next_attempt_at) FROM webhook_deliveries") > later


async def test_a_batch_asks_whether_anybody_listens(connection: Any) -> None:
    async with undone(connection):
        assert not (await load(connection, Named(), NodeCopies(lambda: DEFAULT_POLICY))).has_webhooks
        await connection.execute(WEBHOOK, new_id(), ["*"], False)
        assert not (await load(connection, Named(), NodeCopies(lambda: DEFAULT_POLICY))).has_webhooks
        await connection.execute(WEBHOOK, new_id(), ["ticket.created"], True)
        assert (await load(connection, Named(), NodeCopies(lambda: DEFAULT_POLICY))).has_webhooks


def test_internal_events_are_not_sent() -> None:
    soup = a_delivery()
    world = a_world(soup)
    happened = happen(world, c.NoteFailedSearch(SOUP, "no_driver_available"), c.Acknowledge(SOUP, SHOP))
    assert [event.type for event in happened] == ["delivery.search_failed", "delivery.acknowledged"]
    assert webhook_messages(happened, world) == []


def test_a_message_shows_the_delivery_as_the_batch_left_it() -> None:
    world = a_world(a_delivery(), a_driver())
    happened = happen(world, c.CancelDelivery(SOUP, "sold out", SHOP))
    (row,) = webhook_messages(happened, world)
    body = json.loads(row.body)
    assert list(body) == ["type", "timestamp", "data"]
    assert body["data"]["delivery"]["status"] == "CANCELLED"
    assert body["data"]["deliveryId"] == SOUP
    assert body["timestamp"] == "2026-02-01T18:00:00.000Z" == body["data"]["at"]
    assert world.now == NOW
