"""Erasing at rest: every person that a shop named, and the rows that still name them afterwards."""

from typing import Final

import asyncpg

from tests.torture.actors.scene import Caller
from tests.torture.actors.shop import CONTACTS

_TABLES: Final = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"""
_UNDER_WAY: Final = """
SELECT id::text FROM deliveries WHERE status NOT IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')"""


async def erase(admin: Caller, database_url: str) -> tuple[int, list[str]]:
    """How many rows erasing changed, and the rows that still have a phone which was erased.

    Those of deliveries under way do not count: their drivers need the phone.
    """
    changed = 0
    for phone in CONTACTS:
        erased = await admin.insist("POST", "/admin/privacy/erase", {"phone": phone}, within=120.0)
        changed += sum(erased[name] for name in ("deliveries", "events", "messages", "webhooks"))
    connection = await asyncpg.connect(database_url)
    try:
        needed = [row[0] for row in await connection.fetch(_UNDER_WAY)]
        named = []
        for (table,) in await connection.fetch(_TABLES):
            rows = await connection.fetch(
                f'SELECT to_jsonb(t)::text FROM "{table}" t WHERE to_jsonb(t)::text LIKE ANY ($1)',
                [f"%{phone}%" for phone in CONTACTS],
            )
            named += [f"{table}: {row[0][:200]}" for row in rows if not any(id_ in row[0] for id_ in needed)]
    finally:
        await connection.close()
    return changed, named
