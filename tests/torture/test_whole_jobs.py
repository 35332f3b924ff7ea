"""The checker finds what is broken in whole jobs: PINs, failures, returns, jobs given back, changes, risks."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from server.contract.views import instant
from server.dispatch.model import Risk
from tests.builders import DORA, NOW, id_of, seconds
from tests.torture.checker import check, table
from tests.torture.evidence import Evidence
from tests.torture.forging import (
    Forge,
    answered,
    assignments,
    both,
    change,
    delivery,
    drop,
    place,
    repeat,
    row_of_run,
    say,
    set_on,
    shift,
)
from tests.torture.history import Asked
from tests.torture.pictures import StoredImage, colour_of
from tests.torture.promises import answers, endings, exclusive, fold, proofs, reports, risks, runs
from tests.torture.promises.verdict import Verdict
from tests.torture.whole_jobs import (
    BREAD,
    JAM,
    KEPT,
    MILK,
    PHOTO,
    RITA,
    SIGNATURE,
    STEW,
    an_evening_of_whole_jobs,
)

Promise = Callable[[Evidence], Verdict]


def other_order(evidence: Evidence) -> None:
    """Stew's second arrival was kept before its pickup."""
    events = evidence.database.events
    pickup, door = place(evidence, "delivery.picked_up", of=STEW), place(evidence, "delivery.arrived", 1, STEW)
    events[pickup], events[door] = (
        structs.replace(events[pickup], id=events[door].id),
        structs.replace(events[door], id=events[pickup].id),
    )


def same_version(evidence: Evidence) -> None:
    """Both changes were made by somebody who saw the same."""
    entries = evidence.entries["shop"]
    patches = [i for i, entry in enumerate(entries) if isinstance(entry, Asked) and entry.method == "PATCH"]
    first, second = entries[patches[0]], entries[patches[1]]
    assert isinstance(first, Asked)
    assert isinstance(second, Asked)
    entries[patches[1]] = structs.replace(second, body=second.body | {"version": first.body["version"]})


def proof_of(action_id: str) -> str:
    return id_of(f"proof {action_id}")


def of_another_delivery(evidence: Evidence) -> None:
    """Stew's photo was stored with milk."""
    proof_id = proof_of(PHOTO)
    evidence.database.proofs[proof_id] = structs.replace(evidence.database.proofs[proof_id], delivery_id=MILK)


def shown(action_id: str, download: StoredImage) -> Forge:
    """A download brought something else."""

    def forge(evidence: Evidence) -> None:
        assert evidence.rest is not None
        evidence.rest.pictures[proof_of(action_id)] = download

    return forge


def shown_after(action_id: str, download: StoredImage) -> Forge:
    """The same after erasing."""

    def forge(evidence: Evidence) -> None:
        assert evidence.rest is not None
        evidence.rest.pictures_after[proof_of(action_id)] = download

    return forge


def still_stored(evidence: Evidence) -> None:
    """Erasing left stew's photo in the table."""
    assert evidence.rest is not None
    proof_id = proof_of(PHOTO)
    evidence.rest.files_after[proof_id] = evidence.database.proofs[proof_id]


def first_of(delivery_id: str) -> Callable[[Evidence], Any]:
    return lambda evidence: assignments(evidence, delivery_id)[0]


def of(delivery_id: str) -> Callable[[Evidence], Any]:
    return lambda evidence: delivery(evidence, delivery_id)


FORGERIES: dict[Promise, list[tuple[str, str, Forge]]] = {
    reports.reports: [
        ("an action was done twice", "2 times", repeat("delivery.returning")),
        ("an action that nobody said", "nobody said so", say("delivery.picked_up", actionId=id_of("x"))),
        ("an action of another job", "the driver said release", change("delivery.released", assignment_id=id_of("x"))),
        (
            "another deed than was said",
            "said picked_up",
            change("delivery.picked_up", of=BREAD, type="delivery.failed"),
        ),
        (
            "a deed before it was done",
            "before it was done",
            say("delivery.picked_up", of=BREAD, happenedAt=instant(NOW)),
        ),
        (
            "a deed of long ago is now",
            "later than it can have been",
            say("delivery.picked_up", of=BREAD, happenedAt=instant(NOW + seconds(37.9))),
        ),
        ("reports in another order", "in another order", other_order),
        ("a late report is lost", "late report is not there", drop("delivery.late_report")),
        ("a late report twice", "2 late reports", repeat("delivery.late_report")),
        ("a late report by nobody", "by nobody", say("delivery.late_report", what="delivery.arrived")),
        ("a wrong PIN counted as the third", "counted [3]", say("delivery.pin_wrong", tries=3)),
        ("a wrong PIN not counted", "1 wrong PINs", drop("delivery.pin_wrong")),
        ("handed over without a PIN", "without its PIN", say("delivery.delivered", of=STEW, pin=None)),
        ("handed over with a wrong PIN", "will not do", say("delivery.delivered", of=STEW, pin="unverified")),
    ],
    proofs.proofs: [
        ("a picture added twice", "added 2 times", repeat("delivery.proof_added")),
        ("an acknowledged picture is lost", "proofs of the timeline: []", drop("delivery.proof_added")),
        (
            "a refused picture is added",
            "was refused",
            both(answered(DORA, 0, status=409), answered(DORA, 1, status=409)),
        ),
        ("one action, two proofs", "proofs of the timeline", answered(DORA, 1, body={"id": id_of("x")})),
        ("a picture that nobody uploaded", "nobody uploaded", change("delivery.proof_added", assignment_id=id_of("x"))),
        (
            "a photo that was a signature",
            "nobody uploaded this signature",
            change("delivery.proof_added", data={"proofId": proof_of(PHOTO), "kind": "signature", "actionId": PHOTO}),
        ),
        ("a file is lost", "its file is None", lambda evidence: evidence.database.proofs.clear()),
        ("a file of another delivery", "its file is", of_another_delivery),
        ("a picture that cannot be read", "is answered 500", shown(PHOTO, StoredImage(500))),
        ("another picture", "another one", shown(PHOTO, StoredImage(200, colour_of(SIGNATURE)))),
        ("an erased picture is shown", "erased, and", shown_after(PHOTO, StoredImage(200))),
        ("a picture is erased with another delivery", "not erased", shown_after(KEPT, StoredImage(404))),
        ("an erased picture is stored", "its file is there", still_stored),
    ],
    risks.risks: [
        ("a risk raised twice", "raised before", repeat("delivery.at_risk")),
        ("recovered twice", "which it was not", repeat("delivery.recovered")),
        ("a risk that was early", "early", say("delivery.at_risk", since=instant(NOW + seconds(60)))),
        ("a risk that was forgotten", "was forgotten", shift("delivery.at_risk", 15)),
        (
            "a driver gone and no risk raised",
            "no risk was raised",
            both(drop("delivery.at_risk"), drop("delivery.recovered")),
        ),
        (
            "a mark without an event",
            "by its events []",
            set_on(of(MILK), risks=(Risk("delivery_late", NOW),)),
        ),
        (
            "a risk that did not end with the job",
            "not recovered from ['driver_gone']",
            drop("delivery.recovered", of=JAM),
        ),
        (
            "a risk that nobody resolved",
            "by its events ['driver_gone']",
            both(drop("delivery.recovered"), drop("delivery.delivered", of=BREAD)),
        ),
    ],
    answers.answers: [
        ("arrived twice", "2 delivery.arrived", repeat("delivery.arrived")),
        ("arrived by nobody", "all were refused", say("delivery.arrived", where="elsewhere")),
        ("an acked release is lost", "is not released", set_on(first_of(MILK), status="CANCELLED")),
        (
            "an acked release has no event",
            "release of",
            both(drop("delivery.released"), set_on(first_of(MILK), status="ACTIVE")),
        ),
        ("an acked failure is lost", "never failed", set_on(first_of(STEW), failed_at=None)),
        ("an acked return is lost", "it ended FAILED", set_on(first_of(STEW), status="FAILED")),
        (
            "a failure said for a driver is lost",
            "failed_for of",
            both(drop("delivery.failed"), set_on(first_of(JAM), failed_at=None)),
        ),
        (
            "a pickup said by somebody else",
            "is by ('ops', 'abe')",
            change("delivery.picked_up", of=JAM, actor_id="abe"),
        ),
        ("another try is lost", "retry of", drop("delivery.retried")),
        ("a change by nobody", "by nobody's command", repeat("delivery.changed", 0)),
        ("an acked change is lost", "change of", drop("delivery.changed", 0)),
        ("an acked delay is lost", "delay of", drop("delivery.changed", 2)),
        ("an acked restoring is lost", "restore of", drop("delivery.restored")),
        ("one change is lost under another", "was changed 2 times", same_version),
        ("a refused restoring was done", "by nobody's command", answered("olga", 1, status=409)),
    ],
    exclusive.one_driver: [
        ("given to another while somebody has it", "was active (events)", drop("delivery.returned")),
        ("the end of another's job", "did not hold it", change("delivery.failed", assignment_id=id_of("x"))),
    ],
    runs.runs: [
        (
            "a stop of what was given back",
            "not theirs to do",
            row_of_run(RITA, 3, lambda stops: [*stops, stops[-1] | {"assignmentId": id_of("x")}]),
        ),
        ("a stop is missing", "no drop-off of", row_of_run(RITA, 1, lambda stops: stops[:-1])),
        (
            "a stop is done that nobody did",
            "no pickup of",
            row_of_run(RITA, 0, lambda stops: [stops[0] | {"doneAt": "x"}, *stops[1:]]),
        ),
        ("brought before it is fetched", "before it is fetched", row_of_run(RITA, 0, lambda stops: stops[::-1])),
        ("a run without deliveries", "stops with 1 deliveries", row_of_run(RITA, -1, lambda _: [{"kind": "dropoff"}])),
    ],
    endings.endings: [
        ("returned by nobody", "no assignment that ended", set_on(of(JAM), status="RETURNED")),
        ("coming back by nobody", "no active assignment", set_on(of(JAM), status="RETURNING")),
    ],
    fold.folded: [
        (
            "a change that says something else",
            "tip_cents",
            say("delivery.changed", 0, changes={"tipCents": {"old": None, "new": 5}}),
        ),
        ("a failure is lost", "differ", drop("delivery.failed")),
        ("returned without having failed", "cannot have happened", drop("delivery.returning")),
        ("tried again without a reason", "cannot have happened", change("delivery.retried", data={})),
    ],
}
CASES = [
    pytest.param(promise, words, forge, id=name)
    for promise, forgeries in FORGERIES.items()
    for name, words, forge in forgeries
]


def test_whole_jobs_with_nothing_wrong_pass() -> None:
    verdicts = check(an_evening_of_whole_jobs())
    assert [wrong for verdict in verdicts for wrong in verdict.broken] == [], table(verdicts)


@pytest.mark.parametrize(("promise", "words", "forge"), CASES)
def test_one_thing_wrong_with_a_whole_job_is_found(promise: Promise, words: str, forge: Forge) -> None:
    evidence = an_evening_of_whole_jobs()
    forge(evidence)
    broken = promise(evidence).broken
    assert any(words in sentence for sentence in broken), broken
