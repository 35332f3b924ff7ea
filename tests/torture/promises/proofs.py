"""The promise of proofs: an acknowledged photo or signature is there once, readable, with its delivery, and erased with
it.
"""

from collections import defaultdict
from typing import Final

from tests.torture.commands import Command, commands
from tests.torture.evidence import EventRow, Evidence, ProofRow
from tests.torture.pictures import StoredImage, is_of
from tests.torture.promises.verdict import Verdict

ADDED: Final = "delivery.proof_added"
NOT_ASKED: Final = StoredImage(0)


def proofs(evidence: Evidence) -> Verdict:
    """Each upload is compared with the timeline, the row of its file, and what ops can download before and after
    erasing.
    """
    verdict = Verdict("an acknowledged photo or signature is there once, and erased with its delivery")
    uploads: dict[str, list[Command]] = defaultdict(list)
    for command in commands(evidence.entries):
        if command.kind == "proof":
            uploads[command.fields["actionId"]].append(command)
    added: dict[str, list[EventRow]] = defaultdict(list)
    for event in evidence.database.events:
        if event.type == ADDED:
            added[event.data["actionId"]].append(event)
    for action_id, same in uploads.items():
        _acknowledged(verdict, action_id, same, added[action_id])
    for action_id, events in added.items():
        kinds = {(command.target, command.fields["kind"]) for command in uploads.get(action_id, ())}
        for event in events:
            _stored(verdict, evidence, event, kinds, action_id)
    if evidence.rest is not None:
        _erased(verdict, evidence)
    verdict.counts.append(f"{len(uploads)} pictures uploaded, {sum(map(len, added.values()))} added")
    return verdict


def _acknowledged(verdict: Verdict, action_id: str, same: list[Command], events: list[EventRow]) -> None:
    """However often it is uploaded, an action is one proof, under one id; a refused one is none."""
    verdict.must(len(events) <= 1, f"action {action_id}: added {len(events)} times")
    there = {event.data["proofId"] for event in events}
    for command in same:
        if command.outcome == "done":
            verdict.must({command.result["id"]} == there, f"{command.names()}: proofs of the timeline: {sorted(there)}")
    if all(command.outcome == "refused" for command in same):
        verdict.must(not events, f"action {action_id}: was refused, and is added")


def _stored(verdict: Verdict, evidence: Evidence, event: EventRow, kinds: set[tuple[str, str]], action_id: str) -> None:
    """What the timeline has, its driver uploaded for this assignment; it is stored, and ops can download it."""
    proof_id, kind = event.data["proofId"], event.data["kind"]
    verdict.must((event.assignment_id, kind) in kinds, f"proof {proof_id}: nobody uploaded this {kind}")
    row = evidence.database.proofs.get(proof_id)
    expected = ProofRow(proof_id, event.delivery_id or "", event.assignment_id or "", kind)
    verdict.must(row == expected, f"proof {proof_id}: its file is {row}, not {expected}")
    if evidence.rest is not None:
        got = evidence.rest.pictures.get(proof_id, NOT_ASKED)
        verdict.must(got.status == 200, f"proof {proof_id}: its download is answered {got.status}")
        verdict.must(is_of(got.colour, action_id), f"proof {proof_id}: the picture is another one")


def _erased(verdict: Verdict, evidence: Evidence) -> None:
    """A picture of an erased delivery is gone; every other one is still there."""
    rest = evidence.rest
    assert rest is not None
    for proof_id, before in rest.pictures.items():
        row = evidence.database.proofs.get(proof_id)
        is_erased = row is not None and row.delivery_id in rest.erased_deliveries
        after = rest.pictures_after.get(proof_id, NOT_ASKED)
        if is_erased:
            verdict.must(after.status == 404, f"proof {proof_id}: erased, and its download is answered {after.status}")
        else:
            verdict.must(after == before, f"proof {proof_id}: not erased, and its download is now {after}")
    for row in rest.files_after.values():
        gone = row.delivery_id not in rest.erased_deliveries
        verdict.must(gone, f"proof {row.id}: its delivery is erased, and its file is there")
