"""Erasing at rest: every person that a shop named, and the rows that still name them afterwards."""

from collections.abc import Iterable
from typing import Final

import asyncpg

from server.dispatch.model import ERASED
from tests.torture.actors.scene import Caller
from tests.torture.actors.shop import CONTACTS
from tests.torture.evidence import PROOFS, ProofRow, Rest
from tests.torture.pictures import StoredImage, downloaded

_TABLES: Final = """
SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename"""
_UNDER_WAY: Final = """
SELECT id::text FROM deliveries WHERE status NOT IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')"""
_ERASED: Final = "SELECT id::text FROM deliveries WHERE fingerprint = $1"


async def erase(admin: Caller, database_url: str, proofs: Iterable[ProofRow], rest: Rest) -> None:
    """Erase everybody, and put into `rest` how many rows that changed, the rows that still have a phone which was
    erased, and the pictures before and afterwards.

    Rows of deliveries under way do not count: their drivers need the phone.
    """
    proofs = list(proofs)
    rest.pictures = await _pictures(admin, proofs)
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
        rest.files_after = {row[0]: ProofRow(*row) for row in await connection.fetch(PROOFS)}
        rest.erased_deliveries = {row[0] for row in await connection.fetch(_ERASED, ERASED)}
    finally:
        await connection.close()
    rest.erased, rest.named = changed, named
    rest.pictures_after = await _pictures(admin, proofs)


async def _pictures(admin: Caller, proofs: Iterable[ProofRow]) -> dict[str, StoredImage]:
    """What a download of each brings."""
    return {
        proof.id: downloaded(*await admin.download(f"/deliveries/{proof.delivery_id}/proofs/{proof.id}"))
        for proof in proofs
    }
