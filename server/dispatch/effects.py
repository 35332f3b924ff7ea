"""The effects of each event on the world, apart from the state machines. Only `apply` calls them."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.action_ids import done_by
from server.dispatch.model import NO_ASSIGNMENT_DETAILS, Assignment, Delivery, Driver, Place, Risk, Unassigned
from server.dispatch.names import name_key
from server.dispatch.search_reasons import HELD, SEARCHING, TRIP_TOO_LONG
from server.dispatch.travel import named_by
from server.dispatch.world import World

NOTIFYING = frozenset({"notify_ops", "notify_critical"})


def _id(named: str | None) -> str:
    """An id that this type of event always has."""
    assert named is not None
    return named


def _start_waiting(world: World, delivery: Delivery, at: datetime) -> None:
    """A new wait with a new clock; the record of the one before, if any, is overwritten."""
    delivery.unassigned_since = at
    delivery.widened_at = None
    wait = Unassigned(delivery.id, TRIP_TOO_LONG if delivery.needs_check() else SEARCHING, at, at)
    recorded = delivery.unassigned is not None and delivery.id not in world.new_waits
    (world.changed_waits if recorded else world.new_waits)[delivery.id] = wait
    world.recorded_waits.pop(delivery.id, None)  # of the wait before
    delivery.unassigned = wait


def _set_watch_at(world: World, delivery: Delivery, at: datetime) -> None:
    """`watch_at`: when the delivery will be late at the pickup or the customer, whichever is first and not raised
    yet. If it is expected later than was agreed or promised, it is late at once.
    """
    assignment = delivery.active_assignment()
    delivery.watch_at = None
    if assignment is None or delivery.status == "RETURNING":
        return
    late = timedelta(minutes=world.policy.watch.late_minutes)
    due, promised = assignment.pickup_due_at, delivery.promised_at
    if due is not None and assignment.picked_up_at is None and not delivery.at_risk("pickup_late"):
        delivery.watch_at = _watched_from(due, delivery.estimated_pickup_at, late, at)
    if promised is not None and not delivery.at_risk("delivery_late"):
        promised = _watched_from(promised, delivery.estimated_delivery_at, late, at)
        delivery.watch_at = promised if delivery.watch_at is None else min(delivery.watch_at, promised)


def _watched_from(due: datetime, expected: datetime | None, late: timedelta, at: datetime) -> datetime:
    """What is expected more than `late` past its time is late at once."""
    return min(due, at - late) if expected is not None and expected > due + late else due


def _at_risk_since(delivery: Delivery, at: datetime | None) -> None:
    """The escalation of the delivery's risks begins anew at that time; None without any risk."""
    delivery.risk_since, delivery.risk_level, delivery.risk_acknowledged_by = at, 0, None


def _over(delivery: Delivery, at: datetime) -> None:
    delivery.over_at = at
    delivery.watch_at = None


def _wait_again(world: World, delivery: Delivery, at: datetime) -> None:
    """Start a new search, without any state of the previous one."""
    delivery.accepted_offer_id = None
    delivery.over_at = delivery.watch_at = None
    delivery.estimated_pickup_at = delivery.estimated_delivery_at = None
    if delivery.risks:
        world.amend_delivery(delivery.id)
        _at_risk_since(delivery, at)
    _start_waiting(world, delivery, at)


def _did(
    assignment: Assignment, event: e.JobEvent, changes: Mapping[str, object] | None = None, refused: str | None = None
) -> None:
    """Store what the app's id was used for and the code of the refusal, so that a repeat gets the same answer."""
    if event.action_id is None and not changes:
        return
    details = assignment.details or NO_ASSIGNMENT_DETAILS
    more = dict(changes or {})
    if event.action_id is not None:
        more["actions"] = {**details.actions, event.action_id: done_by(event, refused)}
    assignment.details = replace(details, **more)


def _created(world: World, event: e.DeliveryCreated) -> None:
    world.add_delivery(event.delivery, event.posted)


def _ready(world: World, event: e.DeliveryReady) -> None:
    _start_waiting(world, world.touch_delivery(_id(event.delivery_id)), event.at)


def _postponed(world: World, event: e.DeliveryPostponed) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    delivery.unassigned_since = delivery.held_until = None
    world.touch_wait(delivery).escalation_status = "CANCELLED"


def _search_failed(world: World, event: e.SearchFailed) -> None:
    wait = world.touch_wait(world.locked_delivery(_id(event.delivery_id)))
    wait.failure_reason = event.reason
    world.recorded_waits[wait.delivery_id] = (wait, event.nearest)
    wait.last_attempt_at = event.at
    wait.attempt_count += 1


def _offer_created(world: World, event: e.OfferCreated) -> None:
    delivery = world.touch_delivery(event.offer.delivery_id)
    world.add_offer(event.offer)
    delivery.current_offer_id = event.offer.id
    delivery.estimated_pickup_at, delivery.estimated_delivery_at = named_by(event.offer)
    if delivery.promised_at is None:
        delivery.promised_at = delivery.estimated_delivery_at
    wait = world.touch_wait(delivery)
    wait.last_attempt_at = event.at
    wait.attempt_count += 1
    driver = world.touch_driver(event.offer.driver_id)
    driver.open_offer_id = event.offer.id
    driver.open_offer_delivery_id = delivery.id


def _offer_received(world: World, event: e.OfferReceived) -> None:
    delivery = world.locked_delivery(_id(event.delivery_id))
    world.touch_offer(delivery, _id(event.offer_id)).received_at = event.at


def _close_offer(
    world: World, event: e.Event, reason: str | None = None, response_ms: int | None = None, *, taken: bool = False
) -> tuple[Delivery, Driver]:
    delivery = world.touch_delivery(_id(event.delivery_id))
    offer = world.touch_offer(delivery, _id(event.offer_id))
    offer.closed_at = event.at
    offer.closing_reason = reason
    offer.response_ms = response_ms
    delivery.current_offer_id = None
    if not taken:
        delivery.estimated_pickup_at = delivery.estimated_delivery_at = None
    driver = world.touch_driver(offer.driver_id)
    driver.open_offer_id = None
    driver.open_offer_delivery_id = None
    return delivery, driver


def _offer_accepted(world: World, event: e.OfferAccepted) -> None:
    delivery, driver = _close_offer(world, event, response_ms=event.response_ms, taken=True)
    driver.expiries_in_a_row = 0
    delivery.accepted_offer_id = event.offer_id
    delivery.offer_acceptance_count += 1


def _offer_rejected(world: World, event: e.OfferRejected) -> None:
    delivery, driver = _close_offer(world, event, event.reason, event.response_ms)
    driver.expiries_in_a_row = 0
    world.touch_wait(delivery).failure_reason = "offer_rejected"


def _held(world: World, event: e.DeliveryHeld) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    delivery.held_until, delivery.unassigned_since = event.until, None
    world.touch_wait(delivery).failure_reason = HELD


def _hold_ended(world: World, event: e.HoldEnded) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    delivery.held_until = None
    _start_waiting(world, delivery, event.at)


def _offer_expired(world: World, event: e.OfferExpired) -> None:
    delivery, driver = _close_offer(world, event, taken=event.auto_accepted)
    driver.expiries_in_a_row += 1
    if event.auto_accepted:
        delivery.offers[_id(event.offer_id)].auto_accepted = True
        delivery.accepted_offer_id = event.offer_id
    else:
        world.touch_wait(delivery).failure_reason = "offer_expired"


def _offer_withdrawn(world: World, event: e.OfferWithdrawn) -> None:
    _close_offer(world, event, event.reason)


def _assigned(world: World, event: e.DeliveryAssigned) -> None:
    delivery = world.touch_delivery(event.assignment.delivery_id)
    world.add_assignment(event.assignment)
    delivery.unassigned_since = delivery.held_until = None
    if event.assignment.offer_id is None:
        delivery.estimated_pickup_at = event.assignment.pickup_due_at
        delivery.estimated_delivery_at = event.delivery_at
        if delivery.promised_at is None:
            delivery.promised_at = event.delivery_at
    world.touch_wait(delivery).escalation_status = "ASSIGNED"
    world.touch_driver(event.assignment.driver_id).active_count += 1
    _set_watch_at(world, delivery, event.at)


def _arrived(world: World, event: e.DeliveryArrived) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    if event.where == "pickup":
        assignment.arrived_pickup_at = event.when
    else:
        assignment.arrived_dropoff_at = event.when
    _did(assignment, event)


def _picked_up(world: World, event: e.DeliveryPickedUp) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.picked_up_at = event.when
    _did(assignment, event)
    _set_watch_at(world, delivery, event.at)


def _delivered(world: World, event: e.DeliveryDelivered) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.completed_at = event.when
    _did(assignment, event, {"handover": event.handover} if event.handover is not None else None)
    _over(delivery, event.at)
    world.touch_driver(assignment.driver_id).active_count -= 1


def _released(world: World, event: e.DeliveryReleased) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    _did(_end_assignment(world, delivery, event, event.reason, event.note), event)
    _wait_again(world, delivery, event.at)


def _failed(world: World, event: e.DeliveryFailed) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = _end_assignment(world, delivery, event, event.reason, event.note)
    assignment.failed_at = event.when
    _did(assignment, event)
    _over(delivery, event.at)


def _returning(world: World, event: e.DeliveryReturning) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.failed_at = event.when
    assignment.end_reason, assignment.end_note = event.reason, event.note
    _did(assignment, event)
    _set_watch_at(world, delivery, event.at)


def _returned(world: World, event: e.DeliveryReturned) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    _, failed = world.assignment(_id(event.assignment_id))
    _did(_end_assignment(world, delivery, event, failed.end_reason, failed.end_note), event)
    _over(delivery, event.at)


def _proof_added(world: World, event: e.ProofAdded) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    details = assignment.details or NO_ASSIGNMENT_DETAILS
    _did(assignment, event, {"proofs": (*details.proofs, event.proof)})


def _pin_wrong(world: World, event: e.PinWrong) -> None:
    delivery = world.locked_delivery(_id(event.delivery_id))
    assignment = world.note_on_assignment(delivery, _id(event.assignment_id))
    _did(assignment, event, {"pin_tries": event.tries}, r.PIN_WRONG.code)


def _late_report(world: World, event: e.LateReport) -> None:
    delivery = world.locked_delivery(_id(event.delivery_id))
    assignment = world.note_on_assignment(delivery, _id(event.assignment_id))
    details = assignment.details or NO_ASSIGNMENT_DETAILS
    _did(assignment, event, {"late_reports": (*details.late_reports, event.what)}, r.ASSIGNMENT_NOT_ACTIVE.code)


def _end_assignment(
    world: World, delivery: Delivery, event: e.Event, reason: str | None, note: str | None = None
) -> Assignment:
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.ended_at = event.at
    assignment.end_note = note
    assignment.end_reason = reason
    assignment.ended_by = event.actor.id or event.actor.type
    world.touch_driver(assignment.driver_id).active_count -= 1
    return assignment


def _cancelled(world: World, event: e.DeliveryCancelled) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    if event.assignment_id is not None:
        _end_assignment(world, delivery, event, event.reason)
    delivery.unassigned_since = delivery.held_until = None
    _over(delivery, event.at)
    if delivery.unassigned is not None:
        world.touch_wait(delivery).escalation_status = "CANCELLED"


def _reassigned(world: World, event: e.DeliveryReassigned) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    _end_assignment(world, delivery, event, event.reason)
    if event.pickup is not None:
        _collect_at(world, delivery, event, event.pickup, event.store)
    _wait_again(world, delivery, event.at)


def _collect_at(world: World, delivery: Delivery, event: e.Event, pickup: Place, store: Place | None) -> None:
    """The goods are somewhere else now, and ready."""
    world.amend_delivery(delivery.id)
    world.keep_posted(delivery)
    delivery.pickup = pickup
    if delivery.is_ready_at() > event.at:
        delivery.ready_at = event.at
    delivery.details = replace(delivery.details, store=store)


def _changed(world: World, event: e.DeliveryChanged) -> None:
    delivery = world.amend_delivery(_id(event.delivery_id))
    world.keep_posted(delivery)
    for name, (_, new) in event.changes.items():
        setattr(delivery, name, new)
    expected = delivery.estimated_pickup_at
    if expected is not None and delivery.estimated_delivery_at is not None and delivery.status != "PICKED_UP":
        later = max(_without_delays(delivery, expected), delivery.is_ready_at()) - expected
        delivery.estimated_pickup_at = expected + later
        delivery.estimated_delivery_at += later
    _set_watch_at(world, delivery, event.at)


def _without_delays(delivery: Delivery, expected: datetime) -> datetime:
    """When the pickup was expected before the store reported a delay: the time that the driver agreed to."""
    assignment = delivery.active_assignment()
    agreed = assignment.pickup_due_at if assignment is not None else None
    return expected if agreed is None else min(expected, agreed)


def _restored(world: World, event: e.DeliveryRestored) -> None:
    _wait_again(world, world.touch_delivery(_id(event.delivery_id)), event.at)


def _retried(world: World, event: e.DeliveryRetried) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    _collect_at(world, delivery, event, event.pickup, event.store)
    _wait_again(world, delivery, event.at)


def _at_risk(world: World, event: e.DeliveryAtRisk) -> None:
    delivery = world.amend_delivery(_id(event.delivery_id))
    delivery.risks = (*delivery.risks, Risk(event.risk, event.since))
    if event.risk == "check_address" and delivery.status == "READY":
        world.touch_wait(delivery).failure_reason = TRIP_TOO_LONG
    if delivery.risk_since is None:
        delivery.risk_since = event.at
    _set_watch_at(world, delivery, event.at)


def _recovered(world: World, event: e.DeliveryRecovered) -> None:
    delivery = world.amend_delivery(_id(event.delivery_id))
    delivery.risks = tuple(risk for risk in delivery.risks if risk.code != event.risk)
    if event.checked:
        delivery.details = replace(delivery.details, checked=True)
    if event.risk == "check_address" and delivery.status == "READY":
        world.touch_wait(delivery).failure_reason = SEARCHING
    if not delivery.risks:
        _at_risk_since(delivery, None)
    _set_watch_at(world, delivery, event.at)


def _risk_escalated(world: World, event: e.RiskEscalated) -> None:
    world.amend_delivery(_id(event.delivery_id)).risk_level = event.level


def _risk_acknowledged(world: World, event: e.RiskAcknowledged) -> None:
    world.amend_delivery(_id(event.delivery_id)).risk_acknowledged_by = event.actor.id or event.actor.type


def _escalated(world: World, event: e.DeliveryEscalated) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    wait = world.touch_wait(delivery)
    wait.escalation_level = event.level
    if NOTIFYING.intersection(event.actions):
        wait.notification_sent_at = event.at
    if "widen_search" in event.actions:
        delivery.widened_at = event.at


def _acknowledged(world: World, event: e.EscalationAcknowledged) -> None:
    wait = world.touch_wait(world.touch_delivery(_id(event.delivery_id)))
    wait.acknowledged_by = event.actor.id or event.actor.type
    wait.acknowledged_at = event.at
    wait.acknowledgement_note = event.note


def _ticket_created(world: World, event: e.TicketCreated) -> None:
    delivery = world.touch_delivery(event.ticket.delivery_id)
    world.touch_wait(delivery).support_ticket_id = event.ticket.id
    world.new_tickets.append(event.ticket)


def _driver_changed(world: World, event: e.DriverChanged) -> None:
    driver = world.amend_driver(_id(event.driver_id))
    for name, (_, new) in event.changes.items():
        setattr(driver, name, new)
    world.use_zone(driver.zone)
    if "external_ref" in event.changes:
        old, new = event.changes["external_ref"]
        world.by_external_ref.pop(old, None)
        if new is not None:
            world.by_external_ref[new] = driver.id


def _deactivated(world: World, event: e.DriverDeactivated) -> None:
    world.amend_driver(_id(event.driver_id)).active = False


def _reactivated(world: World, event: e.DriverReactivated) -> None:
    world.amend_driver(_id(event.driver_id)).active = True


def _registered(world: World, event: e.DriverRegistered) -> None:
    world.add_driver(event.driver)


def _connected(world: World, event: e.DriverConnected) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.session_id = event.session_id
    driver.session_node = event.node_id
    driver.socket_lost_at = None
    if not event.unbroken:
        driver.connected_since = event.at


def _disconnected(world: World, event: e.DriverDisconnected) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.session_id = None
    driver.session_node = None
    driver.socket_lost_at = event.lost_at
    driver.connected_since = None


def _availability_changed(world: World, event: e.AvailabilityChanged) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.availability_reason = event.reason
    driver.availability_until = event.until
    driver.availability_before = event.before
    driver.last_availability_change = event.at
    if event.forgiven:
        driver.expiries_in_a_row = 0


def _forgiven(world: World, event: e.ExpiriesForgiven) -> None:
    world.touch_driver(_id(event.driver_id)).expiries_in_a_row = 0


def _message_sent(world: World, event: e.MessageSent) -> None:
    world.touch_driver(event.message.driver_id)
    world.add_chat_message(event.message)


def _message_seen(world: World, event: e.MessageSeen) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    world.touch_chat_message(driver.id, event.message_id).seen_at = event.at


def _alert_raised(world: World, event: e.AlertRaised) -> None:
    world.add_alert(event.alert)


def _alert_resolved(world: World, event: e.AlertResolved) -> None:
    alert = world.touch_alert(event.alert.id)
    alert.value = event.value
    alert.resolved_at = event.at


def _alert_acknowledged(world: World, event: e.AlertAcknowledged) -> None:
    alert = world.touch_alert(event.alert.id)
    alert.acknowledged_by = event.alert.acknowledged_by
    alert.acknowledged_at = event.alert.acknowledged_at


def _zone_changed(world: World, event: e.ZoneChanged) -> None:
    world.zones = world.zones.changed(event.zone)
    world.changed_zones[name_key(event.zone.key)] = event.zone
    for zone in (event.zone.key, *event.zone.helped_by):
        world.use_zone(zone)


def _zone_removed(world: World, event: e.ZoneRemoved) -> None:
    world.zones = world.zones.without(event.key)
    world.changed_zones[name_key(event.key)] = None


def _policy_changed(world: World, event: e.PolicyChanged) -> None:
    world.policy = event.policy
    world.new_policy = event


EFFECTS: dict[type[e.Event], Callable[[World, Any], None]] = {
    e.DeliveryCreated: _created,
    e.DeliveryReady: _ready,
    e.DeliveryPostponed: _postponed,
    e.SearchFailed: _search_failed,
    e.DeliveryHeld: _held,
    e.HoldEnded: _hold_ended,
    e.OfferCreated: _offer_created,
    e.OfferReceived: _offer_received,
    e.OfferAccepted: _offer_accepted,
    e.OfferRejected: _offer_rejected,
    e.OfferExpired: _offer_expired,
    e.OfferWithdrawn: _offer_withdrawn,
    e.DeliveryAssigned: _assigned,
    e.DeliveryArrived: _arrived,
    e.DeliveryPickedUp: _picked_up,
    e.DeliveryDelivered: _delivered,
    e.DeliveryReleased: _released,
    e.DeliveryFailed: _failed,
    e.DeliveryReturning: _returning,
    e.DeliveryReturned: _returned,
    e.ProofAdded: _proof_added,
    e.PinWrong: _pin_wrong,
    e.LateReport: _late_report,
    e.DeliveryChanged: _changed,
    e.DeliveryRestored: _restored,
    e.DeliveryRetried: _retried,
    e.DeliveryAtRisk: _at_risk,
    e.DeliveryRecovered: _recovered,
    e.RiskEscalated: _risk_escalated,
    e.RiskAcknowledged: _risk_acknowledged,
    e.DeliveryCancelled: _cancelled,
    e.DeliveryReassigned: _reassigned,
    e.DeliveryEscalated: _escalated,
    e.EscalationAcknowledged: _acknowledged,
    e.TicketCreated: _ticket_created,
    e.DriverRegistered: _registered,
    e.DriverChanged: _driver_changed,
    e.DriverDeactivated: _deactivated,
    e.DriverReactivated: _reactivated,
    e.DriverConnected: _connected,
    e.DriverDisconnected: _disconnected,
    e.AvailabilityChanged: _availability_changed,
    e.ExpiriesForgiven: _forgiven,
    e.MessageSent: _message_sent,
    e.MessageSeen: _message_seen,
    e.AlertRaised: _alert_raised,
    e.AlertResolved: _alert_resolved,
    e.AlertAcknowledged: _alert_acknowledged,
    e.ZoneChanged: _zone_changed,
    e.ZoneRemoved: _zone_removed,
    e.PolicyChanged: _policy_changed,
}
