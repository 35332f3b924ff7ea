"""The loaded world: the locked deliveries and drivers, and which of them to save.

Rules read it and return events; only `apply` (in apply.py) turns events into state, with the methods here. Access to a
row outside the locked set raises `NeedsRows`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

from msgspec.structs import replace

from server.dispatch import events as e
from server.dispatch.model import (
    Alert,
    Assignment,
    ChatMessage,
    Delivery,
    Driver,
    Nearest,
    Offer,
    RunStop,
    Still,
    Ticket,
    Unassigned,
    Work,
)
from server.dispatch.names import name_key, spelling
from server.dispatch.policy import Policy
from server.dispatch.sameness import Posted, posted_for
from server.dispatch.transitions import BEGINS, STATES_VERSION
from server.dispatch.zones import NO_ZONES, Zone, Zones


class NeedsRows(Exception):
    """This command needs rows that are not locked: a later batch must lock them."""

    def __init__(self, *, delivery_id: str | None = None, driver_id: str | None = None, posted: bool = False) -> None:
        super().__init__(delivery_id or driver_id)
        self.delivery_id = delivery_id
        self.driver_id = driver_id
        self.posted = posted
        """Of the delivery also what was posted first, which is read only then."""


class NotThere(Exception):
    """A command names a row that does not exist, or that belongs to another driver."""


class World:
    """What one batch has locked and loaded, as of `now` (the database's clock, read once all locks were held).

    `deliveries` and `drivers` map every locked id to its row, or to None if there is no such row. Offers and
    assignments are in their deliveries. `alerts` has the open alerts, if a command is about alerts. `dead_nodes` are
    nodes of the drivers' sessions that are no longer alive, whether or not their sessions have ended. `policy` and
    `zones` are the current ones. `spellings` maps the key of every zone that a command names to its spelling, or to
    None if the zone is new. `chats` has, for the drivers of commands about messages: their unseen messages, what they
    wrote in the last minute, and the messages that the commands name. `work` has, for each driver who has or may get
    more than one delivery, what they have; deliveries that are not locked cannot change as long as the driver is. The
    `new_*` and `changed_*` collections are what the batch has to save; a zone whose description was deleted is None.
    """

    def __init__(
        self,
        now: datetime,
        policy: Policy,
        deliveries: dict[str, Delivery | None],
        drivers: dict[str, Driver | None],
        by_external_ref: dict[str, str] | None = None,
        alerts: dict[str, Alert] | None = None,
        dead_nodes: Collection[str] = (),
        posted: dict[str, Posted | None] | None = None,
        states_version: int = STATES_VERSION,
        zones: Zones = NO_ZONES,
        spellings: dict[str, str | None] | None = None,
        chats: dict[str, dict[str, ChatMessage]] | None = None,
        still: Mapping[str, Still] | None = None,
        work: Mapping[str, Work] | None = None,
    ) -> None:
        self.now = now
        self.policy = policy
        self.zones = zones
        self.deliveries = deliveries
        self.drivers = drivers
        self.by_external_ref = {} if by_external_ref is None else by_external_ref
        self.alerts = {} if alerts is None else alerts
        self.dead_nodes = frozenset(dead_nodes)
        self._posted = {} if posted is None else posted
        self.spellings = {} if spellings is None else spellings
        self.still = {} if still is None else still
        """By driver; only for commands about the risk `stalled`."""
        self._work = {} if work is None else work
        self._chats = {} if chats is None else chats
        self._states_version = states_version
        self.by_seller_key: dict[tuple[str, str], str] = {}
        self._delivery_of: dict[str, str] = {}
        for delivery in deliveries.values():
            if delivery is not None:
                self._index(delivery)
        self.new_deliveries: dict[str, Delivery] = {}
        self.new_posted: dict[str, Posted] = {}
        self.changed_deliveries: dict[str, Delivery] = {}
        self.amended_deliveries: dict[str, Delivery] = {}
        self.new_waits: dict[str, Unassigned] = {}
        self.changed_waits: dict[str, Unassigned] = {}
        self.recorded_waits: dict[str, tuple[Unassigned, Nearest | None]] = {}
        self.new_offers: dict[str, Offer] = {}
        self.changed_offers: dict[str, Offer] = {}
        self.new_assignments: dict[str, Assignment] = {}
        self.changed_assignments: dict[str, Assignment] = {}
        self.new_drivers: dict[str, Driver] = {}
        self.changed_drivers: dict[str, Driver] = {}
        self.amended_drivers: dict[str, Driver] = {}
        self.changed_runs: dict[str, tuple[RunStop, ...]] = {}
        self._updated_runs: dict[str, tuple[RunStop, ...]] = {}
        self.new_tickets: list[Ticket] = []
        self.new_alerts: dict[str, Alert] = {}
        self.changed_alerts: dict[str, Alert] = {}
        self.new_chat_messages: dict[str, ChatMessage] = {}
        self.changed_chat_messages: dict[str, ChatMessage] = {}
        self.new_policy: e.PolicyChanged | None = None
        self.changed_zones: dict[str, Zone | None] = {}
        self.new_spellings: dict[str, str] = {}

    def _index(self, delivery: Delivery) -> None:
        self.by_seller_key[delivery.seller_id, delivery.seller_order_id] = delivery.id
        for offer_id in delivery.offers:
            self._delivery_of[offer_id] = delivery.id
        for assignment_id in delivery.assignments:
            self._delivery_of[assignment_id] = delivery.id

    def delivery(self, delivery_id: str) -> Delivery:
        """The delivery. Raises NotThere, or NeedsRows if it is not locked."""
        try:
            delivery = self.deliveries[delivery_id]
        except KeyError:
            raise NeedsRows(delivery_id=delivery_id) from None
        if delivery is None:
            raise NotThere(delivery_id)
        return delivery

    def driver(self, driver_id: str) -> Driver:
        """The driver. Raises NotThere, or NeedsRows if they are not locked."""
        try:
            driver = self.drivers[driver_id]
        except KeyError:
            raise NeedsRows(driver_id=driver_id) from None
        if driver is None:
            raise NotThere(driver_id)
        return driver

    def posted(self, delivery_id: str) -> Posted | None:
        """The original request of a delivery, None if it was not stored. Raises NeedsRows."""
        if delivery_id not in self._posted and delivery_id not in self.new_deliveries:
            raise NeedsRows(delivery_id=delivery_id, posted=True)
        return self._posted.get(delivery_id) or self.new_posted.get(delivery_id)

    def spelled(self, zone: str) -> str:
        """The spelling of a zone: the first that was used, or this one if the zone is new."""
        return self.spellings.get(name_key(zone)) or spelling(zone)

    def use_zone(self, zone: str) -> None:
        """An event names this zone: if it is new, this is its spelling from now on."""
        key = name_key(zone)
        if self.spellings.get(key, zone) is None:
            self.spellings[key] = self.new_spellings[key] = zone

    def every_node_reads(self) -> bool:
        """Whether every node that lives can read what this command would write (`transitions.STATES_VERSION`)."""
        return self._states_version >= STATES_VERSION

    def offer(self, offer_id: str, driver_id: str | None = None) -> tuple[Delivery, Offer]:
        """The delivery and its offer, to this driver if one is named. Raises NotThere: execute locks the delivery of
        every offer that a command names.
        """
        delivery = self._delivery_with(offer_id)
        offer = delivery.offers.get(offer_id)
        if offer is None or driver_id not in (None, offer.driver_id):
            raise NotThere(offer_id)
        return delivery, offer

    def assignment(self, assignment_id: str, driver_id: str | None = None) -> tuple[Delivery, Assignment]:
        """The delivery and its assignment, of this driver if one is named. Raises NotThere, as `offer` does."""
        delivery = self._delivery_with(assignment_id)
        assignment = delivery.assignments.get(assignment_id)
        if assignment is None or driver_id not in (None, assignment.driver_id):
            raise NotThere(assignment_id)
        return delivery, assignment

    def open_alert(self, alert_id: str) -> Alert | None:
        """The open alert, or None. Commands about alerts lock all open ones."""
        alert = self.alerts.get(alert_id)
        return alert if alert is not None and alert.resolved_at is None else None

    def _delivery_with(self, part_id: str) -> Delivery:
        if part_id not in self._delivery_of:
            raise NotThere(part_id)
        return self.locked_delivery(self._delivery_of[part_id])

    def locked_delivery(self, delivery_id: str) -> Delivery:
        delivery = self.deliveries[delivery_id]
        assert delivery is not None
        return delivery

    def known_driver(self, driver_id: str) -> Driver:
        """The driver of an offer or assignment that exists; they must be locked and cannot be absent."""
        try:
            return self.driver(driver_id)
        except NotThere:
            raise AssertionError(f"driver {driver_id} is named by a row but does not exist") from None

    def require_driver(self, driver_id: str) -> None:
        """Raises NeedsRows unless the driver's row is locked: the caller's events will change it."""
        self.known_driver(driver_id)

    def touch_delivery(self, delivery_id: str) -> Delivery:
        """The delivery of an event, marked for saving, with a raised version unless it is new."""
        delivery = self.locked_delivery(delivery_id)
        if delivery_id not in self.new_deliveries:
            self.changed_deliveries[delivery_id] = delivery
            delivery.version += 1
        return delivery

    def amend_delivery(self, delivery_id: str) -> Delivery:
        """As `touch_delivery`, for an event that changes what was ordered: then all of the row is saved."""
        delivery = self.touch_delivery(delivery_id)
        if delivery_id not in self.new_deliveries:
            self.amended_deliveries[delivery_id] = delivery
        return delivery

    def keep_posted(self, delivery: Delivery) -> None:
        """Before what was ordered is changed: what was posted, which is saved unless it was kept before."""
        self.new_posted.setdefault(delivery.id, posted_for(delivery))

    def amend_driver(self, driver_id: str) -> Driver:
        """As `touch_driver`, for an event that changes who they are: then all of the row is saved."""
        driver = self.touch_driver(driver_id)
        if driver_id not in self.new_drivers:
            self.amended_drivers[driver_id] = driver
        return driver

    def touch_driver(self, driver_id: str) -> Driver:
        """The driver of an event, marked for saving."""
        driver = self.drivers[driver_id]
        assert driver is not None
        if driver_id not in self.new_drivers:
            self.changed_drivers[driver_id] = driver
        return driver

    def next_message_number(self, driver_id: str) -> int:
        """The number of the next message in this driver's stream. Messages have it, events do not; both are saved
        together.
        """
        driver = self.touch_driver(driver_id)
        driver.stream_seq += 1
        return driver.stream_seq

    def touch_offer(self, delivery: Delivery, offer_id: str) -> Offer:
        """The offer of an event, marked for saving."""
        offer = delivery.offers[offer_id]
        if offer_id not in self.new_offers:
            self.changed_offers[offer_id] = offer
        return offer

    def touch_assignment(self, delivery: Delivery, assignment_id: str) -> Assignment:
        """The assignment of an event, marked for saving, with a raised version unless it is new."""
        assignment = self.note_on_assignment(delivery, assignment_id)
        if assignment_id not in self.new_assignments:
            assignment.version += 1
        return assignment

    def note_on_assignment(self, delivery: Delivery, assignment_id: str) -> Assignment:
        """As `touch_assignment`, for records of a refused action, which nobody sees, so the version stays."""
        assignment = delivery.assignments[assignment_id]
        if assignment_id not in self.new_assignments:
            self.changed_assignments[assignment_id] = assignment
        return assignment

    def touch_wait(self, delivery: Delivery) -> Unassigned:
        """The record of the delivery's wait, marked for saving."""
        wait = delivery.unassigned
        assert wait is not None
        if delivery.id not in self.new_waits:
            self.changed_waits[delivery.id] = wait
        return wait

    def run(self, driver_id: str) -> tuple[RunStop, ...]:
        """The stops of a driver's run; none if they have at most one delivery."""
        if driver_id in self.changed_runs:
            return self.changed_runs[driver_id]
        work = self._work.get(driver_id)
        return work.stops if work is not None else ()

    def put_run(self, driver_id: str, stops: tuple[RunStop, ...]) -> None:
        """The new stops of a driver's run, marked for saving."""
        self.changed_runs[driver_id] = stops
        self._updated_runs[driver_id] = stops

    def take_updated_runs(self) -> list[tuple[str, tuple[RunStop, ...]]]:
        """The runs that changed since the last call, by driver."""
        updated, self._updated_runs = self._updated_runs, {}
        return list(updated.items())

    def jobs(self, driver_id: str) -> list[tuple[Delivery, Assignment]]:
        """What a driver has, with their active assignment, in the order in which they got it."""
        work = self._work.get(driver_id)
        known = dict(work.deliveries) if work is not None else {}
        known.update({of: delivery for of, delivery in self.deliveries.items() if delivery is not None})
        jobs = []
        for delivery in known.values():
            assignment = delivery.active_assignment()
            if assignment is not None and assignment.driver_id == driver_id:
                jobs.append((delivery, assignment))
        return sorted(jobs, key=lambda job: (job[1].created_at, job[1].id))

    def stop_of(self, driver_id: str, stop: RunStop) -> tuple[Delivery, Assignment] | None:
        """The delivery and the assignment of a stop of a driver's run; None if they were deleted."""
        work = self._work.get(driver_id)
        delivery = self.deliveries.get(stop.delivery_id)
        if delivery is None and work is not None:
            delivery = work.deliveries.get(stop.delivery_id)
        assignment = delivery.assignments.get(stop.assignment_id) if delivery is not None else None
        return (delivery, assignment) if delivery is not None and assignment is not None else None

    def touch_alert(self, alert_id: str) -> Alert:
        """The alert of an event, marked for saving."""
        alert = self.alerts[alert_id]
        if alert_id not in self.new_alerts:
            self.changed_alerts[alert_id] = alert
        return alert

    def chat(self, driver_id: str) -> dict[str, ChatMessage]:
        """The messages of a driver that a command about messages needs, by id."""
        return self._chats.setdefault(driver_id, {})

    def touch_chat_message(self, driver_id: str, message_id: str) -> ChatMessage:
        """The message of an event, marked for saving."""
        message = self.chat(driver_id)[message_id]
        if message_id not in self.new_chat_messages:
            self.changed_chat_messages[message_id] = message
        return message

    # The row of an event is copied, because the event must keep the initial state of the row.

    def add_offer(self, offer: Offer) -> None:
        """A new offer of a locked delivery."""
        assert offer.status == BEGINS[e.OfferCreated]
        self.locked_delivery(offer.delivery_id).offers[offer.id] = self.new_offers[offer.id] = replace(offer)
        self._delivery_of[offer.id] = offer.delivery_id

    def add_assignment(self, assignment: Assignment) -> None:
        """A new assignment of a locked delivery."""
        assert assignment.status == BEGINS[e.DeliveryAssigned]
        delivery = self.locked_delivery(assignment.delivery_id)
        delivery.assignments[assignment.id] = self.new_assignments[assignment.id] = replace(assignment)
        self._delivery_of[assignment.id] = assignment.delivery_id

    def add_delivery(self, delivery: Delivery, posted: Posted | None) -> None:
        """A new delivery, and what was posted for it if it does not say so itself."""
        assert delivery.status == BEGINS[e.DeliveryCreated]
        self.deliveries[delivery.id] = self.new_deliveries[delivery.id] = replace(delivery, offers={}, assignments={})
        self.by_seller_key[delivery.seller_id, delivery.seller_order_id] = delivery.id
        self.use_zone(delivery.zone)
        if posted is not None:
            self.new_posted[delivery.id] = posted

    def add_alert(self, alert: Alert) -> None:
        self.alerts[alert.id] = self.new_alerts[alert.id] = replace(alert)

    def add_chat_message(self, message: ChatMessage) -> None:
        self.chat(message.driver_id)[message.id] = self.new_chat_messages[message.id] = replace(message)

    def add_driver(self, driver: Driver) -> None:
        assert driver.availability == BEGINS[e.DriverRegistered]
        self.drivers[driver.id] = self.new_drivers[driver.id] = replace(driver)
        self.use_zone(driver.zone)
        if driver.external_ref is not None:
            self.by_external_ref[driver.external_ref] = driver.id
