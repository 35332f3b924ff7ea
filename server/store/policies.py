"""The versions of the policy; the newest is the current one. Only the write path writes them."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from server.dispatch.policy import Policy
from server.store.connections import Pool
from server.store.tables import PolicyVersion as Row
from server.store.typed import ask, ask_one

_read: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode: Final = msgspec.json.Decoder(Policy).decode


class Version(Struct, frozen=True):
    """A version of the policy: who saved it, why, and when. `policy` is None if this release cannot read it."""

    number: int
    policy: Policy | None
    by: str
    reason: str
    at: datetime


async def newest_policy(pool: Pool, after: int) -> Policy | None:
    """The current policy, if its version is above `after`. Raises DatabaseAway, or ValidationError if this release
    cannot read it.
    """
    newer = (
        Row.select(Row.document, Row.additions)
        .where(Row.version > after)
        .order_by(Row.version, ascending=False)
        .limit(1)
    )
    row = await ask_one(pool, newer)
    return None if row is None else stored_policy(*row)


def stored_policy(document: str, additions: str | None) -> Policy:
    """The policy of a row. Raises ValidationError if this release cannot read it."""
    if additions is None:
        return _decode(document)
    return _decode(msgspec.json.encode(_read(document) | _read(additions)))


async def read_versions(pool: Pool, newest: int | None, limit: int) -> list[Version]:
    """The newest first, from version `newest` down. Raises DatabaseAway."""
    columns = (Row.version, Row.document, Row.additions, Row.changed_by, Row.reason, Row.created_at)
    page = Row.select(*columns).order_by(Row.version, ascending=False).limit(limit)
    return [
        Version(number, _readable(document, additions), by or "Callboard", reason or "", at)
        for number, document, additions, by, reason, at in await ask(
            pool, page if newest is None else page.where(Row.version <= newest)
        )
    ]


def _readable(document: str, additions: str | None) -> Policy | None:
    try:
        return stored_policy(document, additions)
    except msgspec.ValidationError:
        return None
