"""Converts events into the messages of drivers' streams."""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET

from server.contract import messages as m
from server.contract.views import chat_message_view, driven_assignment_view, instant, offer_view, run_stop_view
from server.dispatch import events as e
from server.dispatch.world import World

StreamEntry = tuple[str, m.Numbered, e.Event | None]
"""A driver, the message for them, and its event, if it is about one."""
OfferOutcome = Literal["ACCEPTED", "REJECTED", "EXPIRED", "WITHDRAWN"]

_OUTCOMES: dict[type[e.Event], OfferOutcome] = {
    e.OfferAccepted: "ACCEPTED",
    e.OfferRejected: "REJECTED",
    e.OfferExpired: "EXPIRED",
    e.OfferWithdrawn: "WITHDRAWN",
}
_OF_ASSIGNMENTS = (
    e.DeliveryAssigned,
    e.DeliveryArrived,
    e.DeliveryPickedUp,
    e.DeliveryDelivered,
    e.DeliveryReleased,
    e.DeliveryFailed,
    e.DeliveryReturning,
    e.DeliveryReturned,
    e.DeliveryChanged,
    e.ProofAdded,
    e.DeliveryReassigned,
    e.DeliveryCancelled,
)


def stream_entries(events: Sequence[e.Event], world: World) -> list[StreamEntry]:
    """The messages of one command's events, each with its driver and event, numbered in their streams.

    Call it after all these events are applied and the runs are updated: an assignment appears once, in its final state,
    and runs follow at the end.
    """
    entries: list[StreamEntry] = []
    for index, event in enumerate(events):
        driver_id = event.driver_id
        if driver_id is None:
            continue
        kind = type(event)
        if kind is e.OfferCreated:
            assert isinstance(event, e.OfferCreated)
            offer = offer_view(event.offer, world.now)
            entries.append((driver_id, m.OfferMade(seq=world.next_message_number(driver_id), offer=offer), event))
        elif kind in _OUTCOMES:
            assert event.offer_id is not None
            assert event.delivery_id is not None
            reason = getattr(event, "reason", None)
            entries.append(
                (
                    driver_id,
                    m.OfferClosed(
                        seq=world.next_message_number(driver_id),
                        offer_id=event.offer_id,
                        delivery_id=event.delivery_id,
                        outcome=_OUTCOMES[kind],
                        reason=UNSET if reason is None else reason,
                        assignment_id=UNSET if event.assignment_id is None else event.assignment_id,
                    ),
                    event,
                )
            )
        elif kind in _OF_ASSIGNMENTS:
            if event.assignment_id is None or _shown_later(events[index + 1 :], event.assignment_id):
                continue
            delivery, assignment = world.assignment(event.assignment_id)
            view = driven_assignment_view(assignment, delivery)
            entries.append(
                (driver_id, m.AssignmentChanged(seq=world.next_message_number(driver_id), assignment=view), event)
            )
        elif kind is e.MessageSent:
            assert isinstance(event, e.MessageSent)
            if not event.message.by_driver:
                written = m.MessageWritten(
                    seq=world.next_message_number(driver_id), message=chat_message_view(event.message)
                )
                entries.append((driver_id, written, event))
        elif kind is e.AvailabilityChanged:
            assert isinstance(event, e.AvailabilityChanged)
            entries.append(
                (
                    driver_id,
                    m.AvailabilityChanged(
                        seq=world.next_message_number(driver_id),
                        availability=event.to,
                        until=UNSET if event.until is None else instant(event.until),
                        reason=event.reason,
                    ),
                    event,
                )
            )
    for driver_id, stops in world.take_updated_runs():
        found = [(stop, world.stop_of(driver_id, stop)) for stop in stops]
        views = [run_stop_view(stop, of[0]) for stop, of in found if of is not None]
        entries.append((driver_id, m.RunChanged(seq=world.next_message_number(driver_id), stops=views), None))
    return entries


def _shown_later(events: Sequence[e.Event], assignment_id: str) -> bool:
    return any(type(event) in _OF_ASSIGNMENTS and event.assignment_id == assignment_id for event in events)
