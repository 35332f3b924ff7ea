"""What events tell beyond their ids: JSON-ready, camelCase, instants as the contract writes them."""

import json
from typing import Any

import msgspec
import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import SYSTEM
from server.dispatch.world import World
from tests.builders import (
    ADA,
    ALICE,
    DAN,
    DORA,
    NODE,
    NOW,
    PICKUP,
    SESSION,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
    minutes,
)
from tests.dispatch.test_deliveries import create

NEW_OFFER, NEW_ASSIGNMENT = id_of("new offer"), id_of("new assignment")


def data_of(world: World, command: c.Command) -> list[tuple[str, Any]]:
    """Type and data of what a command brings about, after JSON."""
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    return [(event.type, json.loads(msgspec.json.encode(event.data()))) for event in decided.events]


def waiting(**of_soup: Any) -> World:
    return a_world(a_delivery(**of_soup), a_driver())


def held_out() -> World:
    soup, dan = a_delivery(), a_driver()
    an_open_offer(soup, dan, received_at=NOW)
    return a_world(soup, dan)


def on_its_way() -> World:
    soup, dan = a_delivery(), a_driver()
    an_assignment(soup, dan, picked_up_at=NOW)
    return a_world(soup, dan, a_driver("Dora"))


def not_picked_up() -> World:
    soup, dan = a_delivery(), a_driver()
    an_assignment(soup, dan)
    return a_world(soup, dan)


OFFER = id_of(f"{SOUP}: offer 1")
ASSIGNMENT = id_of(f"{SOUP}: assignment 1")


@pytest.mark.parametrize(
    ("world", "command", "expected"),
    [
        (
            waiting(waiting=minutes(0), prep_seconds=1200),
            c.HoldDelivery(SOUP, NOW + minutes(12)),
            [("delivery.held", {"until": "2026-02-01T18:12:00.000Z", "readyAt": "2026-02-01T18:20:00.000Z"})],
        ),
        (
            waiting(prep_seconds=1200, held_until=NOW + minutes(12), unassigned_since=None),
            c.EndHold(SOUP, early=True),
            [("delivery.hold_ended", {"early": True})],
        ),
        (
            waiting(prep_seconds=1200, held_until=NOW, unassigned_since=None),
            c.EndHold(SOUP),
            [("delivery.hold_ended", {})],
        ),
        (
            a_world(),
            create(seller_order_id="A-1"),
            [
                (
                    "delivery.created",
                    {
                        "sellerId": "shop",
                        "sellerOrderId": "A-1",
                        "storeName": "Green Bowl",
                        "zone": "default",
                        "dispatchAt": "2026-02-01T18:00:00.000Z",
                    },
                ),
                ("delivery.ready", {}),
            ],
        ),
        (waiting(status="SCHEDULED", dispatch_at=NOW), c.DispatchDelivery(SOUP, SHOP), [("delivery.ready", {})]),
        (
            waiting(),
            c.NoteFailedSearch(SOUP, "no_driver_available"),
            [("delivery.search_failed", {"reason": "no_driver_available"})],
        ),
        (
            held_out(),
            c.AcceptOffer(OFFER, DAN, NEW_ASSIGNMENT, by(DAN)),
            [
                ("offer.accepted", {"responseTimeMs": 10_000}),
                ("delivery.assigned", {"source": "accepted"}),
            ],
        ),
        (
            held_out(),
            c.RejectOffer(OFFER, DAN, by(DAN), "too_far"),
            [("offer.rejected", {"responseTimeMs": 10_000, "reason": "too_far", "note": None})],
        ),
        (
            held_out(),
            c.CancelDelivery(SOUP, "sold out", SHOP),
            [("offer.withdrawn", {"reason": "cancelled"}), ("delivery.cancelled", {"reason": "sold out"})],
        ),
        (
            waiting(),
            c.AssignDelivery(SOUP, DAN, "near", True, NEW_OFFER, NEW_ASSIGNMENT, ALICE),
            [
                (
                    "delivery.assigned",
                    {"source": "manual", "reason": "near", "estimatedDeliveryAt": "2026-02-01T18:23:41.811Z"},
                )
            ],
        ),
        (
            on_its_way(),
            c.Reassign(ASSIGNMENT, "flat tyre", NEW_OFFER, NEW_ASSIGNMENT, ADA, force=True),
            [
                (
                    "delivery.reassigned",
                    {
                        "reason": "flat tyre",
                        "forced": True,
                        "pickup": {"lat": PICKUP.lat, "lon": PICKUP.lon, "address": None},
                    },
                )
            ],
        ),
        (
            not_picked_up(),
            c.Reassign(ASSIGNMENT, "flat tyre", NEW_OFFER, NEW_ASSIGNMENT, ADA),
            [("delivery.reassigned", {"reason": "flat tyre", "forced": False})],
        ),
        (on_its_way(), c.Complete(ASSIGNMENT, DAN, by(DAN)), [("delivery.delivered", {"distanceKm": 1.505})]),
        (
            waiting(waiting=minutes(5)),
            c.Escalate(SOUP, id_of("ticket")),
            [
                ("delivery.escalated", {"level": 1, "actions": ["ticket", "notify_ops"], "minutesSinceCreation": 5}),
                (
                    "ticket.created",
                    {
                        "ticketId": id_of("ticket"),
                        "priority": "high",
                        "title": "Order A-soup unassigned for 5+ minutes",
                        "actionUrl": f"/admin/unassigned-orders/{SOUP}",
                    },
                ),
            ],
        ),
        (waiting(), c.Acknowledge(SOUP, ALICE, "on it"), [("delivery.acknowledged", {"note": "on it"})]),
        (
            a_world(),
            c.RegisterDriver(DAN, "Dan", "default", 1, SHOP),
            [("driver.registered", {"name": "Dan", "zone": "default"})],
        ),
        (
            a_world(a_driver()),
            c.ConnectDriver(DAN, id_of("next"), NODE, by(DAN)),
            [("driver.connected", {"sessionId": id_of("next"), "superseded": SESSION})],
        ),
        (
            a_world(a_driver()),
            c.DisconnectDriver(DAN, SESSION),
            [("driver.disconnected", {"sessionId": SESSION})],
        ),
        (
            a_world(a_driver()),
            c.TakeBreak(DAN, 30, by(DAN)),
            [
                (
                    "driver.availability_changed",
                    {
                        "from": "available",
                        "to": "on_break",
                        "reason": "driver_requested",
                        "until": "2026-02-01T18:30:00.000Z",
                    },
                )
            ],
        ),
        (a_world(a_driver(expiries_in_a_row=1)), c.Resume(DAN, by(DAN)), [("driver.expiries_forgiven", {})]),
    ],
)
def test_events_tell(world: World, command: c.Command, expected: list[tuple[str, Any]]) -> None:
    assert data_of(world, command) == expected


def test_an_offer_tells_its_deadline_and_what_the_driver_is_shown() -> None:
    ((name, data),) = data_of(waiting(), c.OfferDelivery(SOUP, DAN, NEW_OFFER, 52.52, 13.405))
    assert name == "offer.created"
    assert (data["attempt"], data["expiresAt"]) == (1, "2026-02-01T18:00:30.000Z")
    assert data["payload"]["pickupStoreName"] == "Green Bowl"
    assert "reason" not in data
    by_hand = c.AssignDelivery(SOUP, DAN, "near", False, NEW_OFFER, NEW_ASSIGNMENT, ALICE)
    assert data_of(waiting(), by_hand)[0][1]["reason"] == "near"


def test_an_expiry_tells_whether_silence_was_a_yes() -> None:
    soup, dora = a_delivery(), a_driver("Dora")
    an_open_offer(soup, dora, age=minutes(1), received_at=NOW - minutes(1))
    expired, assigned = data_of(a_world(soup, dora), c.ExpireOffer(OFFER, NEW_ASSIGNMENT))
    assert expired == ("offer.expired", {"autoAccepted": True})
    assert assigned == ("delivery.assigned", {"source": "auto_accepted"})


def test_a_pickup_tells_how_far_away_it_was_done_if_that_is_known() -> None:
    event = e.DeliveryPickedUp(at=NOW, actor=SYSTEM, delivery_id=SOUP, driver_id=DORA, assignment_id=ASSIGNMENT)
    assert event.data() == {"distanceKm": None}
