"""The loaded world: the locked deliveries and drivers, and the one function that changes them.

Deciding reads it and returns events; `World.apply` alone turns events into state, through the transition tables.
A row outside the locked set is never guessed at: asking for one raises `NeedsRows`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from server.dispatch import events as e
from server.dispatch.model import Assignment, Delivery, Driver, Offer, Ticket, Unassigned
from server.dispatch.policy import Policy
from server.dispatch.transitions import ASSIGNMENT, AVAILABILITY, DELIVERY, OFFER


class NeedsRows(Exception):
    """Deciding this command takes rows that are not locked: it must be decided in a later batch that locks them."""

    def __init__(self, *, delivery_id: str | None = None, driver_id: str | None = None) -> None:
        super().__init__(delivery_id or driver_id)
        self.delivery_id = delivery_id
        self.driver_id = driver_id


class World:
    """What one batch has locked and loaded, as of `now` (the database's clock, read once all locks were held).

    `deliveries` and `drivers` map every locked id to its row, or to None where there is no such row. Offers and
    assignments live in their deliveries. The `new_*` and `changed_*` collections are what the batch has to save.
    """

    def __init__(
        self,
        now: datetime,
        policy: Policy,
        deliveries: dict[str, Delivery | None],
        drivers: dict[str, Driver | None],
        by_external_ref: dict[str, str] | None = None,
    ) -> None:
        self.now = now
        self.policy = policy
        self.deliveries = deliveries
        self.drivers = drivers
        self.by_external_ref = by_external_ref or {}
        self.by_seller_key: dict[tuple[str, str], str] = {}
        self._delivery_of: dict[str, str] = {}
        for delivery in deliveries.values():
            if delivery is not None:
                self._index(delivery)
        self.new_deliveries: dict[str, Delivery] = {}
        self.changed_deliveries: dict[str, Delivery] = {}
        self.new_waits: dict[str, Unassigned] = {}
        self.changed_waits: dict[str, Unassigned] = {}
        self.new_offers: dict[str, Offer] = {}
        self.changed_offers: dict[str, Offer] = {}
        self.new_assignments: dict[str, Assignment] = {}
        self.changed_assignments: dict[str, Assignment] = {}
        self.new_drivers: dict[str, Driver] = {}
        self.changed_drivers: dict[str, Driver] = {}
        self.new_tickets: list[Ticket] = []
        self.new_policy: e.PolicyChanged | None = None

    def _index(self, delivery: Delivery) -> None:
        self.by_seller_key[delivery.seller_id, delivery.seller_order_id] = delivery.id
        for offer_id in delivery.offers:
            self._delivery_of[offer_id] = delivery.id
        for assignment_id in delivery.assignments:
            self._delivery_of[assignment_id] = delivery.id

    def delivery(self, delivery_id: str) -> Delivery | None:
        """The delivery, or None if there is none. Raises NeedsRows if it is not locked."""
        try:
            return self.deliveries[delivery_id]
        except KeyError:
            raise NeedsRows(delivery_id=delivery_id) from None

    def driver(self, driver_id: str) -> Driver | None:
        """The driver, or None if there is none. Raises NeedsRows if they are not locked."""
        try:
            return self.drivers[driver_id]
        except KeyError:
            raise NeedsRows(driver_id=driver_id) from None

    def offer(self, offer_id: str) -> tuple[Delivery, Offer] | None:
        """The offer and its delivery, or None: execute locks the delivery of every offer a command names."""
        delivery = self._its_delivery(offer_id)
        return None if delivery is None else (delivery, delivery.offers[offer_id])

    def assignment(self, assignment_id: str) -> tuple[Delivery, Assignment] | None:
        """The assignment and its delivery, or None: execute locks the delivery of every assignment named."""
        delivery = self._its_delivery(assignment_id)
        return None if delivery is None else (delivery, delivery.assignments[assignment_id])

    def _its_delivery(self, of: str) -> Delivery | None:
        delivery_id = self._delivery_of.get(of)
        return None if delivery_id is None else self.deliveries[delivery_id]

    def known_driver(self, driver_id: str) -> Driver:
        """The driver of an offer or assignment that exists; they must be locked and cannot be absent."""
        driver = self.driver(driver_id)
        if driver is None:
            raise AssertionError(f"driver {driver_id} is named by a row but does not exist")
        return driver

    def apply(self, event: e.Event) -> None:
        """Change the world as the event says. A transition that no table allows is a bug and raises."""
        delivery = self.deliveries[event.delivery_id] if event.delivery_id is not None else None
        if delivery is not None:
            step = DELIVERY.get(type(event))
            if step is not None:
                delivery.status = step[delivery.status]
            if event.offer_id is not None:
                turn = OFFER.get(type(event))
                if turn is not None:
                    offer = delivery.offers[event.offer_id]
                    offer.status = turn[offer.status]
            if event.assignment_id is not None:
                course = ASSIGNMENT.get(type(event))
                if course is not None:
                    assignment = delivery.assignments[event.assignment_id]
                    assignment.status = course[assignment.status]
        _EFFECTS[type(event)](self, event)

    def touch_delivery(self, delivery_id: str) -> Delivery:
        """The delivery of an event, marked for saving, its version raised."""
        delivery = self.deliveries[delivery_id]
        assert delivery is not None
        if delivery_id not in self.new_deliveries:
            self.changed_deliveries[delivery_id] = delivery
        delivery.version += 1
        return delivery

    def touch_driver(self, driver_id: str) -> Driver:
        """The driver of an event, marked for saving."""
        driver = self.drivers[driver_id]
        assert driver is not None
        if driver_id not in self.new_drivers:
            self.changed_drivers[driver_id] = driver
        return driver

    def touch_offer(self, delivery: Delivery, offer_id: str) -> Offer:
        """The offer of an event, marked for saving."""
        offer = delivery.offers[offer_id]
        if offer_id not in self.new_offers:
            self.changed_offers[offer_id] = offer
        return offer

    def touch_assignment(self, delivery: Delivery, assignment_id: str) -> Assignment:
        """The assignment of an event, marked for saving, its version raised."""
        assignment = delivery.assignments[assignment_id]
        if assignment_id not in self.new_assignments:
            self.changed_assignments[assignment_id] = assignment
        assignment.version += 1
        return assignment

    def touch_wait(self, delivery: Delivery) -> Unassigned:
        """The record of the delivery's wait, marked for saving."""
        wait = delivery.unassigned
        assert wait is not None
        if delivery.id not in self.new_waits:
            self.changed_waits[delivery.id] = wait
        return wait

    def add_offer(self, offer: Offer) -> None:
        """A new offer of a locked delivery."""
        delivery = self.deliveries[offer.delivery_id]
        assert delivery is not None
        delivery.offers[offer.id] = offer
        self._delivery_of[offer.id] = delivery.id
        self.new_offers[offer.id] = offer

    def add_assignment(self, assignment: Assignment) -> None:
        """A new assignment of a locked delivery."""
        delivery = self.deliveries[assignment.delivery_id]
        assert delivery is not None
        delivery.assignments[assignment.id] = assignment
        self._delivery_of[assignment.id] = delivery.id
        self.new_assignments[assignment.id] = assignment

    def add_delivery(self, delivery: Delivery) -> None:
        """A new delivery."""
        self.deliveries[delivery.id] = self.new_deliveries[delivery.id] = delivery
        self.by_seller_key[delivery.seller_id, delivery.seller_order_id] = delivery.id

    def add_driver(self, driver: Driver) -> None:
        """A new driver."""
        self.drivers[driver.id] = self.new_drivers[driver.id] = driver
        if driver.external_ref is not None:
            self.by_external_ref[driver.external_ref] = driver.id


def _start_waiting(world: World, delivery: Delivery, at: datetime) -> None:
    delivery.unassigned_since = at
    delivery.widened_at = None
    wait = Unassigned(delivery.id, "searching", at, at)
    if delivery.unassigned is None:
        world.new_waits[delivery.id] = wait
    elif delivery.id in world.new_waits:
        world.new_waits[delivery.id] = wait
    else:
        world.changed_waits[delivery.id] = wait
    delivery.unassigned = wait


def _release(world: World, driver_id: str) -> None:
    world.touch_driver(driver_id).active_count -= 1


def _created(world: World, event: e.DeliveryCreated) -> None:
    world.add_delivery(event.delivery)


def _ready(world: World, event: e.DeliveryReady) -> None:
    assert event.delivery_id is not None
    _start_waiting(world, world.touch_delivery(event.delivery_id), event.at)


def _search_failed(world: World, event: e.SearchFailed) -> None:
    assert event.delivery_id is not None
    delivery = world.deliveries[event.delivery_id]
    assert delivery is not None
    wait = world.touch_wait(delivery)
    wait.failure_reason = event.reason
    wait.last_attempt_at = event.at
    wait.attempt_count += 1


def _offer_created(world: World, event: e.OfferCreated) -> None:
    offer = event.offer
    delivery = world.touch_delivery(offer.delivery_id)
    world.add_offer(offer)
    delivery.current_offer_id = offer.id
    driver = world.touch_driver(offer.driver_id)
    driver.open_offer_id = offer.id
    driver.open_offer_delivery_id = delivery.id


def _offer_received(world: World, event: e.OfferReceived) -> None:
    assert event.delivery_id is not None and event.offer_id is not None
    delivery = world.deliveries[event.delivery_id]
    assert delivery is not None
    world.touch_offer(delivery, event.offer_id).received_at = event.at


def _close_offer(world: World, event: e.Event, reason: str | None, response_ms: int | None) -> Driver:
    assert event.delivery_id is not None and event.offer_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    offer = world.touch_offer(delivery, event.offer_id)
    offer.closed_at = event.at
    offer.closing_reason = reason
    offer.response_ms = response_ms
    delivery.current_offer_id = None
    driver = world.touch_driver(offer.driver_id)
    driver.open_offer_id = None
    driver.open_offer_delivery_id = None
    return driver


def _offer_accepted(world: World, event: e.OfferAccepted) -> None:
    driver = _close_offer(world, event, None, event.response_ms)
    driver.expiries_in_a_row = 0
    assert event.delivery_id is not None
    delivery = world.deliveries[event.delivery_id]
    assert delivery is not None
    delivery.accepted_offer_id = event.offer_id
    delivery.offer_acceptance_count += 1


def _offer_rejected(world: World, event: e.OfferRejected) -> None:
    _close_offer(world, event, event.reason, event.response_ms).expiries_in_a_row = 0


def _offer_expired(world: World, event: e.OfferExpired) -> None:
    _close_offer(world, event, None, None).expiries_in_a_row += 1
    if event.auto_accepted:
        assert event.delivery_id is not None and event.offer_id is not None
        delivery = world.deliveries[event.delivery_id]
        assert delivery is not None
        delivery.offers[event.offer_id].auto_accepted = True
        delivery.accepted_offer_id = event.offer_id


def _offer_withdrawn(world: World, event: e.OfferWithdrawn) -> None:
    _close_offer(world, event, event.reason, None)


def _assigned(world: World, event: e.DeliveryAssigned) -> None:
    delivery = world.touch_delivery(event.assignment.delivery_id)
    world.add_assignment(event.assignment)
    delivery.unassigned_since = None
    world.touch_wait(delivery).escalation_status = "ASSIGNED"
    world.touch_driver(event.assignment.driver_id).active_count += 1


def _picked_up(world: World, event: e.DeliveryPickedUp) -> None:
    assert event.delivery_id is not None and event.assignment_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    world.touch_assignment(delivery, event.assignment_id).picked_up_at = event.at


def _delivered(world: World, event: e.DeliveryDelivered) -> None:
    assert event.delivery_id is not None and event.assignment_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    assignment = world.touch_assignment(delivery, event.assignment_id)
    assignment.completed_at = event.at
    _release(world, assignment.driver_id)


def _end_assignment(world: World, delivery: Delivery, event: e.Event, reason: str) -> None:
    assert event.assignment_id is not None
    assignment = world.touch_assignment(delivery, event.assignment_id)
    assignment.ended_at = event.at
    assignment.end_reason = reason
    assignment.ended_by = event.actor.id or event.actor.type
    _release(world, assignment.driver_id)


def _cancelled(world: World, event: e.DeliveryCancelled) -> None:
    assert event.delivery_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    if event.assignment_id is not None:
        _end_assignment(world, delivery, event, event.reason)
    delivery.unassigned_since = None
    if delivery.unassigned is not None:
        world.touch_wait(delivery).escalation_status = "CANCELLED"


def _reassigned(world: World, event: e.DeliveryReassigned) -> None:
    assert event.delivery_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    _end_assignment(world, delivery, event, event.reason)
    delivery.accepted_offer_id = None
    _start_waiting(world, delivery, event.at)


def _escalated(world: World, event: e.DeliveryEscalated) -> None:
    assert event.delivery_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    world.touch_wait(delivery).escalation_level = event.level
    if "widen_search" in event.actions:
        delivery.widened_at = event.at


def _acknowledged(world: World, event: e.EscalationAcknowledged) -> None:
    assert event.delivery_id is not None
    delivery = world.touch_delivery(event.delivery_id)
    wait = world.touch_wait(delivery)
    wait.acknowledged_by = event.actor.id
    wait.acknowledged_at = event.at
    wait.acknowledgement_note = event.note


def _ticket_created(world: World, event: e.TicketCreated) -> None:
    delivery = world.touch_delivery(event.ticket.delivery_id)
    world.touch_wait(delivery).support_ticket_id = event.ticket.id
    world.new_tickets.append(event.ticket)


def _registered(world: World, event: e.DriverRegistered) -> None:
    world.add_driver(event.driver)


def _connected(world: World, event: e.DriverConnected) -> None:
    assert event.driver_id is not None
    driver = world.touch_driver(event.driver_id)
    driver.session_id = event.session_id
    driver.session_node = event.node_id
    driver.socket_lost_at = None


def _disconnected(world: World, event: e.DriverDisconnected) -> None:
    assert event.driver_id is not None
    driver = world.touch_driver(event.driver_id)
    driver.session_id = None
    driver.session_node = None
    driver.socket_lost_at = event.lost_at


def _availability_changed(world: World, event: e.AvailabilityChanged) -> None:
    assert event.driver_id is not None
    driver = world.touch_driver(event.driver_id)
    if event.to not in AVAILABILITY[driver.availability]:
        raise AssertionError(f"no transition from {driver.availability} to {event.to}")
    driver.availability = event.to
    driver.availability_reason = event.reason
    driver.availability_until = event.until
    driver.availability_before = event.before
    driver.last_availability_change = event.at
    if event.forgiven:
        driver.expiries_in_a_row = 0


def _forgiven(world: World, event: e.ExpiriesForgiven) -> None:
    assert event.driver_id is not None
    world.touch_driver(event.driver_id).expiries_in_a_row = 0


def _policy_changed(world: World, event: e.PolicyChanged) -> None:
    world.policy = event.policy
    world.new_policy = event


_EFFECTS: dict[type[e.Event], Callable[[World, Any], None]] = {
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
    e.PolicyChanged: _policy_changed,
}
