"""The rules of offers: who is offered what, and what a yes, a no, a receipt and the deadline do."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.model import SYSTEM, Delivery, Driver, OrderDetails, Place, Position
from server.dispatch.offers import dispatchable, exclusion
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.dispatch.world import NeedsRows, World
from tests.builders import (
    DAN,
    DORA,
    NODE,
    NOW,
    PICKUP,
    SHOP,
    SOUP,
    a_closed_offer,
    a_delivery,
    a_driver,
    a_driver_gone,
    a_policy,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, check, happens, job_of, name_of, offer_of, payload_of, waiting_of

OFFER = id_of(f"{SOUP}: offer 1")
OTHER_NODE = id_of("other node")
NEW_OFFER, NEW_ASSIGNMENT = id_of("new offer"), id_of("new assignment")

SEVEN_KM_AWAY = Place(PICKUP.lat + 0.063, PICKUP.lon)
OFFER_SOUP_TO_DAN = c.OfferDelivery(SOUP, DAN, NEW_OFFER, PICKUP.lat, PICKUP.lon)
EARLY = c.OfferDelivery(SOUP, DAN, NEW_OFFER, PICKUP.lat, PICKUP.lon, SHOP, early=True)
ACCEPT = c.AcceptOffer(OFFER, DAN, NEW_ASSIGNMENT, by(DAN))
REJECT = c.RejectOffer(OFFER, DAN, by(DAN), "too_far", "the bridge is closed")
RECEIVED = c.ConfirmReceipt(OFFER, DAN, by(DAN))
EXPIRE = c.ExpireOffer(OFFER, NEW_ASSIGNMENT)

IN_TIME = seconds(29)
DUE = seconds(30)


def waiting(status: str = "READY", **of_driver: Any) -> Callable[[], World]:
    """Soup waits, or as said; Dan is about."""
    return lambda: a_world(a_delivery(status=status), a_driver(**of_driver))


def offered(
    age: timedelta = IN_TIME,
    *,
    policy: Policy = DEFAULT_POLICY,
    offer: dict[str, Any] | None = None,
    **of_driver: Any,
) -> Callable[[], World]:
    """Soup is held out to Dan since `age`; his app has said that it has the offer."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver(**of_driver)
        received = {"received_at": NOW - age + seconds(1)}
        an_open_offer(soup, dan, age=age, **received | (offer or {}))
        return a_world(soup, dan, policy=policy)

    return given


LOST: dict[str, Any] = {"session_id": None, "session_node": None}


def with_dead(node_id: str, given: Callable[[], World]) -> Callable[[], World]:
    """The same, this node being dead."""

    def dead() -> World:
        world = given()
        world.dead_nodes = frozenset({node_id})
        return world

    return dead


def closed(status: str, *, age: timedelta = timedelta(minutes=1), **of_offer: Any) -> Callable[[], World]:
    """Dan's offer of soup ended so long ago, and soup waits again."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver()
        a_closed_offer(soup, dan, status, age=age, **of_offer)
        return a_world(soup, dan)

    return given


def assigned(by_offer: str = "ACCEPTED", **of_assignment: Any) -> Callable[[], World]:
    """Dan got soup by his offer."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver()
        auto = by_offer == "EXPIRED"
        offer = a_closed_offer(soup, dan, by_offer, age=minutes(1), auto_accepted=auto)
        soup.accepted_offer_id = offer.id
        soup.offer_acceptance_count = 0 if auto else 1
        an_assignment(soup, dan, offer=offer, **of_assignment)
        if of_assignment.get("status") == "COMPLETED":
            soup.status, soup.unassigned_since = "DELIVERED", None
            soup.unassigned.escalation_status = "ASSIGNED"  # type: ignore[union-attr]
        return a_world(soup, dan)

    return given


def gave_back() -> World:
    """Dan had soup, and gave it back."""
    soup, dan = a_delivery(), a_driver()
    an_assignment(soup, dan, status="RELEASED", ended_at=NOW - minutes(1), ended_by=DAN)
    return a_world(soup, dan)


def dan(world: World) -> Driver:
    return world.known_driver(DAN)


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


OFFERING = [
    Case(
        "a scheduled delivery is dispatched by the offer that somebody asks for",
        given=waiting(status="SCHEDULED"),
        command=EARLY,
        then=[happens(e.DeliveryReady, early=True, actor=SHOP), happens(e.OfferCreated, driver_id=DAN, actor=SHOP)],
        afterwards=lambda w: soup(w).status == "READY" and list(w.new_waits) == [SOUP],
    ),
    Case(
        "the search alone offers nothing before its time",
        given=waiting(status="SCHEDULED"),
        command=OFFER_SOUP_TO_DAN,
        then="delivery_not_waiting",
    ),
    Case(
        "a scheduled delivery stays scheduled when its driver cannot be asked",
        given=waiting(status="SCHEDULED", availability="paused"),
        command=EARLY,
        then="driver_not_available: paused",
    ),
    Case(
        "a waiting delivery is offered for the policy's timeout",
        given=waiting(),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated, delivery_id=SOUP, driver_id=DAN, offer_id=NEW_OFFER, actor=SYSTEM)],
        afterwards=lambda w: (
            offer_of(soup(w)).expires_at == NOW + seconds(30)
            and offer_of(soup(w)).attempt == 1
            and offer_of(soup(w)).notification_method == "websocket"
            and dan(w).open_offer_id == NEW_OFFER
            and waiting_of(soup(w)).attempt_count == 1
            and soup(w).status == "READY"
        ),
    ),
    Case(
        "who called lately is asked without a socket",
        given=waiting(session_id=None, session_node=None, last_call_at=NOW - seconds(89)),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
        afterwards=lambda w: offer_of(soup(w)).notification_method is None,
    ),
    Case(
        "who called too long ago is not",
        given=waiting(session_id=None, session_node=None, last_call_at=NOW - seconds(90)),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: not_present",
    ),
    Case(
        "who has just lost their socket is present but cannot be asked",
        given=lambda: a_world(a_delivery(), a_driver_gone(since=seconds(1))),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: not_present",
    ),
    Case(
        "nobody on a break is asked",
        given=waiting(availability="on_break"),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: on_break",
    ),
    Case(
        "nobody at capacity is asked",
        given=waiting(capacity=2, active_count=2),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: busy",
    ),
    Case(
        "who has room for a second one is asked",
        given=waiting(capacity=2, active_count=1),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
    Case(
        "nobody is asked who is out of reach of a pickup that moved while they were looked for",
        given=lambda: a_world(a_delivery(pickup=SEVEN_KM_AWAY), a_driver()),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: out_of_radius",
    ),
    Case(
        "in a wide search they are",
        given=lambda: a_world(a_delivery(pickup=SEVEN_KM_AWAY, widened_at=NOW), a_driver()),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
    Case(
        "nor does it matter where somebody is who will come near with what they have",
        given=lambda: a_world(a_delivery(pickup=SEVEN_KM_AWAY), a_driver(capacity=2, active_count=1)),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
    Case(
        "nobody is asked two things at once",
        given=waiting(open_offer_id=id_of("other"), open_offer_delivery_id=id_of("cake")),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: has_open_offer",
    ),
    Case(
        "nobody is asked who never said where they are",
        given=waiting(position=None),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: no_position",
    ),
    Case(
        "a position five minutes old is fresh",
        given=waiting(position=Position(52.5, 13.4, NOW - seconds(300))),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
    Case(
        "an older one is stale",
        given=waiting(position=Position(52.5, 13.4, NOW - seconds(301))),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: position_stale",
    ),
    Case(
        "nobody is asked who lacks a tag that the order requires",
        given=lambda: a_world(a_delivery(requirements=("cold", "van")), a_driver(tags=("van",))),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: requirements",
    ),
    Case(
        "who has all of them is",
        given=lambda: a_world(a_delivery(requirements=("cold",)), a_driver(tags=("van", "cold"))),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
        afterwards=lambda w: payload_of(soup(w)).requirements == ("cold",),
    ),
    Case(
        "nobody is asked who goes home before they could have it",
        given=waiting(shift_ends_at=NOW + minutes(8)),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: shift_ends",
    ),
    Case(
        "who goes home right after is",
        given=waiting(shift_ends_at=NOW + minutes(9)),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
    Case(
        "nobody is asked after the end of their shift",
        given=waiting(shift_ends_at=NOW),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: shift_ends",
    ),
    Case(
        "nor who works for us no more",
        given=waiting(active=False),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: deactivated",
    ),
    Case(
        "what is held is not offered yet",
        given=lambda: a_world(a_delivery(held_until=NOW + minutes(5)), a_driver()),
        command=OFFER_SOUP_TO_DAN,
        then="delivery_not_waiting",
    ),
    Case(
        "nor what has an address that somebody should look at",
        given=lambda: a_world(a_delivery(details=OrderDetails(warnings=("trip_too_long",))), a_driver()),
        command=OFFER_SOUP_TO_DAN,
        then="delivery_not_waiting",
    ),
    Case(
        "the first offer promises what it estimates",
        given=waiting(),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
        afterwards=lambda w: (
            soup(w).estimated_pickup_at == NOW + minutes(9)
            and soup(w).promised_at == soup(w).estimated_delivery_at
            and (soup(w).promised_at or NOW) > NOW + minutes(19)
        ),
    ),
    Case(
        "what was promised before stays so",
        given=lambda: a_world(a_delivery(promised_at=NOW + minutes(15)), a_driver()),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
        afterwards=lambda w: soup(w).promised_at == NOW + minutes(15),
    ),
    Case(
        "who gave it back is not asked again",
        given=lambda: gave_back(),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: gave_it_back",
    ),
    Case(
        "nobody is asked outside their zone",
        given=waiting(zone="airport"),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: zone_differs",
    ),
    Case(
        "a delivery is held out to one driver at a time",
        given=offered(),
        command=c.OfferDelivery(SOUP, DORA, NEW_OFFER, PICKUP.lat, PICKUP.lon),
        then="delivery_not_waiting",
    ),
    Case(
        "a delivery that was picked up wants nobody",
        given=assigned(picked_up_at=NOW),
        command=OFFER_SOUP_TO_DAN,
        then="delivery_not_waiting",
    ),
    Case(
        "an unknown delivery is not found",
        given=lambda: a_world(a_driver(), absent=[SOUP]),
        command=OFFER_SOUP_TO_DAN,
        then="not_found",
    ),
    Case(
        "an unknown driver is not found",
        given=lambda: a_world(a_delivery(), absent=[DAN]),
        command=OFFER_SOUP_TO_DAN,
        then="not_found",
    ),
    Case(
        "who said no is not asked again",
        given=closed("REJECTED", age=minutes(60)),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: rejected_before",
    ),
    Case(
        "who did not answer is not asked again at once",
        given=closed("EXPIRED", age=seconds(119)),
        command=OFFER_SOUP_TO_DAN,
        then="driver_not_available: asked_recently",
    ),
    Case(
        "who did not answer is asked again after the cooldown",
        given=closed("EXPIRED", age=seconds(120)),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
        afterwards=lambda w: offer_of(soup(w)).attempt == 2,
    ),
    Case(
        "whose offer was withdrawn is asked again at once",
        given=closed("WITHDRAWN", age=seconds(1)),
        command=OFFER_SOUP_TO_DAN,
        then=[happens(e.OfferCreated)],
    ),
]

ACCEPTING = [
    Case(
        "a yes in time assigns the delivery",
        given=offered(),
        command=ACCEPT,
        then=[
            happens(e.OfferAccepted, offer_id=OFFER, assignment_id=NEW_ASSIGNMENT, response_ms=29_000, actor=by(DAN)),
            happens(e.DeliveryAssigned, assignment_id=NEW_ASSIGNMENT, driver_id=DAN, actor=by(DAN)),
        ],
        afterwards=lambda w: (
            soup(w).status == "ASSIGNED"
            and job_of(soup(w)).source == "accepted"
            and soup(w).accepted_offer_id == OFFER
            and soup(w).offer_acceptance_count == 1
            and soup(w).unassigned_since is None
            and dan(w).busy
            and dan(w).open_offer_id is None
        ),
    ),
    Case(
        "a yes ends a row of expiries",
        given=offered(expiries_in_a_row=2),
        command=ACCEPT,
        then=[happens(e.OfferAccepted), happens(e.DeliveryAssigned)],
        afterwards=lambda w: dan(w).expiries_in_a_row == 0,
    ),
    Case("yes again is the same assignment", given=assigned(), command=ACCEPT, then=[]),
    Case(
        "yes again after the delivery is the same assignment still",
        given=assigned(status="COMPLETED", picked_up_at=NOW, completed_at=NOW),
        command=ACCEPT,
        then=[],
    ),
    Case(
        "a late yes of the driver who was assigned at the deadline is that assignment",
        given=assigned("EXPIRED"),
        command=ACCEPT,
        then=[],
    ),
    Case(
        "yes again after a reassignment is too late",
        given=lambda: reassigned(),
        command=ACCEPT,
        then="offer_no_longer_open",
    ),
    Case(
        "a yes at the deadline assigns as the deadline does",
        given=offered(DUE),
        command=ACCEPT,
        then=[
            happens(e.OfferExpired, auto_accepted=True, assignment_id=NEW_ASSIGNMENT, actor=SYSTEM),
            happens(e.DeliveryAssigned, assignment_id=NEW_ASSIGNMENT),
        ],
        afterwards=lambda w: job_of(soup(w)).source == "auto_accepted",
    ),
    Case(
        "a yes at the deadline is too late where the deadline assigns nobody",
        given=offered(DUE, policy=a_policy(expiry_policy="next_driver")),
        command=ACCEPT,
        then="offer_no_longer_open",
    ),
    *(
        Case(f"a yes to an offer that is {status} is too late", closed(status), ACCEPT, "offer_no_longer_open")
        for status in ("REJECTED", "EXPIRED", "WITHDRAWN")
    ),
    Case(
        "there must be room",
        given=offered(active_count=1),
        command=ACCEPT,
        then="driver_not_available: busy",
    ),
    Case(
        "who dropped out of reach may still say yes",
        given=offered(availability="offline", availability_before="available", availability_reason="connection_lost"),
        command=ACCEPT,
        then=[happens(e.OfferAccepted), happens(e.DeliveryAssigned)],
    ),
    Case(
        "another driver's offer does not exist",
        given=offered(),
        command=c.AcceptOffer(OFFER, DORA, NEW_ASSIGNMENT, by(DORA)),
        then="not_found",
    ),
    Case(
        "an offer that never was does not exist",
        given=offered(),
        command=c.AcceptOffer(id_of("nothing"), DAN, NEW_ASSIGNMENT, by(DAN)),
        then="not_found",
    ),
    Case(
        "an assignment is no offer",
        given=assigned(),
        command=c.AcceptOffer(id_of(f"{SOUP}: assignment 1"), DAN, NEW_ASSIGNMENT, by(DAN)),
        then="not_found",
    ),
]


def reassigned() -> World:
    """Dan had soup by his offer, until it was taken from him."""
    world = assigned("ACCEPTED", status="REASSIGNED", ended_at=NOW)()
    soup(world).accepted_offer_id = None
    return world


REJECTING = [
    Case(
        "a no frees the delivery and the driver, and its reason is kept",
        given=offered(expiries_in_a_row=2),
        command=REJECT,
        then=[
            happens(
                e.OfferRejected,
                offer_id=OFFER,
                reason="too_far",
                note="the bridge is closed",
                response_ms=29_000,
                actor=by(DAN),
            )
        ],
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).open_offer() is None
            and soup(w).offers[OFFER].closing_reason == "too_far"
            and waiting_of(soup(w)).failure_reason == "offer_rejected"
            and dan(w).open_offer_id is None
            and dan(w).expiries_in_a_row == 0
        ),
    ),
    Case(
        "a reason in their own words is a note",
        given=offered(),
        command=c.RejectOffer(OFFER, DAN, by(DAN), "my bike broke"),
        then=[happens(e.OfferRejected, reason="other", note="my bike broke")],
    ),
    Case("no again is harmless", given=closed("REJECTED"), command=REJECT, then=[]),
    Case("a no at the deadline is too late", given=offered(DUE), command=REJECT, then="offer_no_longer_open"),
    Case("a no after a yes is too late", given=assigned(), command=REJECT, then="offer_no_longer_open"),
    Case(
        "another driver's offer does not exist",
        given=offered(),
        command=c.RejectOffer(OFFER, DORA, by(DORA)),
        then="not_found",
    ),
    Case(
        "an offer that never was does not exist",
        given=offered(),
        command=c.RejectOffer(id_of("nothing"), DAN, by(DAN)),
        then="not_found",
    ),
]

RECEIVING = [
    Case(
        "the first receipt is kept",
        given=offered(offer={"received_at": None}),
        command=RECEIVED,
        then=[happens(e.OfferReceived, offer_id=OFFER, driver_id=DAN)],
        afterwards=lambda w: soup(w).offers[OFFER].received_at == NOW,
    ),
    Case("a second receipt changes nothing", given=offered(), command=RECEIVED, then=[]),
    Case(
        "a receipt at the deadline comes too late to count",
        given=offered(DUE, offer={"received_at": None}),
        command=RECEIVED,
        then=[],
    ),
    Case("a receipt of a closed offer changes nothing", given=assigned(), command=RECEIVED, then=[]),
    Case(
        "another driver's offer does not exist",
        given=offered(),
        command=c.ConfirmReceipt(OFFER, DORA, by(DORA)),
        then="not_found",
    ),
    Case(
        "an offer that never was does not exist",
        given=offered(),
        command=c.ConfirmReceipt(id_of("nothing"), DAN, by(DAN)),
        then="not_found",
    ),
]

NOBODY = [happens(e.OfferExpired, auto_accepted=False, assignment_id=None, actor=SYSTEM)]
AUTO = [
    happens(e.OfferExpired, auto_accepted=True, assignment_id=NEW_ASSIGNMENT, actor=SYSTEM),
    happens(e.DeliveryAssigned, offer_id=OFFER, assignment_id=NEW_ASSIGNMENT, driver_id=DAN, actor=SYSTEM),
]
PAUSED = happens(e.AvailabilityChanged, driver_id=DAN, from_="available", to="paused", reason="unresponsive")

EXPIRING = [
    Case(
        "silence is a yes of a driver whose app has the offer, who is here and available",
        given=offered(DUE),
        command=EXPIRE,
        then=AUTO,
        afterwards=lambda w: (
            soup(w).status == "ASSIGNED"
            and job_of(soup(w)).source == "auto_accepted"
            and soup(w).offers[OFFER].status == "EXPIRED"
            and soup(w).offers[OFFER].auto_accepted
            and soup(w).accepted_offer_id == OFFER
            and soup(w).offer_acceptance_count == 0
            and dan(w).expiries_in_a_row == 1
        ),
    ),
    Case(
        "it is a no of a driver whose app never had it",
        given=offered(DUE, offer={"received_at": None}),
        command=EXPIRE,
        then=NOBODY,
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).accepted_offer_id is None
            and waiting_of(soup(w)).failure_reason == "offer_expired"
            and dan(w).expiries_in_a_row == 1
        ),
    ),
    Case(
        "and where the policy says so, of any driver",
        given=offered(DUE, policy=a_policy(expiry_policy="next_driver")),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "who lost their socket a second before the deadline is not asked by silence",
        given=offered(DUE, **LOST, socket_lost_at=NOW - seconds(1)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "nor who lost it as the offer came",
        given=offered(DUE, **LOST, socket_lost_at=NOW - DUE),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "nor who called since: their phone had a socket, and has none",
        given=offered(DUE, **LOST, socket_lost_at=NOW - seconds(20), last_call_at=NOW - seconds(1)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "who was back before the deadline is there",
        given=offered(DUE, connected_since=NOW - seconds(1)),
        command=EXPIRE,
        then=AUTO,
    ),
    Case(
        "at the deadline itself as well",
        given=offered(DUE, connected_since=NOW),
        command=EXPIRE,
        then=AUTO,
    ),
    Case(
        "who came after the deadline was not, however late it is looked at",
        given=offered(DUE + seconds(20), connected_since=NOW - seconds(19)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "nor whose node died",
        given=with_dead(NODE, offered(DUE)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "even if they call: they cannot have seen the rest of the offer",
        given=with_dead(NODE, offered(DUE, last_call_at=NOW)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "another node's death is of no interest",
        given=with_dead(OTHER_NODE, offered(DUE)),
        command=EXPIRE,
        then=AUTO,
    ),
    Case(
        "who had no socket while the offer ran is there by a call",
        given=offered(DUE, **LOST, socket_lost_at=NOW - minutes(5), last_call_at=NOW - seconds(60)),
        command=EXPIRE,
        then=AUTO,
    ),
    Case(
        "also who never had one",
        given=offered(DUE, **LOST, last_call_at=NOW - seconds(89)),
        command=EXPIRE,
        then=AUTO,
    ),
    Case(
        "but not by a call of long ago",
        given=offered(DUE, **LOST, last_call_at=NOW - seconds(90)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "nor by a socket lost a moment before the offer was made",
        given=offered(DUE, **LOST, socket_lost_at=NOW - DUE - seconds(1)),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "an offline driver gets nothing and no message",
        given=offered(DUE, availability="offline", availability_before="available"),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "nor who has no room",
        given=offered(DUE, capacity=2, active_count=2),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "the third silence in a row pauses the driver",
        given=offered(DUE, expiries_in_a_row=2, offer={"received_at": None}),
        command=EXPIRE,
        then=[*NOBODY, PAUSED],
        afterwards=lambda w: dan(w).availability == "paused" and dan(w).expiries_in_a_row == 3,
    ),
    Case(
        "also if it was taken for a yes; the assignment stays theirs",
        given=offered(DUE, expiries_in_a_row=2),
        command=EXPIRE,
        then=[*AUTO, PAUSED],
        afterwards=lambda w: soup(w).status == "ASSIGNED" and dan(w).active_count == 1,
    ),
    Case(
        "who is offline already is not paused",
        given=offered(DUE, expiries_in_a_row=2, availability="offline", availability_before="available"),
        command=EXPIRE,
        then=NOBODY,
    ),
    Case(
        "how many silences are too many is the policy's to say",
        given=offered(DUE, expiries_in_a_row=2, policy=a_policy(pause_after_expiries=4)),
        command=EXPIRE,
        then=AUTO,
    ),
    Case("no offer ends before its deadline", given=offered(), command=EXPIRE, then="offer_not_due"),
    Case("no offer ends twice", given=assigned(), command=EXPIRE, then="offer_no_longer_open"),
    Case(
        "an offer that never was does not end",
        given=lambda: a_world(a_delivery()),
        command=EXPIRE,
        then="not_found",
    ),
]


@pytest.mark.parametrize("case", [*OFFERING, *ACCEPTING, *REJECTING, *RECEIVING, *EXPIRING], ids=name_of)
def test_offers(case: Case) -> None:
    check(case)


def test_silence_before_the_search_was_widened_is_forgiven() -> None:
    soup, dan = a_delivery(), a_driver()
    a_closed_offer(soup, dan, "EXPIRED", age=seconds(60))
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) == "asked_recently"
    soup.widened_at = NOW - seconds(60)
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) is None
    soup.widened_at = NOW - seconds(61)
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) == "asked_recently"


def test_a_no_is_not_forgiven_by_widening_the_search() -> None:
    soup, dan = a_delivery(), a_driver()
    a_closed_offer(soup, dan, "REJECTED", age=seconds(60))
    soup.widened_at = NOW
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) == "rejected_before"


def test_who_lost_a_delivery_to_a_reassignment_is_not_asked_again() -> None:
    soup, dan, dora = a_delivery(), a_driver(), a_driver("Dora")
    an_assignment(soup, dan, status="REASSIGNED", ended_at=NOW)
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) == "reassigned_away"
    assert exclusion(soup, dora.id, NOW, DEFAULT_POLICY) is None


def test_others_silence_excludes_nobody() -> None:
    soup = a_delivery()
    a_closed_offer(soup, a_driver("Dora"), "EXPIRED", age=seconds(1))
    assert exclusion(soup, DAN, NOW, DEFAULT_POLICY) is None


def test_the_reasons_of_who_cannot_be_asked_come_in_order() -> None:
    driver = a_driver(availability="paused", active_count=1, position=None)
    assert dispatchable(driver, NOW, DEFAULT_POLICY) == "paused"
    driver.availability = "available"
    assert dispatchable(driver, NOW, DEFAULT_POLICY) == "busy"
    driver.active_count = 0
    assert dispatchable(driver, NOW, DEFAULT_POLICY) == "no_position"


def test_a_yes_whose_driver_is_not_locked_waits_for_them() -> None:
    world = offered()()
    del world.drivers[DAN]
    with pytest.raises(NeedsRows) as needs:
        check(Case("", lambda: world, ACCEPT, []))
    assert (needs.value.delivery_id, needs.value.driver_id) == (None, DAN)
