"""API keys of order sources: create, list, revoke, authenticate. store/api_keys.py has the SQL.

Only a hash of a key is stored. A key that is bound to a seller has another kind of hash, so that a node of a release
without bound keys refuses it instead of giving it access to all deliveries.
"""

import secrets
from collections.abc import Callable
from typing import Final

import structlog

from server.ids import new_id
from server.store.api_keys import ApiKey, find_good_key, insert_key, list_keys, note_key_use, revoke_key
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.web.access.fresh_reads import FreshReads
from server.web.access.tokens import KEY_PREFIX, hashed
from server.web.http.caller import Principal

CACHE_LIMIT: Final = 1000
SHOWN_CHARACTERS: Final = 8
KEY_LENGTH_LIMIT: Final = 200


log = structlog.get_logger(__name__)


class ApiKeys:
    """This process's cache of API keys. `pool` returns the pool of the database, once it is open."""

    def __init__(self, pool: Callable[[], Pool]) -> None:
        self._pool = pool
        self._reads = FreshReads[Principal]("api_key", CACHE_LIMIT)

    async def principal(self, key: str) -> Principal | None:
        """The principal of this key, or None for an invalid one. Raises DatabaseAway if the database is unavailable."""
        if len(key) > KEY_LENGTH_LIMIT:
            return None
        key_hash = hashed(key)
        return await self._reads.of(key_hash, lambda: self._read(key_hash))

    async def _read(self, key_hash: str) -> Principal | None:
        found = await find_good_key(self._pool(), (key_hash, _bound_hash(key_hash)))
        if found is None:
            return None
        if found.is_use_old:
            try:
                await note_key_use(self._pool(), found.id)
            except DatabaseAway as error:
                log.warning("api_key_use_not_recorded", reason=str(error))
        return Principal("service", found.name, float("inf"), seller=found.seller_id)

    async def make(self, name: str, created_by: str, seller_id: str | None = None) -> tuple[str, str]:
        """Create a key, bound to a seller if given: returns its id and its text, which is stored nowhere. Raises
        DatabaseAway.
        """
        key, key_id = KEY_PREFIX + secrets.token_urlsafe(32), new_id()
        key_hash = hashed(key) if seller_id is None else _bound_hash(hashed(key))
        await insert_key(self._pool(), key_id, name, key_hash, shown(key), created_by, seller_id)
        return key_id, key

    async def page(self, before: str | None, limit: int) -> list[ApiKey]:
        """Newest first, those made before the key with the id `before`. Raises DatabaseAway."""
        return await list_keys(self._pool(), before, limit)

    async def revoke(self, key_id: str) -> bool:
        """Revoke a key: on this node at once, on others within a second. Returns whether it existed.

        Raises DatabaseAway.
        """
        gone = await revoke_key(self._pool(), key_id)
        self._reads.forget_all(lambda key_hash, _: gone in (key_hash, _bound_hash(key_hash)))
        return gone is not None


def shown(key: str) -> str:
    """The prefix of a key, by which people recognise it."""
    return key[: len(KEY_PREFIX) + SHOWN_CHARACTERS]


def _bound_hash(key_hash: str) -> str:
    """What is kept of a key that is bound to a seller."""
    return hashed(f"seller {key_hash}")
