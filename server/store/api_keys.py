"""The rows of order sources' API keys. All functions raise DatabaseAway. They see only the hash of a key."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_one_as
from server.store.tables import ApiKey as Row
from server.store.typed import NOW, ask, columns_for, newest

FIND: Final = """
SELECT id, name, seller_id, last_used_at IS NULL OR last_used_at < clock_timestamp() - interval '1 minute'
FROM api_keys WHERE key_hash = ANY($1::text[]) AND revoked_at IS NULL"""
REVOKE: Final = """
UPDATE api_keys SET revoked_at = coalesce(revoked_at, clock_timestamp()) WHERE id = $1 RETURNING key_hash"""


class ApiKey(Struct, frozen=True):
    """A key in lists; `prefix` is its beginning, by which people recognise it. With a `seller_id` it is bound to that
    seller.
    """

    id: str
    name: str
    prefix: str
    created_by: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    seller_id: str | None


class GoodKey(Struct, frozen=True):
    """A key that is not revoked. `is_use_old`: its last use was recorded more than a minute ago, or never."""

    id: str
    name: str
    seller_id: str | None
    is_use_old: bool


async def find_good_key(pool: Pool, key_hashes: Sequence[str]) -> GoodKey | None:
    """The valid key with one of these hashes, or None."""
    return await fetch_one_as(pool, GoodKey, FIND, list(key_hashes))


async def note_key_use(pool: Pool, key_id: str) -> None:
    await ask(pool, Row.update({Row.last_used_at: NOW}).where(Row.id == key_id))


async def insert_key(
    pool: Pool, key_id: str, name: str, key_hash: str, prefix: str, created_by: str, seller_id: str | None
) -> None:
    row = Row(
        id=key_id,
        name=name,
        key_hash=key_hash,
        prefix=prefix,
        created_by=created_by,
        created_at=NOW,
        seller_id=seller_id,
    )
    await ask(pool, Row.insert(row))


async def list_keys(pool: Pool, before: str | None, limit: int) -> list[ApiKey]:
    """Newest first, those made before the key with the id `before`."""
    return [ApiKey(*row) for row in await ask(pool, newest(columns_for(ApiKey, Row), before, limit))]


async def revoke_key(pool: Pool, key_id: str) -> str | None:
    """The hash of the key, which is now revoked; None if there is no such key."""
    return await fetch_one_as(pool, str, REVOKE, key_id)
