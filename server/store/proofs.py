"""Photos and signatures of handovers. Which ones count, an assignment says (`details.proofs`)."""

from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_one

ABOUT: Final = """
SELECT a.delivery_id::text, a.driver_id::text,
       (SELECT count(*) FROM proofs p WHERE p.assignment_id = a.id),
       EXISTS (SELECT FROM proofs p WHERE p.id = $2)
FROM assignments a WHERE a.id = $1"""
KEEP: Final = """
INSERT INTO proofs (id, delivery_id, assignment_id, kind, media_type, content, created_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp()) ON CONFLICT (id) DO NOTHING RETURNING true"""
DROP: Final = "DELETE FROM proofs WHERE id = $1 RETURNING true"
# One whose command was refused, or never came, does not count.
READ: Final = """
SELECT p.kind, p.media_type, p.content FROM proofs p JOIN assignments a ON a.id = p.assignment_id
WHERE p.id = $2 AND p.delivery_id = $1
  AND a.details->'proofs' @> jsonb_build_array(jsonb_build_object('id', p.id::text))"""


class ProofTarget(Struct, frozen=True):
    """The assignment that a proof is for: its delivery, its driver, how many files it has, and whether this one is
    there already.
    """

    delivery_id: str
    driver_id: str
    count: int
    known: bool


class ProofFile(Struct, frozen=True):
    """A stored proof."""

    kind: str
    media_type: str
    content: bytes


async def proof_target(pool: Pool, assignment_id: str, proof_id: str) -> ProofTarget | None:
    """The target of a proof; None if there is no such assignment. Raises DatabaseAway."""
    row = await fetch_one(pool, ABOUT, assignment_id, proof_id)
    return None if row is None else ProofTarget(*row)


async def keep_proof(pool: Pool, proof_id: str, delivery_id: str, assignment_id: str, file: ProofFile) -> bool:
    """Store a proof. False if it is there already. Raises DatabaseAway."""
    row = await fetch_one(pool, KEEP, proof_id, delivery_id, assignment_id, file.kind, file.media_type, file.content)
    return row is not None


async def drop_proof(pool: Pool, proof_id: str) -> None:
    """Delete a proof that was refused. Raises DatabaseAway."""
    await fetch_one(pool, DROP, proof_id)


async def read_proof(pool: Pool, delivery_id: str, proof_id: str) -> ProofFile | None:
    """A proof of a delivery. Raises DatabaseAway."""
    row = await fetch_one(pool, READ, delivery_id, proof_id)
    return None if row is None else ProofFile(*row)
