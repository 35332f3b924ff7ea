"""The rules of a driver's actions on an assignment: arrive, pick up, complete, release, fail, add a proof.

A person in ops may act for a driver whose phone is dead: then the command names no driver, but a reason. The same
action sent twice counts once; an action that comes too late goes to the timeline.
"""

from datetime import datetime, timedelta
from typing import Any, Final, Literal

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.action_ids import is_repeated_by
from server.dispatch.availability import last_contact
from server.dispatch.decided import Decided
from server.dispatch.model import (
    NO_ASSIGNMENT_DETAILS,
    OVER,
    SYSTEM,
    Assignment,
    AssignmentStatus,
    Delivery,
    Handover,
    Place,
    RiskCode,
)
from server.dispatch.names import visible
from server.dispatch.phone_clocks import OFFLINE_AFTER, happened
from server.dispatch.reason_codes import FAILURE, OTHER, RELEASE, coded
from server.dispatch.travel import is_nowhere, km_away
from server.dispatch.world import World

PIN_TRIES: Final = 5
PROOF_LIMIT: Final = 20
"""Photos and signatures of one assignment."""
HERE_FOR: Final = timedelta(seconds=60)
"""How old a position may be to count as the place of an action that happens now."""

Ended = frozenset[AssignmentStatus]
CARRIED: Final[Ended] = frozenset({"COMPLETED", "FAILED", "RETURNED"})
"""Ended by its driver, with the goods in hand."""


def _with_the_goods(command: c.DriverAction) -> bool:
    """Whether it cannot have been done before the pickup."""
    return isinstance(command, c.Complete | c.Fail) or (isinstance(command, c.Arrive) and command.where == "dropoff")


class _Reported:
    """What every action of a driver has in common: the delivery, the assignment, and the fields of its event."""

    def __init__(self, command: c.DriverAction, world: World, delivery: Delivery, assignment: Assignment) -> None:
        self.command = command
        self.world = world
        self.delivery = delivery
        self.assignment = assignment
        self.details = assignment.details or NO_ASSIGNMENT_DETAILS
        action = command.action
        start = assignment.created_at
        if _with_the_goods(command):
            start = assignment.picked_up_at or start
        self.when = world.now
        if action.at is not None:
            self.when = happened(action.at, action.sent_at, arrived=world.now, start=start)

    def fields(self, place: Place | None = None, **more: str | None) -> dict[str, Any]:
        """The fields of this action's event. `place` is the expected place."""
        action = self.command.action
        return {
            "at": self.world.now,
            "actor": self.command.actor,
            "delivery_id": self.delivery.id,
            "driver_id": self.assignment.driver_id,
            "assignment_id": self.assignment.id,
            "happened_at": self.when if self.when != self.world.now else None,
            "action_id": action.action_id,
            "reason": action.reason,
            "distance_km": self._km_from(place) if place is not None else None,
            **more,
        }

    def _km_from(self, place: Place) -> float | None:
        """The distance from the reported position, otherwise from the driver's position if the action happens now."""
        action = self.command.action
        if action.lat is not None and action.lon is not None and not is_nowhere(action.lat, action.lon):
            return km_away(place, action.lat, action.lon)
        seen = self.world.known_driver(self.assignment.driver_id).position
        if seen is None or self.command.driver_id is None or self.world.now - min(self.when, seen.at) > HERE_FOR:
            return None
        return km_away(place, seen.lat, seen.lon)

    def done(self, *events: e.Event) -> Decided:
        """The decision, with the ids for the answer."""
        return Decided(events, self.delivery.id, None, self.assignment.id, self.assignment.driver_id, not events)

    def leaves(self, event: e.Event, refusal: r.Refusal) -> Decided:
        """A refusal with events that record something."""
        ids = (self.delivery.id, None, self.assignment.id, self.assignment.driver_id)
        return Decided((event,), *ids, refusal=refusal)

    def late(self, what: type[e.Event], **more: str | None) -> Decided | r.Refusal:
        """The driver no longer has the delivery: refused, and the first report of each kind is recorded in the
        timeline.
        """
        refusal = not_active(self.assignment, self.delivery)
        if self.command.driver_id is None or what.type in self.details.late_reports:
            return refusal
        now_with = refusal.more["nowWith"]
        if self.delivery.erased:
            more["note"] = None
        return self.leaves(e.LateReport(what=what.type, now_with=now_with, **self.fields(None, **more)), refusal)


def _begin(command: c.DriverAction, world: World, harmless: Ended) -> _Reported | Decided | r.Refusal:
    """The common part of every action.

    1. An assignment of another driver is not found.
    2. The same action again gets the same answer as the first time; another one with its id is refused.
    3. If the assignment ended in a `harmless` way, the action changes nothing.
    """
    delivery, assignment = world.assignment(command.assignment_id, command.driver_id)
    world.require_driver(assignment.driver_id)
    report = _Reported(command, world, delivery, assignment)
    action_id = command.action.action_id
    if action_id is not None and action_id in report.details.actions:
        done = report.details.actions[action_id]
        return _answered_before(report, done.refused) if is_repeated_by(done, command) else r.ACTION_ID_USED
    return report.done() if report.assignment.status in harmless else report


def _answered_before(report: _Reported, code: str | None) -> Decided | r.Refusal:
    if code is None:
        return report.done()
    return r.PIN_WRONG if code == r.PIN_WRONG.code else not_active(report.assignment, report.delivery)


def not_active(assignment: Assignment, delivery: Delivery) -> r.Refusal:
    """How an assignment ended, who ended it, and who has the delivery now."""
    what = assignment.status.lower()
    if assignment.ended_by:
        what = f"{what} by {assignment.ended_by}"
    if delivery.status in OVER:
        return r.assignment_not_active(what, "over")
    return r.assignment_not_active(what, "nobody" if delivery.active_assignment() is None else "another_driver")


def arrive(command: c.Arrive, world: World) -> Decided | r.Refusal:
    """The driver has arrived at the store, or with the goods at the customer, unless they already bring them back. Only
    the first report counts; later ones are safe.
    """
    report = _begin(command, world, CARRIED)
    if not isinstance(report, _Reported):
        return report
    delivery, assignment = report.delivery, report.assignment
    if assignment.status != "ACTIVE":
        return report.late(e.DeliveryArrived)
    at_pickup = command.where == "pickup"
    if (assignment.arrived_pickup_at if at_pickup else assignment.arrived_dropoff_at) is not None:
        return report.done()
    if not at_pickup and assignment.picked_up_at is None:
        return r.NOT_PICKED_UP
    if not at_pickup and assignment.failed_at is not None and report.when > assignment.failed_at:
        return r.ALREADY_RETURNING
    place = delivery.pickup if at_pickup else delivery.dropoff
    return report.done(e.DeliveryArrived(where=command.where, **report.fields(place)))


def pick_up(command: c.PickUp, world: World) -> Decided | r.Refusal:
    """The driver has the goods. Repeats are safe."""
    report = _begin(command, world, CARRIED)
    if not isinstance(report, _Reported):
        return report
    if report.assignment.status != "ACTIVE":
        return report.late(e.DeliveryPickedUp)
    if report.assignment.picked_up_at is not None:
        return report.done()
    return report.done(*_picked_up(report, report.delivery.pickup))


def _picked_up(report: _Reported, place: Place | None = None) -> list[e.Event]:
    """The driver has picked up the goods, which ends the risk of a late pickup. `place` is the store if they report it
    from there; None if they report the handover alone.
    """
    found: list[e.Event] = [e.DeliveryPickedUp(**report.fields(place))]
    if report.delivery.at_risk("pickup_late"):
        found.append(recovered(report.world, report.delivery, report.assignment, "pickup_late"))
    return found


def risks_end(
    world: World, delivery: Delivery, assignment: Assignment | None, *codes: RiskCode, but: RiskCode | None = None
) -> list[e.Event]:
    """The events that risks end with what happens next: those of `codes`, or all, except `but`. So each risk that was
    raised ends once.
    """
    ended = [risk.code for risk in delivery.risks if risk.code != but and (not codes or risk.code in codes)]
    return [recovered(world, delivery, assignment, code) for code in ended]


def recovered(world: World, delivery: Delivery, assignment: Assignment | None, risk: RiskCode) -> e.DeliveryRecovered:
    return e.DeliveryRecovered(
        at=world.now,
        actor=SYSTEM,
        delivery_id=delivery.id,
        driver_id=assignment.driver_id if assignment is not None else None,
        assignment_id=assignment.id if assignment is not None else None,
        risk=risk,
    )


def complete(command: c.Complete, world: World) -> Decided | r.Refusal:
    """The goods are handed over, or back at the store. Repeats are safe.

    1. A delivery in RETURNING becomes RETURNED.
    2. The required proof must be complete, unless somebody acts for the driver.
    3. A wrong PIN is refused and counted; after five, no PIN is accepted. A wrong PIN that was typed without a network
       is recorded as unverified instead, because the goods are already handed over.
    4. If the assignment is not picked up yet, the pickup is recorded too.
    """
    report = _begin(command, world, frozenset({"COMPLETED", "RETURNED"}))
    if not isinstance(report, _Reported):
        return report
    delivery, assignment = report.delivery, report.assignment
    name, note = visible(command.name), visible(command.note)
    if assignment.status != "ACTIVE":
        return report.late(e.DeliveryDelivered)
    if delivery.status == "RETURNING":
        return report.done(
            *risks_end(world, delivery, assignment),
            e.DeliveryReturned(**report.fields(delivery.details.store or delivery.pickup, note=note)),
        )
    typed = visible(command.pin) or ""
    missing = _missing(report, typed) if delivery.details.proof_required else []
    pin: Literal["verified", "unverified"] | None = None
    if command.driver_id is not None:
        if missing:
            return r.proof_required(missing)
        missing = []
        if "pin" in delivery.details.proof_required:
            right = typed == delivery.details.pin
            refused = _pin_refused(report, right) if world.now - report.when <= OFFLINE_AFTER else None
            if refused is not None:
                return refused
            pin = "verified" if right else "unverified"
    happened: list[e.Event] = _picked_up(report) if assignment.picked_up_at is None else []
    if delivery.risks:
        happened += risks_end(world, delivery, assignment, but="pickup_late")
    said = Handover(name, note, pin) if name or note or pin else None
    happened.append(
        e.DeliveryDelivered(
            handover=said,
            unproven=tuple(missing),
            **report.fields(delivery.dropoff),
        )
    )
    return report.done(*happened)


def _pin_refused(report: _Reported, right: bool) -> Decided | r.Refusal | None:
    """Why a PIN is not accepted, if so. A wrong one is counted."""
    tries = report.details.pin_tries
    if tries >= PIN_TRIES:
        return r.PIN_LOCKED
    return None if right else report.leaves(e.PinWrong(tries=tries + 1, **report.fields()), r.PIN_WRONG)


def check_pin(command: c.CheckPin, world: World) -> Decided | r.Refusal:
    """Whether the handover would be accepted with this PIN: a wrong one is refused and counted, as there. It changes
    nothing if the delivery requires none.
    """
    report = _begin(command, world, CARRIED)
    if not isinstance(report, _Reported):
        return report
    delivery = report.delivery
    if report.assignment.status != "ACTIVE":
        return not_active(report.assignment, delivery)
    if "pin" not in delivery.details.proof_required or delivery.status == "RETURNING":
        return report.done()
    return _pin_refused(report, (visible(command.pin) or "") == delivery.details.pin) or report.done()


def _missing(report: _Reported, pin: str) -> list[str]:
    there: set[str] = {proof.kind for proof in report.details.proofs}
    if pin:
        there.add("pin")
    return [kind for kind in report.delivery.details.proof_required if kind not in there]


def release(command: c.Release, world: World) -> Decided | r.Refusal:
    """The driver gives the delivery back before pickup; a new search starts, without them. Repeats are safe."""
    report = _begin(command, world, frozenset({"RELEASED"}))
    if not isinstance(report, _Reported):
        return report
    reason, note = coded(command.reason, command.note, RELEASE)
    if report.assignment.status != "ACTIVE":
        return report.late(e.DeliveryReleased, reason=reason, note=note)
    if report.assignment.picked_up_at is not None:
        return r.ALREADY_PICKED_UP
    if not world.every_node_reads():
        return r.NOT_YET_SUPPORTED
    ended = risks_end(world, report.delivery, report.assignment, but="check_address")
    return report.done(*ended, e.DeliveryReleased(**report.fields(reason=reason or OTHER, note=note)))


def fail(command: c.Fail, world: World) -> Decided | r.Refusal:
    """The handover failed: the driver brings the goods back, or the assignment ends here. Repeats are safe.

    What is brought back is no longer late. Its other risks go on until they end, or the assignment does.
    """
    report = _begin(command, world, frozenset({"RETURNED"}) if command.then == "return" else frozenset({"FAILED"}))
    if not isinstance(report, _Reported):
        return report
    kind = e.DeliveryReturning if command.then == "return" else e.DeliveryFailed
    reason, note = coded(command.reason, command.note, FAILURE)
    if report.assignment.status != "ACTIVE":
        return report.late(kind, reason=reason, note=note)
    if report.assignment.picked_up_at is None:
        return r.NOT_PICKED_UP
    if report.delivery.status == "RETURNING":
        return report.done() if command.then == "return" else r.ALREADY_RETURNING
    if not world.every_node_reads():
        return r.NOT_YET_SUPPORTED
    codes: tuple[RiskCode, ...] = ("delivery_late",) if command.then == "return" else ()
    ended = risks_end(world, report.delivery, report.assignment, *codes)
    return report.done(*ended, kind(**report.fields(report.delivery.dropoff, reason=reason or OTHER, note=note)))


def add_proof(command: c.AddProof, world: World) -> Decided | r.Refusal:
    """A photo or signature of the handover; also later, unless another driver has the goods by now, or the personal
    data of the delivery was erased.

    An upload with the same id is the same proof.
    """
    report = _begin(command, world, frozenset())
    if not isinstance(report, _Reported):
        return report
    if any(proof.id == command.proof.id for proof in report.details.proofs):
        return report.done()
    if report.assignment.status not in ("ACTIVE", *CARRIED):
        return report.late(e.ProofAdded)
    if report.delivery.erased:
        return r.DELIVERY_ERASED
    if len(report.details.proofs) >= PROOF_LIMIT:
        return r.TOO_MANY_PROOFS
    return report.done(e.ProofAdded(proof=command.proof, **report.fields()))


def release_gone(command: c.ReleaseGone, world: World) -> Decided | r.Refusal:
    """At a deadline: a driver who has been gone for `releaseGoneSeconds` loses what they have not picked up."""
    delivery, assignment = world.assignment(command.assignment_id)
    if assignment.status != "ACTIVE":
        return not_active(assignment, delivery)
    if assignment.picked_up_at is not None:
        return r.ALREADY_PICKED_UP
    after = world.policy.watch.release_gone_seconds
    since = without_contact_since(world, assignment)
    if after is None or since is None or world.now < since + timedelta(seconds=after):
        return r.RISK_NOT_DUE
    if not world.every_node_reads():
        return r.NOT_YET_SUPPORTED
    event = e.DeliveryReleased(
        at=world.now,
        actor=command.actor,
        delivery_id=delivery.id,
        driver_id=assignment.driver_id,
        assignment_id=assignment.id,
        reason="driver_gone",
    )
    ended = risks_end(world, delivery, assignment, but="check_address")
    return Decided((*ended, event), delivery.id, None, assignment.id, assignment.driver_id)


def without_contact_since(world: World, assignment: Assignment) -> datetime | None:
    """Since when there is no contact to the driver with this assignment; None while their socket is open. Unlike
    `availability.gone_since` without any grace period: `watch` has its own ones.
    """
    driver = world.known_driver(assignment.driver_id)
    if driver.session_id is not None:
        return None
    heard = last_contact(driver)
    return assignment.created_at if heard is None else max(heard, assignment.created_at)
