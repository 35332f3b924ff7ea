"""The rules of what drivers do about a job, also twice, late, offline, or not they but ops for their dead phone."""

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_actions import PROOF_LIMIT
from server.dispatch.model import (
    ERASED,
    ActionDone,
    Assignment,
    AssignmentDetails,
    Delivery,
    Handover,
    OrderDetails,
    Place,
    Position,
    Proof,
    Risk,
)
from server.dispatch.policy import WatchPolicy
from server.dispatch.refusals import ACTION_ID_USED, Refusal
from server.dispatch.world import World
from tests.builders import (
    ALICE,
    DAN,
    DORA,
    DROPOFF,
    NOW,
    PICKUP,
    SOUP,
    a_delivery,
    a_driver,
    a_driver_gone,
    a_policy,
    a_world,
    an_assignment,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, check, happens, name_of

JOB = id_of(f"{SOUP}: assignment 1")
ACTION = id_of("action")
ENDED: dict[str, Any] = {"ended_at": NOW - minutes(1), "ended_by": DAN}
STATES = {"FAILED": "FAILED", "RETURNED": "RETURNED", "COMPLETED": "DELIVERED"}


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


def job(world: World) -> Assignment:
    return soup(world).assignments[JOB]


def a_job(
    *,
    order: dict[str, Any] | None = None,
    dan: dict[str, Any] | None = None,
    taken_by: str | None = None,
    **of_job: Any,
) -> Callable[[], World]:
    """Dan has soup, or had it, as said; `taken_by` somebody else then."""

    def given() -> World:
        soup, driver = a_delivery(**(order or {})), a_driver(**(dan or {}))
        assignment = an_assignment(soup, driver, **of_job)
        if assignment.status in STATES:
            soup.status, soup.unassigned_since = STATES[assignment.status], None  # type: ignore[assignment]
            assert soup.unassigned is not None
            soup.unassigned.escalation_status = "ASSIGNED"
        if soup.status == "PICKED_UP" and assignment.failed_at is not None:
            soup.status = "RETURNING"
        others = []
        if taken_by is not None:
            others = [a_driver(taken_by)]
            an_assignment(soup, others[0])
        return a_world(soup, driver, *others)

    return given


ON_THE_WAY = a_job()
WITH_THE_GOODS = a_job(picked_up_at=NOW - minutes(3))
RETURNING = a_job(picked_up_at=NOW - minutes(3), failed_at=NOW - minutes(1), end_reason="refused", end_note="cold")
RELEASED = a_job(status="RELEASED", **ENDED)
FAILED = a_job(status="FAILED", picked_up_at=NOW - minutes(3), failed_at=NOW - minutes(1), **ENDED)
RETURNED = a_job(status="RETURNED", picked_up_at=NOW - minutes(9), failed_at=NOW - minutes(5), **ENDED)
COMPLETED = a_job(status="COMPLETED", picked_up_at=NOW - minutes(3), completed_at=NOW - minutes(1))
TAKEN = a_job(status="REASSIGNED", ended_at=NOW - minutes(1), ended_by="ada", taken_by="Dora")


def arrive(where: Any = "pickup", driver_id: str | None = DAN, **action: Any) -> c.Arrive:
    return c.Arrive(JOB, driver_id, where, by(DAN) if driver_id else ALICE, c.Action(**action))


def pick_up(driver_id: str | None = DAN, **action: Any) -> c.PickUp:
    return c.PickUp(JOB, driver_id, by(DAN) if driver_id else ALICE, c.Action(**action))


def complete(driver_id: str | None = DAN, *, action: c.Action = c.PLAIN_ACTION, **said: Any) -> c.Complete:
    return c.Complete(JOB, driver_id, by(DAN) if driver_id else ALICE, action, **said)


def check_pin(pin: str, **more: Any) -> c.CheckPin:
    return c.CheckPin(JOB, DAN, by(DAN), pin, **more)


def release(reason: str = "unwell", driver_id: str | None = DAN, **more: Any) -> c.Release:
    return c.Release(JOB, driver_id, reason, by(DAN) if driver_id else ALICE, **more)


def fail(reason: str = "recipient_absent", driver_id: str | None = DAN, **more: Any) -> c.Fail:
    return c.Fail(JOB, driver_id, reason, by(DAN) if driver_id else ALICE, **more)


ARRIVING = [
    Case(
        "the driver is at the store",
        given=ON_THE_WAY,
        command=arrive(),
        then=[happens(e.DeliveryArrived, where="pickup", driver_id=DAN, assignment_id=JOB, distance_km=0.0)],
        afterwards=lambda w: job(w).arrived_pickup_at == NOW and job(w).version == 2 and soup(w).version == 2,
    ),
    Case(
        "and at the door, from where the phone says",
        given=WITH_THE_GOODS,
        command=arrive("dropoff", lat=DROPOFF.lat, lon=DROPOFF.lon),
        then=[happens(e.DeliveryArrived, where="dropoff", distance_km=0.0)],
        afterwards=lambda w: job(w).arrived_dropoff_at == NOW,
    ),
    Case("not at the door without the goods", ON_THE_WAY, arrive("dropoff"), "not_picked_up"),
    Case(
        "also not later, without a network",
        given=ON_THE_WAY,
        command=arrive("dropoff", at=NOW - minutes(2), sent_at=NOW, action_id=ACTION),
        then="not_picked_up",
        afterwards=lambda w: job(w).details is None and job(w).arrived_dropoff_at is None,
    ),
    Case(
        "nor before they had them, by whatever clock",
        given=WITH_THE_GOODS,
        command=arrive("dropoff", at=NOW - minutes(4), sent_at=NOW),
        then=[happens(e.DeliveryArrived, where="dropoff", happened_at=NOW - minutes(3))],
        afterwards=lambda w: job(w).arrived_dropoff_at == job(w).picked_up_at,
    ),
    Case("not at the door on the way back", RETURNING, arrive("dropoff"), "already_returning"),
    Case(
        "also without a network", RETURNING, arrive("dropoff", at=NOW - seconds(30), sent_at=NOW), "already_returning"
    ),
    Case(
        "but if they were there before, it is recorded late",
        given=RETURNING,
        command=arrive("dropoff", at=NOW - minutes(2), sent_at=NOW),
        then=[happens(e.DeliveryArrived, where="dropoff", happened_at=NOW - minutes(2))],
        afterwards=lambda w: job(w).arrived_dropoff_at == NOW - minutes(2),
    ),
    Case(
        "said again on the way back is harmless",
        a_job(picked_up_at=NOW - minutes(3), failed_at=NOW - minutes(1), arrived_dropoff_at=NOW - minutes(2)),
        arrive("dropoff"),
        [],
    ),
    Case("arrived again is harmless", a_job(arrived_pickup_at=NOW), arrive(), []),
    Case("also once all is done", COMPLETED, arrive("dropoff"), []),
    Case(
        "an old position says nothing",
        given=a_job(dan={"position": Position(52.5, 13.4, NOW - seconds(61))}),
        command=arrive(),
        then=[happens(e.DeliveryArrived, distance_km=None)],
    ),
    Case(
        "nor does none",
        given=a_job(dan={"position": None}),
        command=arrive(),
        then=[happens(e.DeliveryArrived, distance_km=None)],
    ),
    Case(
        "nor where they are now, if it was long ago",
        given=ON_THE_WAY,
        command=arrive(at=NOW - seconds(90), sent_at=NOW),
        then=[happens(e.DeliveryArrived, distance_km=None, happened_at=NOW - seconds(90))],
        afterwards=lambda w: job(w).arrived_pickup_at == NOW - seconds(90),
    ),
    Case(
        "nor who acts for them",
        given=ON_THE_WAY,
        command=arrive(driver_id=None, reason="phoned"),
        then=[happens(e.DeliveryArrived, distance_km=None, reason="phoned", actor=ALICE)],
    ),
    Case(
        "for a job that somebody else has by now it is a report",
        given=TAKEN,
        command=arrive(),
        then="assignment_not_active: reassigned by ada",
        leaves=[happens(e.LateReport, what="delivery.arrived", now_with="another_driver", driver_id=DAN)],
        afterwards=lambda w: (
            job(w).details == AssignmentDetails(late_reports=("delivery.arrived",)) and job(w).version == 1
        ),
    ),
    Case("another's job does not exist", ON_THE_WAY, c.Arrive(JOB, DORA, "pickup", by(DORA)), "not_found"),
    Case("nor one that never was", ON_THE_WAY, c.Arrive(id_of("no"), DAN, "pickup", by(DAN)), "not_found"),
]

PICKING_UP = [
    Case(
        "what was done offline happened then",
        given=ON_THE_WAY,
        command=pick_up(at=NOW - minutes(4), sent_at=NOW - minutes(1), action_id=ACTION),
        then=[happens(e.DeliveryPickedUp, happened_at=NOW - minutes(3), action_id=ACTION)],
        afterwards=lambda w: (
            job(w).picked_up_at == NOW - minutes(3)
            and job(w).details == AssignmentDetails(actions={ACTION: ActionDone("picked_up")})
        ),
    ),
    Case(
        "but not before they had it",
        given=ON_THE_WAY,
        command=pick_up(at=NOW - minutes(99), sent_at=NOW),
        then=[happens(e.DeliveryPickedUp)],
        afterwards=lambda w: job(w).picked_up_at == NOW - minutes(5),
    ),
    Case(
        "how far from the store it was done is said",
        given=ON_THE_WAY,
        command=pick_up(lat=PICKUP.lat + 0.01, lon=PICKUP.lon),
        then=[happens(e.DeliveryPickedUp, distance_km=1.112)],
        afterwards=lambda w: job(w).details is None,
    ),
    Case(
        "ops say so for a phone that is dead",
        given=ON_THE_WAY,
        command=pick_up(driver_id=None, reason="phone is dead"),
        then=[happens(e.DeliveryPickedUp, reason="phone is dead", actor=ALICE, driver_id=DAN)],
    ),
    Case(
        "what is picked up is not late at the pickup any more",
        given=a_job(order={"risks": (Risk("pickup_late", NOW),), "risk_since": NOW, "risk_level": 1}),
        command=pick_up(),
        then=[happens(e.DeliveryPickedUp), happens(e.DeliveryRecovered, risk="pickup_late")],
        afterwards=lambda w: soup(w).risks == () and soup(w).risk_since is None and soup(w).risk_level == 0,
    ),
    Case(
        "a driver who gave it back has it no more",
        RELEASED,
        pick_up(),
        "assignment_not_active: released",
        leaves=[happens(e.LateReport, what="delivery.picked_up", now_with="nobody")],
    ),
    Case(
        "said once as a report, it is not said again",
        given=a_job(status="RELEASED", details=AssignmentDetails(late_reports=("delivery.picked_up",)), **ENDED),
        command=pick_up(),
        then="assignment_not_active",
    ),
    Case("what ops say too late is no report", RELEASED, pick_up(driver_id=None, reason="x"), "assignment_not_active"),
    Case("what failed since was picked up", FAILED, pick_up(), []),
]


def asks_for(*kinds: Any, tries: int = 0, proofs: tuple[Proof, ...] = (), **of_job: Any) -> Callable[[], World]:
    """Dan is at the door with soup, which asks for proof; its PIN is 0417."""
    details = AssignmentDetails(proofs=proofs, pin_tries=tries) if proofs or tries else None
    order = {"details": OrderDetails(proof_required=kinds, pin="0417")}
    return a_job(order=order, picked_up_at=NOW - minutes(3), details=details, **of_job)


PHOTO, SIGNATURE = Proof(id_of("photo"), "photo"), Proof(id_of("signature"), "signature")
OFFLINE = c.Action(at=NOW - seconds(31), sent_at=NOW)
JUST_NOW = c.Action(at=NOW - seconds(30), sent_at=NOW)

HANDING_OVER = [
    Case(
        "what was said at the door is kept, and sent to nobody else",
        given=WITH_THE_GOODS,
        command=complete(name="Mr Gray", note="with the porter"),
        then=[happens(e.DeliveryDelivered, handover=Handover("Mr Gray", "with the porter"), distance_km=1.505)],
        afterwards=lambda w: (
            job(w).details == AssignmentDetails(handover=Handover("Mr Gray", "with the porter"))
            and soup(w).over_at == NOW
            and soup(w).watch_at is None
        ),
    ),
    Case(
        "nobody knows where goods were picked up if only the handover is reported",
        given=ON_THE_WAY,
        command=complete(action=c.Action(lat=DROPOFF.lat, lon=DROPOFF.lon)),
        then=[happens(e.DeliveryPickedUp, distance_km=None), happens(e.DeliveryDelivered, distance_km=0.0)],
    ),
    Case(
        "the right PIN",
        asks_for("pin"),
        complete(pin="0417"),
        [happens(e.DeliveryDelivered, handover=Handover(pin="verified"))],
    ),
    Case(
        "a wrong one is refused, and counted",
        given=asks_for("pin", tries=4),
        command=complete(pin="0418", action=c.Action(action_id=ACTION)),
        then="pin_wrong",
        leaves=[happens(e.PinWrong, tries=5)],
        afterwards=lambda w: (
            soup(w).status == "PICKED_UP"
            and job(w).details == AssignmentDetails(actions={ACTION: ActionDone("completed", "pin_wrong")}, pin_tries=5)
            and job(w).version == 1
        ),
    ),
    Case("after five none is looked at", asks_for("pin", tries=5), complete(pin="0417"), "pin_locked"),
    Case(
        "a wrong one that was typed offline is unverified: the goods are gone",
        given=asks_for("pin"),
        command=complete(pin="0418", action=OFFLINE),
        then=[happens(e.DeliveryDelivered, handover=Handover(pin="unverified"), happened_at=NOW - seconds(31))],
    ),
    Case(
        "half a minute ago is not offline",
        asks_for("pin"),
        complete(pin="0418", action=JUST_NOW),
        "pin_wrong",
        leaves=[happens(e.PinWrong, tries=1)],
    ),
    Case(
        "a right one that was typed offline is right, also after five wrong ones",
        given=asks_for("pin", tries=5),
        command=complete(pin="0417", action=OFFLINE),
        then=[happens(e.DeliveryDelivered, handover=Handover(pin="verified"))],
    ),
    Case("before the handover, the right one changes nothing", asks_for("pin", tries=4), check_pin(" 0417"), []),
    Case(
        "before the handover, a wrong one is refused, and counted",
        given=asks_for("pin"),
        command=check_pin("0418", action=c.Action(action_id=ACTION)),
        then="pin_wrong",
        leaves=[happens(e.PinWrong, tries=1)],
        afterwards=lambda w: (
            job(w).details == AssignmentDetails(actions={ACTION: ActionDone("completed", "pin_wrong")}, pin_tries=1)
        ),
    ),
    Case(
        "before the handover, after five none is looked at", asks_for("pin", tries=5), check_pin("0417"), "pin_locked"
    ),
    Case("nobody asks for one", WITH_THE_GOODS, check_pin("0417"), []),
    Case("the store asks for none", RETURNING, check_pin("0417"), []),
    Case("it is handed over already", COMPLETED, check_pin("0417"), []),
    Case("somebody else has the goods, and nothing is reported", TAKEN, check_pin("0417"), "assignment_not_active"),
    Case("no PIN", asks_for("pin"), complete(), "proof_required: pin"),
    Case("an empty one is none, and no try", asks_for("pin"), complete(pin=" "), "proof_required: pin"),
    Case(
        "with blanks around it, it is the same one",
        asks_for("pin"),
        complete(pin=" 0417\n"),
        [happens(e.DeliveryDelivered, handover=Handover(pin="verified"))],
    ),
    Case(
        "what is missing is named",
        given=asks_for("photo", "signature", "pin", proofs=(PHOTO,)),
        command=complete(),
        then="proof_required: signature, pin",
    ),
    Case(
        "and a PIN is not looked at before the rest is there",
        given=asks_for("photo", "pin"),
        command=complete(pin="0418"),
        then="proof_required: photo",
    ),
    Case(
        "all is there",
        given=asks_for("photo", "signature", proofs=(PHOTO, SIGNATURE)),
        command=complete(),
        then=[happens(e.DeliveryDelivered, handover=None, unproven=())],
    ),
    Case(
        "ops do without",
        given=asks_for("photo", "pin", tries=5),
        command=complete(None, action=c.Action(reason="phone is dead")),
        then=[happens(e.DeliveryDelivered, unproven=("photo", "pin"), reason="phone is dead")],
    ),
    Case(
        "what comes back is returned",
        given=RETURNING,
        command=complete(),
        then=[happens(e.DeliveryReturned, driver_id=DAN, distance_km=0.0)],
        afterwards=lambda w: (
            soup(w).status == "RETURNED"
            and job(w).status == "RETURNED"
            and (job(w).end_reason, job(w).end_note) == ("refused", "cold")
            and soup(w).over_at == NOW
            and w.known_driver(DAN).active_count == 0
        ),
    ),
    Case("returned again is harmless", RETURNED, complete(), []),
    Case(
        "what failed is not handed over",
        FAILED,
        complete(),
        "assignment_not_active: failed",
        leaves=[happens(e.LateReport, what="delivery.delivered", now_with="over")],
    ),
]

GIVING_BACK = [
    Case(
        "a job given back is searched for anew",
        given=ON_THE_WAY,
        command=release("vehicle", note="flat tyre"),
        then=[happens(e.DeliveryReleased, reason="vehicle", note="flat tyre", driver_id=DAN)],
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).unassigned_since == NOW
            and job(w).status == "RELEASED"
            and (job(w).end_reason, job(w).end_note, job(w).ended_by) == ("vehicle", "flat tyre", DAN)
            and w.known_driver(DAN).active_count == 0
            and list(w.changed_waits) == [SOUP]
        ),
    ),
    Case(
        "in their own words",
        ON_THE_WAY,
        release("my bike broke"),
        [happens(e.DeliveryReleased, reason="other", note="my bike broke")],
    ),
    Case("or without any", ON_THE_WAY, release(" "), [happens(e.DeliveryReleased, reason="other", note=None)]),
    Case("given back again is harmless", RELEASED, release(), []),
    Case("not once it is picked up", WITH_THE_GOODS, release(), "already_picked_up"),
    Case(
        "nor what somebody else has",
        TAKEN,
        release("unwell", note="fever"),
        "assignment_not_active",
        leaves=[happens(e.LateReport, what="delivery.released", reason="unwell", note="fever")],
    ),
    Case(
        "nothing is written into what was erased",
        a_job(status="CANCELLED", order={"fingerprint": ERASED}, **ENDED),
        release("unwell", note="Mr Gray was rude"),
        "assignment_not_active",
        leaves=[happens(e.LateReport, reason="unwell", note=None)],
    ),
    Case(
        "not while a node lives that would not understand",
        lambda: not_everybody(ON_THE_WAY()),
        release(),
        "not_yet_supported",
    ),
    Case(
        "ops give it back for them",
        ON_THE_WAY,
        release("other", None, note="does not answer"),
        [happens(e.DeliveryReleased, actor=ALICE, driver_id=DAN)],
    ),
    Case("another's", ON_THE_WAY, c.Release(JOB, DORA, "unwell", by(DORA)), "not_found"),
]


def not_everybody(world: World) -> World:
    """A node of the release before this one is still there."""
    return World(world.now, world.policy, world.deliveries, world.drivers, states_version=0)


FAILING = [
    Case(
        "nobody is there, and it ends",
        given=WITH_THE_GOODS,
        command=fail(note="rang twice"),
        then=[happens(e.DeliveryFailed, reason="recipient_absent", note="rang twice", distance_km=1.505)],
        afterwards=lambda w: (
            soup(w).status == "FAILED"
            and job(w).status == "FAILED"
            and job(w).failed_at == NOW
            and job(w).ended_at == NOW
            and soup(w).over_at == NOW
            and w.known_driver(DAN).active_count == 0
        ),
    ),
    Case(
        "or it comes back",
        given=WITH_THE_GOODS,
        command=fail("refused", then="return"),
        then=[happens(e.DeliveryReturning, reason="refused")],
        afterwards=lambda w: (
            soup(w).status == "RETURNING"
            and job(w).status == "ACTIVE"
            and job(w).failed_at == NOW
            and job(w).end_reason == "refused"
            and soup(w).watch_at is None
            and w.known_driver(DAN).active_count == 1
        ),
    ),
    Case("said again is harmless", FAILED, fail(), []),
    Case("also on the way back", RETURNING, fail(then="return"), []),
    Case("it does not end there then, unless it is back", RETURNING, fail(), "already_returning"),
    Case("also when it is back", RETURNED, fail(then="return"), []),
    Case(
        "not as something else: what has ended does not come back",
        FAILED,
        fail(then="return"),
        "assignment_not_active",
        leaves=[happens(e.LateReport, what="delivery.returning", now_with="over")],
    ),
    Case(
        "nor does it end where it no longer is",
        RETURNED,
        fail(),
        "assignment_not_active",
        leaves=[happens(e.LateReport, what="delivery.failed", now_with="over")],
    ),
    Case(
        "in their own words", WITH_THE_GOODS, fail("a dog"), [happens(e.DeliveryFailed, reason="other", note="a dog")]
    ),
    Case("or without any", WITH_THE_GOODS, fail(""), [happens(e.DeliveryFailed, reason="other", note=None)]),
    Case("not before the pickup", ON_THE_WAY, fail(), "not_picked_up"),
    Case(
        "not what somebody else has",
        TAKEN,
        fail(then="return"),
        "assignment_not_active",
        leaves=[happens(e.LateReport, what="delivery.returning", reason="recipient_absent")],
    ),
    Case(
        "not while a node lives that would not understand",
        lambda: not_everybody(WITH_THE_GOODS()),
        fail(),
        "not_yet_supported",
    ),
    Case("another's", WITH_THE_GOODS, c.Fail(JOB, DORA, "refused", by(DORA)), "not_found"),
]

ADD_PHOTO = c.AddProof(JOB, DAN, PHOTO, by(DAN), c.Action(action_id=ACTION))


def some_photos(number: int) -> tuple[Proof, ...]:
    return tuple(Proof(id_of(f"photo {n}"), "photo") for n in range(number))


PROVING = [
    Case(
        "a photo is kept with the job",
        given=WITH_THE_GOODS,
        command=ADD_PHOTO,
        then=[happens(e.ProofAdded, proof=PHOTO)],
        afterwards=lambda w: (
            job(w).details == AssignmentDetails(actions={ACTION: ActionDone("proof photo")}, proofs=(PHOTO,))
        ),
    ),
    Case("the same again is the same", asks_for(proofs=(PHOTO,)), ADD_PHOTO, []),
    Case("also after the handover", COMPLETED, ADD_PHOTO, [happens(e.ProofAdded)]),
    Case(
        "not of what somebody else has",
        TAKEN,
        ADD_PHOTO,
        "assignment_not_active",
        leaves=[happens(e.LateReport, what="delivery.proof_added")],
    ),
    Case(
        "one more to the limit",
        asks_for(proofs=some_photos(PROOF_LIMIT - 1)),
        ADD_PHOTO,
        [happens(e.ProofAdded)],
    ),
    Case(
        "nor of a person who was erased",
        a_job(
            status="COMPLETED",
            picked_up_at=NOW - minutes(3),
            completed_at=NOW - minutes(1),
            order={"fingerprint": ERASED},
        ),
        ADD_PHOTO,
        "delivery_erased",
    ),
    Case("not any number", asks_for(proofs=some_photos(PROOF_LIMIT)), ADD_PHOTO, "too_many_proofs"),
    Case("another's", WITH_THE_GOODS, c.AddProof(JOB, DORA, PHOTO, by(DORA)), "not_found"),
]

TAKES_BACK = a_policy(watch=WatchPolicy(release_gone_seconds=300))


def gone(for_: timedelta, policy: Any = TAKES_BACK, **of_job: Any) -> Callable[[], World]:
    """Dan has soup, and has not been heard of for so long."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver_gone(since=for_)
        an_assignment(soup, dan, **{"created_at": NOW - minutes(30)} | of_job)
        return a_world(soup, dan, policy=policy)

    return given


RELEASE_GONE = c.ReleaseGone(JOB)

TAKING_BACK = [
    Case(
        "a driver who is gone loses what they have not picked up",
        given=gone(seconds(300)),
        command=RELEASE_GONE,
        then=[happens(e.DeliveryReleased, reason="driver_gone", driver_id=DAN)],
        afterwards=lambda w: soup(w).status == "READY" and job(w).ended_by == "system",
    ),
    Case("not sooner", gone(seconds(299)), RELEASE_GONE, "risk_not_due"),
    Case(
        "not for less than they have had it",
        gone(minutes(9), created_at=NOW - seconds(299)),
        RELEASE_GONE,
        "risk_not_due",
    ),
    Case("not unless the policy says so", gone(minutes(9), a_policy()), RELEASE_GONE, "risk_not_due"),
    Case("not who is there", a_job(), RELEASE_GONE, "risk_not_due"),
    Case(
        "who was never heard of is gone since they have it",
        given=lambda: a_world(*never_heard_of(), policy=TAKES_BACK),
        command=RELEASE_GONE,
        then=[happens(e.DeliveryReleased)],
    ),
    Case("not what is picked up", gone(minutes(9), picked_up_at=NOW), RELEASE_GONE, "already_picked_up"),
    Case("not after the assignment has ended", RELEASED, RELEASE_GONE, "assignment_not_active"),
    Case(
        "not while a node lives that would not understand",
        lambda: not_everybody(gone(minutes(9))()),
        RELEASE_GONE,
        "not_yet_supported",
    ),
    Case("nothing", ON_THE_WAY, c.ReleaseGone(id_of("no")), "not_found"),
]


def never_heard_of() -> tuple[Delivery, Any]:
    soup, dan = a_delivery(), a_driver(session_id=None, session_node=None)
    an_assignment(soup, dan)
    return soup, dan


DEEDS = [*ARRIVING, *PICKING_UP, *HANDING_OVER, *GIVING_BACK, *FAILING, *PROVING, *TAKING_BACK]


@pytest.mark.parametrize("case", DEEDS, ids=name_of)
def test_driver_actions(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(
    ("given", "command", "code"),
    [
        (ON_THE_WAY, pick_up(action_id=ACTION), None),
        (ON_THE_WAY, arrive(action_id=ACTION), None),
        (ON_THE_WAY, release(action=c.Action(action_id=ACTION)), None),
        (WITH_THE_GOODS, fail(action=c.Action(action_id=ACTION)), None),
        (WITH_THE_GOODS, fail(then="return", action=c.Action(action_id=ACTION)), None),
        (WITH_THE_GOODS, complete(action=c.Action(action_id=ACTION)), None),
        (RETURNING, complete(action=c.Action(action_id=ACTION)), None),
        (asks_for("pin"), complete(pin="1", action=c.Action(action_id=ACTION)), "pin_wrong"),
        (asks_for("pin"), check_pin("1", action=c.Action(action_id=ACTION)), "pin_wrong"),
        (TAKEN, pick_up(action_id=ACTION), "assignment_not_active"),
        (WITH_THE_GOODS, ADD_PHOTO, None),
    ],
)
def test_the_same_action_is_answered_as_the_first_time(
    given: Callable[[], World], command: Any, code: str | None
) -> None:
    """Whatever happened since: it is done once."""
    world = given()
    answers = []
    for _ in range(2):
        decided = decide(command, world)
        refusal = decided if isinstance(decided, Refusal) else decided.refusal
        answers.append(refusal)
        if isinstance(decided, Decided):
            for event in decided.events:
                apply(world, event)
    assert answers[0] == answers[1]
    assert (answers[0].code if answers[0] is not None else None) == code
    assert isinstance(decided, Refusal) or decided.events == ()


NAMED = c.Action(action_id=ACTION)
SIGNATURE = Proof(id_of("signature"), "signature")
DONE_ON_THE_WAY = [arrive(action_id=ACTION), pick_up(action_id=ACTION)]
DONE_WITH_THE_GOODS = [
    arrive(action_id=ACTION),
    arrive("dropoff", action_id=ACTION),
    complete(action=NAMED),
    fail(action=NAMED),
    fail(then="return", action=NAMED),
    ADD_PHOTO,
    c.AddProof(JOB, DAN, SIGNATURE, by(DAN), NAMED),
]


@pytest.mark.parametrize(
    ("given", "first", "other"),
    [
        *((ON_THE_WAY, *pair) for pair in permutations((*DONE_ON_THE_WAY, release(action=NAMED)), 2)),
        *((WITH_THE_GOODS, *pair) for pair in permutations(DONE_WITH_THE_GOODS, 2)),
        *((asks_for("pin"), complete(pin="1", action=NAMED), other) for other in DONE_ON_THE_WAY),
        (TAKEN, pick_up(action_id=ACTION), complete(action=NAMED)),
        (TAKEN, arrive(action_id=ACTION), release(action=NAMED)),
    ],
)
def test_another_action_with_the_same_id_is_refused_and_not_done(
    given: Callable[[], World], first: Any, other: Any
) -> None:
    """An ack would say that it was done. The first action is still answered as before."""
    world = given()
    done = decide(first, world)
    assert isinstance(done, Decided)
    for event in done.events:
        apply(world, event)
    assert decide(other, world) == ACTION_ID_USED
    again = decide(first, world)
    assert (again if isinstance(again, Refusal) else again.refusal) == done.refusal


def test_a_late_report_of_an_arrival_is_repeated_wherever_it_was() -> None:
    """A late report does not say where."""
    world = TAKEN()
    late = decide(arrive(action_id=ACTION), world)
    assert isinstance(late, Decided)
    for event in late.events:
        apply(world, event)
    for where in ("pickup", "dropoff"):
        again = decide(arrive(where, action_id=ACTION), world)
        assert isinstance(again, Refusal)
        assert again.code == "assignment_not_active"


def test_a_second_store_is_where_it_comes_back_to() -> None:
    """The goods went from one driver to another: their store is not where the first one was."""
    store = Place(52.7, 13.7, "1 Market Square")
    world = a_job(
        order={"details": OrderDetails(store=store)}, picked_up_at=NOW - minutes(3), failed_at=NOW - minutes(1)
    )()
    decided = decide(complete(action=c.Action(lat=52.7, lon=13.7)), world)
    assert isinstance(decided, Decided)
    (returned,) = decided.events
    assert isinstance(returned, e.DeliveryReturned)
    assert returned.distance_km == 0


def test_what_events_of_deeds_tell() -> None:
    action = c.Action(at=NOW - minutes(1), sent_at=NOW, action_id=ACTION, lat=DROPOFF.lat, lon=DROPOFF.lon)
    expected: list[tuple[Callable[[], World], Any, dict[str, Any]]] = [
        (ON_THE_WAY, arrive(lat=PICKUP.lat, lon=PICKUP.lon), {"where": "pickup", "distanceKm": 0.0}),
        (
            asks_for("pin"),
            complete(pin="0417", name="Mr Gray", note="n", action=action),
            {"distanceKm": 0.0, "pin": "verified", "happenedAt": "2026-02-01T17:59:00.000Z", "actionId": ACTION},
        ),
        (
            asks_for("pin"),
            complete(None, action=c.Action(reason="dead")),
            {"distanceKm": None, "unproven": ["pin"], "reason": "dead", "note": None},
        ),
        (ON_THE_WAY, release("vehicle", note="flat"), {"reason": "vehicle", "note": "flat"}),
        (WITH_THE_GOODS, ADD_PHOTO, {"proofId": PHOTO.id, "kind": "photo", "actionId": ACTION}),
        (asks_for("pin"), complete(pin="1"), {"tries": 1}),
        (TAKEN, pick_up(), {"what": "delivery.picked_up", "nowWith": "another_driver"}),
    ]
    for given, command, data in expected:
        decided = decide(command, given())
        assert isinstance(decided, Decided)
        assert decided.events[-1].data() == data


@pytest.mark.parametrize("nowhere", [{"lat": 0.0, "lon": 0.0}, {"lat": -1e-9, "lon": 1e-9}])
def test_a_phone_that_does_not_know_where_it_is_is_not_far_away(nowhere: dict[str, Any]) -> None:
    """(0, 0) is off Africa: as if the phone had said nothing."""
    said, silent = decide(arrive(**nowhere), ON_THE_WAY()), decide(arrive(), ON_THE_WAY())
    assert isinstance(said, Decided)
    assert said == silent
