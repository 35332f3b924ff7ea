"""What is let go of, and what stays."""

from typing import Any

import pytest

from server.ids import new_id
from server.store import prune as pruning
from server.store.engine import Database
from server.store.prune import PRUNED, prune

AGED = {
    "driver_messages": "INSERT INTO driver_messages (driver_id, seq, body, created_at) SELECT gen_random_uuid(), 1, '',"
    " now() - {age} FROM generate_series(1, {count})",
    "webhook_deliveries": "INSERT INTO webhook_deliveries (id, webhook_id, type, body, delivered_at)"
    " SELECT gen_random_uuid(), id, 't', '', now() - {age} FROM webhooks, generate_series(1, {count})",
    "sessions": "INSERT INTO sessions (token_hash, user_id, created_at, seen_at, expires_at)"
    " SELECT gen_random_uuid(), id, now(), now(), now() - {age} FROM users, generate_series(1, {count})",
    "nodes": "INSERT INTO nodes (id, name, expires_at) SELECT gen_random_uuid(), 'n', now() - {age}"
    " FROM generate_series(1, {count})",
}
OLD = {
    "driver_messages": "interval '8 days'",
    "webhook_deliveries": "interval '31 days'",
    "sessions": "interval '25 hours'",
    "nodes": "interval '2 hours'",
}
YOUNG = {
    "driver_messages": "interval '6 days'",
    "webhook_deliveries": "interval '29 days'",
    "sessions": "interval '23 hours'",
    "nodes": "interval '1 minute'",
}


async def count_all(connection: Any) -> dict[str, int]:
    return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in PRUNED}


async def test_old_rows_go_in_steps_and_young_ones_stay(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 10)
    connection = await Database(database_url).connect_apart()
    await connection.execute(
        "INSERT INTO webhooks (id, url, events, secret) VALUES ($1, 'https://shop', '{}', 's')", new_id()
    )
    await connection.execute(
        "INSERT INTO users (id, name, password_hash, role) VALUES ($1, 'alice', 'x', 'ops')", new_id()
    )
    for table, insert in AGED.items():
        await connection.execute(insert.format(age=OLD[table], count=25))
        await connection.execute(insert.format(age=YOUNG[table], count=3))
    assert await prune(connection) == 4 * 25
    assert await count_all(connection) == dict.fromkeys(PRUNED, 3)
    assert await prune(connection) == 0
    await connection.close()


async def test_what_was_not_delivered_stays(database_url: str) -> None:
    connection = await Database(database_url).connect_apart()
    hook = new_id()
    await connection.execute(
        "INSERT INTO webhooks (id, url, events, secret) VALUES ($1, 'https://shop', '{}', 's')", hook
    )
    await connection.execute(
        "INSERT INTO webhook_deliveries (id, webhook_id, type, body, created_at, parked_at)"
        " VALUES ($1, $2, 't', '', now() - interval '1 year', now() - interval '1 year')",
        new_id(),
        hook,
    )
    assert await prune(connection) == 0
    await connection.close()
