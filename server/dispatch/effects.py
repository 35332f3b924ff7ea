"""What each event does to the world besides moving a state machine; `World.apply` calls these and nobody else."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from server.dispatch import events as e
from server.dispatch.model import Delivery, Driver, Unassigned

if TYPE_CHECKING:
    from server.dispatch.world import World

NOTIFYING = frozenset({"notify_ops", "notify_critical"})


def _id(named: str | None) -> str:
    """An id that this kind of event always carries."""
    assert named is not None
    return named


def _start_waiting(world: "World", delivery: Delivery, at: datetime) -> None:
    """A new wait with a new clock; the record of the one before, if any, is overwritten."""
    delivery.unassigned_since = at
    delivery.widened_at = None
    wait = Unassigned(delivery.id, "searching", at, at)
    recorded = delivery.unassigned is not None and delivery.id not in world.new_waits
    (world.changed_waits if recorded else world.new_waits)[delivery.id] = wait
    delivery.unassigned = wait


def _created(world: "World", event: e.DeliveryCreated) -> None:
    world.add_delivery(event.delivery)


def _ready(world: "World", event: e.DeliveryReady) -> None:
    _start_waiting(world, world.touch_delivery(_id(event.delivery_id)), event.at)


def _search_failed(world: "World", event: e.SearchFailed) -> None:
    wait = world.touch_wait(world.locked_delivery(_id(event.delivery_id)))
    wait.failure_reason = event.reason
    wait.last_attempt_at = event.at
    wait.attempt_count += 1


def _offer_created(world: "World", event: e.OfferCreated) -> None:
    delivery = world.touch_delivery(event.offer.delivery_id)
    world.add_offer(event.offer)
    delivery.current_offer_id = event.offer.id
    wait = world.touch_wait(delivery)
    wait.last_attempt_at = event.at
    wait.attempt_count += 1
    driver = world.touch_driver(event.offer.driver_id)
    driver.open_offer_id = event.offer.id
    driver.open_offer_delivery_id = delivery.id


def _offer_received(world: "World", event: e.OfferReceived) -> None:
    delivery = world.locked_delivery(_id(event.delivery_id))
    world.touch_offer(delivery, _id(event.offer_id)).received_at = event.at


def _close_offer(
    world: "World", event: e.Event, reason: str | None = None, response_ms: int | None = None
) -> tuple[Delivery, Driver]:
    delivery = world.touch_delivery(_id(event.delivery_id))
    offer = world.touch_offer(delivery, _id(event.offer_id))
    offer.closed_at = event.at
    offer.closing_reason = reason
    offer.response_ms = response_ms
    delivery.current_offer_id = None
    driver = world.touch_driver(offer.driver_id)
    driver.open_offer_id = None
    driver.open_offer_delivery_id = None
    return delivery, driver


def _offer_accepted(world: "World", event: e.OfferAccepted) -> None:
    delivery, driver = _close_offer(world, event, response_ms=event.response_ms)
    driver.expiries_in_a_row = 0
    delivery.accepted_offer_id = event.offer_id
    delivery.offer_acceptance_count += 1


def _offer_rejected(world: "World", event: e.OfferRejected) -> None:
    delivery, driver = _close_offer(world, event, event.reason, event.response_ms)
    driver.expiries_in_a_row = 0
    world.touch_wait(delivery).failure_reason = "offer_rejected"


def _offer_expired(world: "World", event: e.OfferExpired) -> None:
    delivery, driver = _close_offer(world, event)
    driver.expiries_in_a_row += 1
    if event.auto_accepted:
        delivery.offers[_id(event.offer_id)].auto_accepted = True
        delivery.accepted_offer_id = event.offer_id
    else:
        world.touch_wait(delivery).failure_reason = "offer_expired"


def _offer_withdrawn(world: "World", event: e.OfferWithdrawn) -> None:
    _close_offer(world, event, event.reason)


def _assigned(world: "World", event: e.DeliveryAssigned) -> None:
    delivery = world.touch_delivery(event.assignment.delivery_id)
    world.add_assignment(event.assignment)
    delivery.unassigned_since = None
    world.touch_wait(delivery).escalation_status = "ASSIGNED"
    world.touch_driver(event.assignment.driver_id).active_count += 1


def _picked_up(world: "World", event: e.DeliveryPickedUp) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    world.touch_assignment(delivery, _id(event.assignment_id)).picked_up_at = event.at


def _delivered(world: "World", event: e.DeliveryDelivered) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.completed_at = event.at
    world.touch_driver(assignment.driver_id).active_count -= 1


def _end_assignment(world: "World", delivery: Delivery, event: e.Event, reason: str) -> None:
    assignment = world.touch_assignment(delivery, _id(event.assignment_id))
    assignment.ended_at = event.at
    assignment.end_reason = reason
    assignment.ended_by = event.actor.id or event.actor.type
    world.touch_driver(assignment.driver_id).active_count -= 1


def _cancelled(world: "World", event: e.DeliveryCancelled) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    if event.assignment_id is not None:
        _end_assignment(world, delivery, event, event.reason)
    delivery.unassigned_since = None
    if delivery.unassigned is not None:
        world.touch_wait(delivery).escalation_status = "CANCELLED"


def _reassigned(world: "World", event: e.DeliveryReassigned) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    _end_assignment(world, delivery, event, event.reason)
    delivery.accepted_offer_id = None
    _start_waiting(world, delivery, event.at)


def _escalated(world: "World", event: e.DeliveryEscalated) -> None:
    delivery = world.touch_delivery(_id(event.delivery_id))
    wait = world.touch_wait(delivery)
    wait.escalation_level = event.level
    if NOTIFYING.intersection(event.actions):
        wait.notification_sent_at = event.at
    if "widen_search" in event.actions:
        delivery.widened_at = event.at


def _acknowledged(world: "World", event: e.EscalationAcknowledged) -> None:
    wait = world.touch_wait(world.touch_delivery(_id(event.delivery_id)))
    wait.acknowledged_by = event.actor.id or event.actor.type
    wait.acknowledged_at = event.at
    wait.acknowledgement_note = event.note


def _ticket_created(world: "World", event: e.TicketCreated) -> None:
    delivery = world.touch_delivery(event.ticket.delivery_id)
    world.touch_wait(delivery).support_ticket_id = event.ticket.id
    world.new_tickets.append(event.ticket)


def _registered(world: "World", event: e.DriverRegistered) -> None:
    world.add_driver(event.driver)


def _connected(world: "World", event: e.DriverConnected) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.session_id = event.session_id
    driver.session_node = event.node_id
    driver.socket_lost_at = None
    if not event.unbroken:
        driver.connected_since = event.at


def _disconnected(world: "World", event: e.DriverDisconnected) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.session_id = None
    driver.session_node = None
    driver.socket_lost_at = event.lost_at
    driver.connected_since = None


def _availability_changed(world: "World", event: e.AvailabilityChanged) -> None:
    driver = world.touch_driver(_id(event.driver_id))
    driver.availability_reason = event.reason
    driver.availability_until = event.until
    driver.availability_before = event.before
    driver.last_availability_change = event.at
    if event.forgiven:
        driver.expiries_in_a_row = 0


def _forgiven(world: "World", event: e.ExpiriesForgiven) -> None:
    world.touch_driver(_id(event.driver_id)).expiries_in_a_row = 0


def _alert_raised(world: "World", event: e.AlertRaised) -> None:
    world.add_alert(event.alert)


def _alert_resolved(world: "World", event: e.AlertResolved) -> None:
    alert = world.touch_alert(event.alert.id)
    alert.value = event.value
    alert.resolved_at = event.at


def _alert_acknowledged(world: "World", event: e.AlertAcknowledged) -> None:
    alert = world.touch_alert(event.alert.id)
    alert.acknowledged_by = event.actor.id or event.actor.type
    alert.acknowledged_at = event.at


def _policy_changed(world: "World", event: e.PolicyChanged) -> None:
    world.policy = event.policy
    world.new_policy = event


EFFECTS: dict[type[e.Event], Callable[["World", Any], None]] = {
    e.DeliveryCreated: _created,
    e.DeliveryReady: _ready,
    e.SearchFailed: _search_failed,
    e.OfferCreated: _offer_created,
    e.OfferReceived: _offer_received,
    e.OfferAccepted: _offer_accepted,
    e.OfferRejected: _offer_rejected,
    e.OfferExpired: _offer_expired,
    e.OfferWithdrawn: _offer_withdrawn,
    e.DeliveryAssigned: _assigned,
    e.DeliveryPickedUp: _picked_up,
    e.DeliveryDelivered: _delivered,
    e.DeliveryCancelled: _cancelled,
    e.DeliveryReassigned: _reassigned,
    e.DeliveryEscalated: _escalated,
    e.EscalationAcknowledged: _acknowledged,
    e.TicketCreated: _ticket_created,
    e.DriverRegistered: _registered,
    e.DriverConnected: _connected,
    e.DriverDisconnected: _disconnected,
    e.AvailabilityChanged: _availability_changed,
    e.ExpiriesForgiven: _forgiven,
    e.AlertRaised: _alert_raised,
    e.AlertResolved: _alert_resolved,
    e.AlertAcknowledged: _alert_acknowledged,
    e.PolicyChanged: _policy_changed,
}
