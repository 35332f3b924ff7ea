"""Photos and signatures of handovers. Which ones count, an assignment says (`details.proofs`).

Their content is in the row, or in an object of an S3-compatible store. An object is recorded before it is stored, so
that none can be left over: it is removed an hour later unless its proof was kept, and when its proof is deleted (by a
trigger).
"""

from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch, fetch_as, fetch_one, fetch_one_as

ABOUT: Final = """
SELECT a.delivery_id::text, a.driver_id::text,
       (SELECT count(*) FROM proofs p WHERE p.assignment_id = a.id),
       EXISTS (SELECT FROM proofs p WHERE p.id = $2)
FROM assignments a WHERE a.id = $1"""
KEEP: Final = """
INSERT INTO proofs (id, delivery_id, assignment_id, kind, media_type, content, created_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT (id) DO NOTHING RETURNING true"""
ANNOUNCE: Final = """
INSERT INTO proof_objects (key, remove_at) VALUES ($1, clock_timestamp() + interval '1 hour') RETURNING true"""
KEEP_OBJECT: Final = """
WITH made AS (
    INSERT INTO proofs (id, delivery_id, assignment_id, kind, media_type, content, created_at, object_key)
    SELECT $1, $2, $3, $4, $5, '', clock_timestamp(), $6
    WHERE EXISTS (SELECT FROM proof_objects WHERE key = $6 AND remove_at > clock_timestamp())
    ON CONFLICT (id) DO NOTHING RETURNING object_key)
UPDATE proof_objects o SET remove_at = NULL FROM made WHERE o.key = made.object_key RETURNING true"""
DROP: Final = "DELETE FROM proofs WHERE id = $1 RETURNING true"
# One whose command was refused, or never came, does not count.
READ: Final = """
SELECT p.kind, p.media_type, p.content, p.object_key FROM proofs p JOIN assignments a ON a.id = p.assignment_id
WHERE p.id = $2 AND p.delivery_id = $1
  AND a.details->'proofs' @> jsonb_build_array(jsonb_build_object('id', p.id::text))"""
TO_REMOVE: Final = """
SELECT key FROM proof_objects WHERE remove_at <= clock_timestamp() ORDER BY remove_at LIMIT $1"""
REMOVED: Final = (
    "DELETE FROM proof_objects WHERE key = ANY ($1::text[]) AND remove_at <= clock_timestamp() RETURNING key"
)
COUNT: Final = """
SELECT (SELECT count(*) FROM proof_objects WHERE remove_at IS NULL),
       (SELECT count(*) FROM proof_objects WHERE remove_at <= clock_timestamp() - make_interval(secs => $1))"""


class ProofTarget(Struct, frozen=True):
    """The assignment that a proof is for: its delivery, its driver, how many files it has, and whether this one is
    there already.
    """

    delivery_id: str
    driver_id: str
    count: int
    known: bool


class ProofFile(Struct, frozen=True):
    """A stored proof. With an `object_key` its content is in the S3-compatible store."""

    kind: str
    media_type: str
    content: bytes
    object_key: str | None = None


class ObjectCounts(Struct, frozen=True):
    """How many proofs are in the S3-compatible store, and how many objects should have been removed before now."""

    kept: int
    overdue: int


async def proof_target(pool: Pool, assignment_id: str, proof_id: str) -> ProofTarget | None:
    """The target of a proof; None if there is no such assignment. Raises DatabaseAway."""
    return await fetch_one_as(pool, ProofTarget, ABOUT, assignment_id, proof_id)


async def announce_object(pool: Pool, key: str) -> None:
    """Record an object before it is stored. Raises DatabaseAway."""
    await fetch_one(pool, ANNOUNCE, key)


async def keep_proof(pool: Pool, proof_id: str, delivery_id: str, assignment_id: str, file: ProofFile) -> bool:
    """Store a proof. False if it is there already. Raises DatabaseAway."""
    ids = proof_id, delivery_id, assignment_id
    if file.object_key is None:
        row = await fetch_one(pool, KEEP, *ids, file.kind, file.media_type, file.content)
    else:
        row = await fetch_one(pool, KEEP_OBJECT, *ids, file.kind, file.media_type, file.object_key)
    return row is not None


async def drop_proof(pool: Pool, proof_id: str) -> None:
    """Delete a proof that was refused. Raises DatabaseAway."""
    await fetch_one(pool, DROP, proof_id)


async def read_proof(pool: Pool, delivery_id: str, proof_id: str) -> ProofFile | None:
    """A proof of a delivery. Raises DatabaseAway."""
    return await fetch_one_as(pool, ProofFile, READ, delivery_id, proof_id)


async def objects_to_remove(pool: Pool, limit: int) -> list[str]:
    """The keys of objects that are to be removed from the store now. Raises DatabaseAway."""
    return await fetch_as(pool, str, TO_REMOVE, limit)


async def forget_objects(pool: Pool, keys: list[str]) -> None:
    """These objects are removed from the store. Raises DatabaseAway."""
    await fetch(pool, REMOVED, keys)


async def count_objects(pool: Pool, overdue_seconds: float) -> ObjectCounts:
    """The counts; overdue are objects that should have been removed before so many seconds. Raises DatabaseAway."""
    return ObjectCounts(*await fetch_one(pool, COUNT, overdue_seconds))
