"""The rules of deliveries: from the order to the call board, off it again, and up the ladder in between."""

from collections.abc import Callable
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import SYSTEM, Delivery, OrderDetails, Place
from server.dispatch.policy import DEFAULT_POLICY, EscalationLevel, Policy
from server.dispatch.world import NeedsRows, World
from tests.builders import (
    ADA,
    ALICE,
    DAN,
    DROPOFF,
    NOW,
    PICKUP,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_policy,
    a_world,
    an_assignment,
    an_open_offer,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, check, happens, name_of, waiting_of

NEW = id_of("new delivery")
TICKET = id_of("ticket")


def create(**changes: Any) -> c.CreateDelivery:
    """The shop orders soup."""
    row: dict[str, Any] = {
        "delivery_id": NEW,
        "seller_id": "shop",
        "seller_order_id": "A-soup",
        "store_name": "Green Bowl",
        "zone": "default",
        "pickup": PICKUP,
        "dropoff": DROPOFF,
        "prep_seconds": 600,
        "fingerprint": "soup",
        "actor": SHOP,
    }
    return c.CreateDelivery(**row | changes)


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


def a_board(*, policy: Policy = DEFAULT_POLICY, **of_soup: Any) -> Callable[[], World]:
    """Soup alone."""
    return lambda: a_world(a_delivery(**of_soup), policy=policy)


def held_out() -> World:
    """Soup is held out to Dan."""
    soup, dan = a_delivery(), a_driver()
    an_open_offer(soup, dan)
    return a_world(soup, dan)


def on_its_way(**of_assignment: Any) -> Callable[[], World]:
    """Dan has soup."""

    def given() -> World:
        soup, dan = a_delivery(), a_driver()
        an_assignment(soup, dan, **of_assignment)
        if of_assignment.get("status") == "COMPLETED":
            soup.status, soup.unassigned_since = "DELIVERED", None
            soup.unassigned.escalation_status = "ASSIGNED"  # type: ignore[union-attr]
        return a_world(soup, dan)

    return given


PICKED_UP = on_its_way(picked_up_at=NOW - minutes(1))
DELIVERED = on_its_way(status="COMPLETED", picked_up_at=NOW, completed_at=NOW)
CANCELLED = a_board(status="CANCELLED", unassigned=None)

CREATING = [
    Case(
        "an order is a delivery that waits at once",
        given=a_world,
        command=create(),
        then=[happens(e.DeliveryCreated, delivery_id=NEW, actor=SHOP), happens(e.DeliveryReady, early=False)],
        afterwards=lambda w: (
            w.locked_delivery(NEW).status == "READY"
            and w.locked_delivery(NEW).unassigned_since == NOW
            and w.locked_delivery(NEW).dispatch_at == NOW
            and w.locked_delivery(NEW).currency == "USD"
            and w.locked_delivery(NEW).version == 1
            and list(w.new_deliveries) == list(w.new_waits) == [NEW]
            and not w.changed_deliveries
            and not w.changed_waits
        ),
    ),
    Case(
        "an order for later is scheduled, and nobody waits yet",
        given=a_world,
        command=create(dispatch_at=NOW + seconds(1), currency="EUR", driver_pay_cents=400),
        then=[happens(e.DeliveryCreated)],
        afterwards=lambda w: (
            w.locked_delivery(NEW).status == "SCHEDULED"
            and w.locked_delivery(NEW).unassigned is None
            and w.locked_delivery(NEW).currency == "EUR"
        ),
    ),
    Case(
        "an order for this very moment waits at once",
        given=a_world,
        command=create(dispatch_at=NOW),
        then=[happens(e.DeliveryCreated), happens(e.DeliveryReady)],
    ),
    Case("the same order again is the same delivery", given=a_board(), command=create(), then=[]),
    Case(
        "what is paid in another currency than the policy's must be said",
        given=a_world,
        command=create(currency="EUR"),
        then="pay_required",
    ),
    Case(
        "an order says who is met, what it takes, and what is asked for at the door",
        given=a_world,
        command=create(
            pickup=Place(52.52, 13.405, "1 Market Square", "Ms Bowl", "+49 30 1", "ring twice"),
            requirements=("cold",),
            proof_required=("photo", "pin"),
            spare_pin="0417",
            tip_cents=100,
            promised_at=NOW + minutes(40),
        ),
        then=[happens(e.DeliveryCreated), happens(e.DeliveryReady)],
        afterwards=lambda w: (
            w.locked_delivery(NEW).pickup.phone == "+49 30 1"
            and w.locked_delivery(NEW).requirements == ("cold",)
            and w.locked_delivery(NEW).details == OrderDetails(("photo", "pin"), "0417")
            and w.locked_delivery(NEW).promised_at == NOW + minutes(40)
            and w.new_posted[NEW]["requirements"] == ["cold"]
        ),
    ),
    Case(
        "a PIN may be given",
        given=a_world,
        command=create(proof_required=("pin",), pin="1234", spare_pin="0417"),
        then=[happens(e.DeliveryCreated), happens(e.DeliveryReady)],
        afterwards=lambda w: w.locked_delivery(NEW).details.pin == "1234",
    ),
    Case(
        "a trip that is too long waits for somebody to look at the address",
        given=a_world,
        command=create(dropoff=Place(48.14, 11.58)),
        then=[
            happens(e.DeliveryCreated),
            happens(e.DeliveryReady),
            happens(e.DeliveryAtRisk, risk="check_address", since=NOW),
        ],
        afterwards=lambda w: (
            w.locked_delivery(NEW).needs_check()
            and w.locked_delivery(NEW).details.warnings == ("trip_too_long",)
            and w.locked_delivery(NEW).risk_since == NOW
        ),
    ),
    Case(
        "another shop may use the same number",
        given=a_board(),
        command=create(seller_id="bakery"),
        then=[happens(e.DeliveryCreated), happens(e.DeliveryReady)],
    ),
]

DISPATCHING = [
    Case(
        "a scheduled delivery waits from its time on",
        given=a_board(status="SCHEDULED", dispatch_at=NOW),
        command=c.DispatchDelivery(SOUP),
        then=[happens(e.DeliveryReady, early=False, actor=SYSTEM)],
        afterwards=lambda w: soup(w).unassigned_since == NOW and list(w.new_waits) == [SOUP],
    ),
    Case(
        "not before",
        given=a_board(status="SCHEDULED"),
        command=c.DispatchDelivery(SOUP),
        then="delivery_not_due",
    ),
    Case("what waits already goes on waiting", a_board(), c.DispatchDelivery(SOUP, SHOP), []),
    Case("what is on its way does not wait", on_its_way(), c.DispatchDelivery(SOUP), "delivery_not_waiting"),
    Case("nothing is not found", lambda: a_world(absent=[SOUP]), c.DispatchDelivery(SOUP), "not_found"),
]

SEARCH_FAILED = c.NoteFailedSearch(SOUP, "no_driver_available")

SEARCHING = [
    Case(
        "why nobody was found is kept, without a new version of the delivery",
        given=a_board(),
        command=SEARCH_FAILED,
        then=[happens(e.SearchFailed, reason="no_driver_available")],
        afterwards=lambda w: (
            waiting_of(soup(w)).failure_reason == "no_driver_available"
            and waiting_of(soup(w)).attempt_count == 1
            and waiting_of(soup(w)).last_attempt_at == NOW
            and soup(w).version == 1
            and list(w.changed_waits) == [SOUP]
            and not w.changed_deliveries
        ),
    ),
    Case("the same again is no news", given=lambda: searched_without_success(59), command=SEARCH_FAILED, then=[]),
    Case(
        "after a minute it is",
        given=lambda: searched_without_success(60),
        command=SEARCH_FAILED,
        then=[happens(e.SearchFailed)],
    ),
    Case("nobody fails to find a driver for what is held out", held_out, SEARCH_FAILED, "delivery_not_waiting"),
    Case("or has one", on_its_way(), SEARCH_FAILED, "delivery_not_waiting"),
    Case("nothing is not found", lambda: a_world(absent=[SOUP]), SEARCH_FAILED, "not_found"),
]


def searched_without_success(seconds_ago: int) -> World:
    """Soup waits; a search found nobody so long ago."""
    soup = a_delivery(waiting=minutes(10))
    assert soup.unassigned is not None
    soup.unassigned.failure_reason = "no_driver_available"
    soup.unassigned.last_attempt_at = NOW - seconds(seconds_ago)
    return a_world(soup)


CANCEL = c.CancelDelivery(SOUP, "sold out", SHOP)

CANCELLING = [
    Case(
        "a waiting delivery is cancelled, and its wait ends",
        given=a_board(),
        command=CANCEL,
        then=[happens(e.DeliveryCancelled, reason="sold out", assignment_id=None, driver_id=None, actor=SHOP)],
        afterwards=lambda w: soup(w).unassigned_since is None and waiting_of(soup(w)).escalation_status == "CANCELLED",
    ),
    Case(
        "a scheduled one too",
        given=a_board(status="SCHEDULED"),
        command=CANCEL,
        then=[happens(e.DeliveryCancelled)],
    ),
    Case(
        "an open offer is withdrawn with it",
        given=held_out,
        command=CANCEL,
        then=[
            happens(e.OfferWithdrawn, driver_id=DAN, reason="cancelled", actor=SHOP),
            happens(e.DeliveryCancelled),
        ],
        afterwards=lambda w: w.known_driver(DAN).open_offer_id is None,
    ),
    Case(
        "an assignment ends with it, and its driver is free",
        given=on_its_way(),
        command=CANCEL,
        then=[happens(e.DeliveryCancelled, driver_id=DAN, assignment_id=id_of(f"{SOUP}: assignment 1"))],
        afterwards=lambda w: (
            w.known_driver(DAN).active_count == 0
            and soup(w).assignment() is None
            and next(iter(soup(w).assignments.values())).end_reason == "sold out"
            and next(iter(soup(w).assignments.values())).ended_by == "shop"
        ),
    ),
    Case("cancelled again is harmless", CANCELLED, CANCEL, []),
    Case("also with the version of before", CANCELLED, c.CancelDelivery(SOUP, "sold out", SHOP, version=9), []),
    Case(
        "the version that the sender saw is the right one",
        given=a_board(version=3),
        command=c.CancelDelivery(SOUP, "sold out", SHOP, version=3),
        then=[happens(e.DeliveryCancelled)],
    ),
    Case(
        "any other is refused",
        given=a_board(version=3),
        command=c.CancelDelivery(SOUP, "sold out", SHOP, version=2),
        then="version_changed",
    ),
    Case("what is delivered stays delivered", DELIVERED, CANCEL, "already_delivered"),
    Case("what is picked up is not cancelled", PICKED_UP, CANCEL, "already_picked_up"),
    Case(
        "not by the shop, however it insists",
        given=PICKED_UP,
        command=c.CancelDelivery(SOUP, "sold out", SHOP, force=True),
        then="already_picked_up",
    ),
    Case(
        "but by ops, who insist",
        given=PICKED_UP,
        command=c.CancelDelivery(SOUP, "sold out", ALICE, force=True),
        then=[happens(e.DeliveryCancelled)],
    ),
    Case("what has failed is not cancelled", a_board(status="FAILED"), CANCEL, "delivery_over"),
    Case("nor by an admin, who does not", PICKED_UP, c.CancelDelivery(SOUP, "sold out", ADA), "already_picked_up"),
    Case(
        "but by an admin who insists",
        given=PICKED_UP,
        command=c.CancelDelivery(SOUP, "accident", ADA, force=True),
        then=[happens(e.DeliveryCancelled, actor=ADA)],
        afterwards=lambda w: w.known_driver(DAN).active_count == 0,
    ),
    Case("nothing is not found", lambda: a_world(absent=[SOUP]), CANCEL, "not_found"),
]

ESCALATE = c.Escalate(SOUP, TICKET)


def after(count: float, *, level: int = 0, policy: Policy = DEFAULT_POLICY, **of_soup: Any) -> Callable[[], World]:
    """Soup has waited so many minutes and is at that level."""

    def given() -> World:
        soup = a_delivery(waiting=minutes(count), **of_soup)
        assert soup.unassigned is not None
        soup.unassigned.escalation_level = level
        return a_world(soup, policy=policy)

    return given


def level(number: int, **fields: Any) -> Any:
    return happens(e.DeliveryEscalated, level=number, actor=SYSTEM, **fields)


TICKET_OPENED = happens(e.TicketCreated, delivery_id=SOUP)
CANCELLING_LADDER = a_policy(
    escalation=(
        EscalationLevel(1, 60, ()),
        EscalationLevel(2, 120, ("ticket", "cancel")),
        EscalationLevel(3, 180, ("notify_critical",)),
    )
)

ESCALATING = [
    Case("nothing is due at 4:59", after(4 + 59 / 60), ESCALATE, "escalation_not_due"),
    Case(
        "at 5:00 a ticket is opened and ops get a notice",
        given=after(5),
        command=ESCALATE,
        then=[level(1, actions=("ticket", "notify_ops"), minutes_since_creation=5), TICKET_OPENED],
        afterwards=lambda w: (
            waiting_of(soup(w)).escalation_level == 1
            and waiting_of(soup(w)).support_ticket_id == TICKET
            and waiting_of(soup(w)).notification_sent_at == NOW
            and soup(w).widened_at is None
            and w.new_tickets[0].id == TICKET
            and w.new_tickets[0].priority == "high"
            and w.new_tickets[0].title == "Order A-soup unassigned for 5+ minutes"
        ),
    ),
    Case("each level comes once", after(14, level=1), ESCALATE, "escalation_not_due"),
    Case(
        "at 15:00 the search widens",
        given=after(15, level=1),
        command=ESCALATE,
        then=[level(2, actions=("widen_search",))],
        afterwards=lambda w: soup(w).widened_at == NOW and waiting_of(soup(w)).notification_sent_at is None,
    ),
    Case(
        "at 30:00 somebody is called",
        given=after(30, level=2),
        command=ESCALATE,
        then=[level(3, actions=("notify_critical",))],
        afterwards=lambda w: waiting_of(soup(w)).notification_sent_at == NOW and not w.new_tickets,
    ),
    Case("and that is the end of the ladder", after(300, level=3), ESCALATE, "escalation_not_due"),
    Case(
        "missed levels come in order",
        given=after(40),
        command=ESCALATE,
        then=[level(1), TICKET_OPENED, level(2), level(3)],
        afterwards=lambda w: waiting_of(soup(w)).escalation_level == 3,
    ),
    Case(
        "a level is due by the policy of now",
        given=after(2, policy=a_policy(escalation=(EscalationLevel(1, 60, ("notify_ops",)),))),
        command=ESCALATE,
        then=[level(1)],
    ),
    Case(
        "a ladder may end in cancelling, and nothing comes after that",
        given=after(10, policy=CANCELLING_LADDER),
        command=ESCALATE,
        then=[
            level(1),
            level(2),
            happens(e.TicketCreated),
            happens(e.DeliveryCancelled, reason="nobody_found", actor=SYSTEM),
        ],
        afterwards=lambda w: soup(w).status == "CANCELLED" and w.new_tickets[0].priority == "critical",
    ),
    Case(
        "a second ticket is not opened",
        given=lambda: with_ticket(),
        command=ESCALATE,
        then=[level(1), level(2), happens(e.DeliveryCancelled)],
        afterwards=lambda w: not w.new_tickets,
    ),
    Case("what is on its way does not escalate", on_its_way(), ESCALATE, "delivery_not_waiting"),
    Case("nor what is scheduled", a_board(status="SCHEDULED"), ESCALATE, "delivery_not_waiting"),
    Case("nothing is not found", lambda: a_world(absent=[SOUP]), ESCALATE, "not_found"),
]


def with_ticket() -> World:
    world = after(10, policy=CANCELLING_LADDER)()
    assert soup(world).unassigned is not None
    soup(world).unassigned.support_ticket_id = id_of("earlier ticket")  # type: ignore[union-attr]
    return world


def acknowledged(note: str | None = None) -> Callable[[], World]:
    """Alice has already acknowledged soup."""

    def given() -> World:
        world = a_board()()
        apply(world, e.EscalationAcknowledged(at=NOW - minutes(1), actor=ALICE, delivery_id=SOUP, note=note))
        return world

    return given


ACKNOWLEDGING = [
    Case(
        "somebody in ops acknowledges it, at any level",
        given=a_board(),
        command=c.Acknowledge(SOUP, ALICE, "calling the store"),
        then=[happens(e.EscalationAcknowledged, actor=ALICE, note="calling the store")],
        afterwards=lambda w: (
            waiting_of(soup(w)).acknowledged_by == "alice"
            and waiting_of(soup(w)).acknowledged_at == NOW
            and waiting_of(soup(w)).acknowledgement_note == "calling the store"
        ),
    ),
    Case("said again it is harmless", acknowledged("on it"), c.Acknowledge(SOUP, ALICE, "on it"), []),
    Case("without a note too: the note stays", acknowledged("on it"), c.Acknowledge(SOUP, ALICE), []),
    Case(
        "another note is news",
        given=acknowledged("on it"),
        command=c.Acknowledge(SOUP, ALICE, "store is closed"),
        then=[happens(e.EscalationAcknowledged)],
    ),
    Case(
        "somebody else may take over",
        given=acknowledged(),
        command=c.Acknowledge(SOUP, ADA),
        then=[happens(e.EscalationAcknowledged)],
        afterwards=lambda w: waiting_of(soup(w)).acknowledged_by == "ada",
    ),
    Case("again with the version of before: harmless", acknowledged(), c.Acknowledge(SOUP, ALICE, version=9), []),
    Case(
        "the version that somebody saw is the right one",
        given=a_board(version=3),
        command=c.Acknowledge(SOUP, ALICE, version=3),
        then=[happens(e.EscalationAcknowledged)],
    ),
    Case(
        "what is held does not wait for anybody",
        lambda: a_world(a_delivery(prep_seconds=1200, held_until=NOW + minutes(12), unassigned_since=None)),
        c.Acknowledge(SOUP, ALICE),
        "delivery_not_waiting",
    ),
    Case("any other is refused", a_board(version=3), c.Acknowledge(SOUP, ALICE, version=2), "version_changed"),
    Case("what has a driver needs nobody else", on_its_way(), c.Acknowledge(SOUP, ALICE), "delivery_not_waiting"),
    Case("nothing is not found", lambda: a_world(absent=[SOUP]), c.Acknowledge(SOUP, ALICE), "not_found"),
]


@pytest.mark.parametrize(
    "case",
    [*CREATING, *DISPATCHING, *SEARCHING, *CANCELLING, *ESCALATING, *ACKNOWLEDGING],
    ids=name_of,
)
def test_deliveries(case: Case) -> None:
    check(case)


def test_the_same_order_twice_in_one_batch_is_one_delivery() -> None:
    world = a_world()
    first = decide(create(), world)
    assert isinstance(first, Decided)
    for event in first.events:
        apply(world, event)
    again = decide(create(delivery_id=id_of("another id")), world)
    assert again == Decided((), NEW, repeated=True)


def test_cancelling_an_assigned_delivery_notifies_the_driver() -> None:
    for given in (held_out, on_its_way()):
        world = given()
        del world.drivers[DAN]
        with pytest.raises(NeedsRows):
            decide(CANCEL, world)
