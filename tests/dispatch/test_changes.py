"""The rules of changing an order: what may change when, what becomes of an offer, and of what is tried again."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.deliveries import restorable_until
from server.dispatch.model import ERASED, SYSTEM, Delivery, OrderDetails, Place, Position, Risk
from server.dispatch.travel import named_by
from server.dispatch.world import World
from server.dispatch.zones import Zone, Zones
from tests.builders import (
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
from tests.dispatch.cases import Case, check, happens, name_of, offer_of, payload_of

NEW_OFFER = id_of("new offer")
ELSEWHERE = Place(52.54, 13.43, "9 Garden Street")
FAR = Place(48.14, 11.58, "Munich")


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


def change(version: int = 1, **changes: Any) -> c.ChangeDelivery:
    return c.ChangeDelivery(SOUP, version, NEW_OFFER, SHOP, **changes)


def changed_to(name: str, value: Any) -> c.ChangeDelivery:
    return change(**{name: value})


def waiting(**of_soup: Any) -> Callable[[], World]:
    return lambda: a_world(a_delivery(**of_soup))


def held_out(*, dan: dict[str, Any] | None = None, **of_soup: Any) -> Callable[[], World]:
    def given() -> World:
        soup, driver = a_delivery(**of_soup), a_driver(**(dan or {}))
        an_open_offer(soup, driver)
        return a_world(soup, driver)

    return given


def with_dan(*, dan: dict[str, Any] | None = None, status: Any = None, **of_job: Any) -> Callable[[], World]:
    def given() -> World:
        soup, driver = a_delivery(), a_driver(**(dan or {}))
        an_assignment(soup, driver, **of_job)
        if status is not None:
            soup.status, soup.unassigned_since, soup.over_at = status, None, NOW - minutes(1)
            assert soup.unassigned is not None
            soup.unassigned.escalation_status = "CANCELLED" if status == "CANCELLED" else "ASSIGNED"
        return a_world(soup, driver)

    return given


def cancelled(seconds_ago: int = 600, **of_soup: Any) -> Callable[[], World]:
    over_at = NOW - seconds(seconds_ago)
    return waiting(**{"status": "CANCELLED", "unassigned": None, "over_at": over_at} | of_soup)


def escalated() -> World:
    world = waiting()()
    wait = soup(world).unassigned
    assert wait is not None
    wait.escalation_level, wait.support_ticket_id = 2, id_of("ticket")
    soup(world).widened_at = NOW
    return world


WITHDRAWN = happens(e.OfferWithdrawn, driver_id=DAN, reason="changed")
CHANGED = happens(e.DeliveryChanged, delivery_id=SOUP, actor=SHOP)
ASKED_AGAIN = happens(e.OfferCreated, driver_id=DAN, offer_id=NEW_OFFER, reason="changed", actor=SYSTEM)

POSTPONED = happens(e.DeliveryPostponed, until=NOW + minutes(60), actor=SHOP)
LATER_TODAY = c.ChangeDelivery(SOUP, 1, NEW_OFFER, SHOP, dispatch_at=NOW + minutes(60))
SEVEN_KM_AWAY = Place(PICKUP.lat + 0.063, PICKUP.lon)


def helped_out() -> World:
    world = held_out(dan={"zone": "west"})()
    world.zones = Zones([Zone("default", "Default", None, ("west",))])
    return world


def is_postponed(world: World) -> bool:
    """Nobody looks for a driver, and nothing escalates, until it is dispatched with a new clock."""
    order = soup(world)
    wait = order.unassigned
    assert wait is not None
    assert (order.status, order.unassigned_since, order.held_until) == ("SCHEDULED", None, None)
    assert wait.escalation_status == "CANCELLED"
    assert order.current_offer_id is None
    world.now = order.dispatch_at
    dispatched = decide(c.DispatchDelivery(SOUP), world)
    assert isinstance(dispatched, Decided)
    for event in dispatched.events:
        apply(world, event)
    assert order.unassigned is not None
    assert (order.unassigned.escalation_status, order.unassigned.escalation_level) == ("PENDING", 0)
    return (order.status, order.unassigned_since) == ("READY", order.dispatch_at)


def promised_by_the_first_offer() -> World:
    world = held_out()()
    soup(world).promised_at = named_by(offer_of(soup(world)))[1]
    return world


POSTPONING = [
    Case("an order that waits can wait until later", waiting(), LATER_TODAY, [CHANGED, POSTPONED], is_postponed),
    Case("also one that has escalated", escalated, LATER_TODAY, [CHANGED, POSTPONED], is_postponed),
    Case("also one that is held", waiting(held_until=NOW + minutes(5), unassigned_since=None), LATER_TODAY,
         [CHANGED, POSTPONED], is_postponed),
    Case("nobody is asked until then", held_out(), LATER_TODAY, [WITHDRAWN, CHANGED, POSTPONED], is_postponed),
    Case("an offer that is right still stays", held_out(), change(dispatch_at=NOW + minutes(3)), [CHANGED],
         lambda w: soup(w).status == "READY" and soup(w).current_offer_id is not None),
    Case("a driver who has it goes there later", with_dan(), LATER_TODAY, [CHANGED],
         lambda w: soup(w).status == "ASSIGNED"),
    Case("an earlier time is no later one", waiting(), change(dispatch_at=NOW - minutes(9)), [CHANGED]),
    Case("nor any other change of what was dispatched early", waiting(dispatch_at=NOW + minutes(9)), change(notes="x"),
         [CHANGED], lambda w: soup(w).status == "READY"),
    Case("the estimate of an offer is no promise any more", promised_by_the_first_offer, LATER_TODAY,
         [WITHDRAWN, CHANGED, POSTPONED], lambda w: soup(w).promised_at is None),
    Case("what the store promised is", held_out(promised_at=NOW + minutes(90)), LATER_TODAY,
         [WITHDRAWN, CHANGED, POSTPONED], lambda w: soup(w).promised_at == NOW + minutes(90)),
]  # fmt: skip

CHANGING_ORDERS = [
    Case(
        "what is said changes, null clears, and all else stays",
        given=waiting(notes="no onions", price_cents=900),
        command=change(dropoff=ELSEWHERE, notes=None, tip_cents=100, store_name="Blue Bowl"),
        then=[happens(e.DeliveryChanged, driver_id=None, assignment_id=None)],
        afterwards=lambda w: (
            soup(w).dropoff == ELSEWHERE
            and soup(w).notes is None
            and (soup(w).tip_cents, soup(w).price_cents, soup(w).store_name) == (100, 900, "Blue Bowl")
            and soup(w).version == 2
            and list(w.amended_deliveries) == [SOUP]
        ),
    ),
    Case("nothing new changes nothing", waiting(notes="x"), change(notes="x", dropoff=DROPOFF), []),
    Case("by an old version it is refused", waiting(version=3), change(version=2, notes="x"), "version_changed"),
    Case(
        "a driver who has it hears it",
        given=with_dan(),
        command=change(notes="third floor"),
        then=[happens(e.DeliveryChanged, driver_id=DAN, assignment_id=id_of(f"{SOUP}: assignment 1"))],
    ),
    Case(
        "goods on the way have no other pickup",
        with_dan(picked_up_at=NOW),
        change(pickup=ELSEWHERE),
        "already_picked_up",
    ),
    Case("but another door", with_dan(picked_up_at=NOW), change(dropoff=ELSEWHERE), [CHANGED]),
    *(
        Case(
            f"what is {status} does not change",
            waiting(status=status, unassigned=None),
            change(notes="x"),
            "delivery_over",
        )
        for status in ("DELIVERED", "CANCELLED", "FAILED", "RETURNED")
    ),
    Case(
        "the policy's new currency is no obstacle to other changes",
        lambda: a_world(a_delivery(), policy=a_policy(currency="EUR")),
        change(notes="ring twice"),
        [CHANGED],
    ),
    Case("in another currency the pay must be said", waiting(), change(currency="EUR"), "pay_required"),
    Case("then it is", waiting(), change(currency="EUR", driver_pay_cents=400), [CHANGED]),
    *(
        Case(
            f"an offer with another {name} is replaced",
            held_out(),
            changed_to(name, value),
            [WITHDRAWN, CHANGED, ASKED_AGAIN],
        )
        for name, value in (
            ("pickup", ELSEWHERE),
            ("dropoff", ELSEWHERE),
            ("driver_pay_cents", 900),
            ("tip_cents", 50),
            ("prep_seconds", 901),
        )
    ),
    *(
        Case(f"an offer does not mind another {name}", held_out(), changed_to(name, value), [CHANGED])
        for name, value in (
            ("notes", "third floor"),
            ("price_cents", 900),
            ("prep_seconds", 900),
            ("dropoff", Place(DROPOFF.lat, DROPOFF.lon, "7b Garden Street")),
            ("promised_at", NOW + minutes(30)),
        )
    ),
    Case(
        "the driver sees what is true now",
        given=held_out(dan={"tags": ("cold",)}),
        command=change(requirements=("cold",), tip_cents=50),
        then=[WITHDRAWN, CHANGED, ASKED_AGAIN],
        afterwards=lambda w: (
            payload_of(soup(w)).requirements == ("cold",)
            and w.known_driver(DAN).open_offer_id == NEW_OFFER
            and offer_of(soup(w)).attempt == 2
        ),
    ),
    Case(
        "who is not the right one any more is not asked again",
        held_out(),
        change(requirements=("cold",)),
        [WITHDRAWN, CHANGED],
    ),
    Case("nor who is out of reach of another pickup", held_out(), change(pickup=SEVEN_KM_AWAY), [WITHDRAWN, CHANGED]),
    Case(
        "unless the search is that wide",
        held_out(widened_at=NOW - minutes(1)),
        change(pickup=SEVEN_KM_AWAY),
        [WITHDRAWN, CHANGED, ASKED_AGAIN],
    ),
    Case(
        "who was chosen although they are farther away is asked again",
        held_out(dan={"position": Position(SEVEN_KM_AWAY.lat, SEVEN_KM_AWAY.lon, NOW)}),
        change(tip_cents=50),
        [WITHDRAWN, CHANGED, ASKED_AGAIN],
    ),
    Case(
        "nor who works in another zone now", held_out(dan={"zone": "west"}), change(tip_cents=50), [WITHDRAWN, CHANGED]
    ),
    Case(
        "unless that zone helps",
        given=helped_out,
        command=change(tip_cents=50),
        then=[WITHDRAWN, CHANGED, ASKED_AGAIN],
    ),
    Case("nor who is not about", held_out(dan={"position": None}), change(tip_cents=50), [WITHDRAWN, CHANGED]),
    Case(
        "a trip that becomes too long is not offered until somebody has looked",
        given=held_out(),
        command=change(dropoff=FAR),
        then=[WITHDRAWN, CHANGED, happens(e.DeliveryAtRisk, risk="check_address")],
        afterwards=lambda w: soup(w).needs_check() and soup(w).risk_since == NOW,
    ),
    Case(
        "and is once the address is right",
        given=waiting(
            dropoff=FAR,
            details=OrderDetails(warnings=("trip_too_long",)),
            risks=(Risk("check_address", NOW),),
            risk_since=NOW,
        ),
        command=change(dropoff=ELSEWHERE),
        then=[CHANGED, happens(e.DeliveryRecovered, risk="check_address")],
        afterwards=lambda w: not soup(w).needs_check() and soup(w).risks == () and soup(w).risk_since is None,
    ),
    Case(
        "far is far still",
        given=waiting(
            dropoff=FAR,
            details=OrderDetails(warnings=("trip_too_long",)),
            risks=(Risk("check_address", NOW),),
            risk_since=NOW,
        ),
        command=change(notes="x"),
        then=[CHANGED],
    ),
    Case(
        "another pickup is another store",
        given=waiting(details=OrderDetails(store=PICKUP)),
        command=change(pickup=ELSEWHERE),
        then=[CHANGED],
        afterwards=lambda w: soup(w).details.store is None,
    ),
    Case(
        "who is there for the goods that another driver has says nothing of the store",
        given=waiting(pickup=ELSEWHERE, details=OrderDetails(store=PICKUP)),
        command=change(pickup=Place(ELSEWHERE.lat, ELSEWHERE.lon, notes="red car")),
        then=[CHANGED],
        afterwards=lambda w: soup(w).details.store == PICKUP and soup(w).pickup.notes == "red car",
    ),
    Case(
        "who opens the door of an address that was checked does not undo that",
        given=held_out(dropoff=FAR, details=OrderDetails(warnings=("trip_too_long",), checked=True)),
        command=change(dropoff=Place(FAR.lat, FAR.lon, FAR.address, phone="+49 89 1")),
        then=[CHANGED],
        afterwards=lambda w: not soup(w).needs_check() and soup(w).current_offer_id is not None,
    ),
    Case(
        "another address far away has to be checked again",
        given=held_out(dropoff=FAR, details=OrderDetails(warnings=("trip_too_long",), checked=True)),
        command=change(dropoff=Place(FAR.lat + 1, FAR.lon)),
        then=[WITHDRAWN, CHANGED, happens(e.DeliveryAtRisk, risk="check_address")],
    ),
    Case(
        "a PIN that is asked for is made up",
        given=waiting(),
        command=change(proof_required=("pin",), spare_pin="0417"),
        then=[CHANGED],
        afterwards=lambda w: soup(w).details == OrderDetails(("pin",), "0417"),
    ),
    Case(
        "the time the goods are ready follows the preparation again",
        given=waiting(ready_at=NOW + minutes(99)),
        command=change(prep_seconds=300),
        then=[CHANGED],
        afterwards=lambda w: soup(w).ready_at is None and soup(w).is_ready_at() == NOW + minutes(4),
    ),
    Case("nothing", lambda: a_world(absent=[SOUP]), change(notes="x"), "not_found"),
]

READY = c.MarkReady(SOUP, NEW_OFFER, SHOP)
LATER = c.DelayDelivery(SOUP, 20, NEW_OFFER, SHOP, "no rice")
A_LITTLE_LATER = c.DelayDelivery(SOUP, 4, NEW_OFFER, SHOP)
SEEN_BEFORE = c.DelayDelivery(SOUP, 20, NEW_OFFER, SHOP, version=1)


def little_by_little() -> World:
    world = held_out()()
    do(world, A_LITTLE_LATER)
    return world


PREPARING = [
    Case(
        "the goods are ready sooner",
        given=waiting(),
        command=READY,
        then=[happens(e.DeliveryChanged, changes={"ready_at": (NOW + minutes(9), NOW)})],
        afterwards=lambda w: soup(w).is_ready_at() == NOW,
    ),
    Case("what is ready is ready", waiting(prep_seconds=0), READY, []),
    Case(
        "or later than was said",
        waiting(),
        LATER,
        [happens(e.DeliveryChanged, changes={"ready_at": (NOW + minutes(9), NOW + minutes(29))}, reason="no rice")],
    ),
    Case(
        "or than now",
        waiting(prep_seconds=0),
        LATER,
        [happens(e.DeliveryChanged, changes={"ready_at": (NOW - minutes(1), NOW + minutes(20))})],
    ),
    Case("an offer tells it", held_out(), LATER, [WITHDRAWN, CHANGED, ASKED_AGAIN]),
    Case("but a few minutes it does not", held_out(), A_LITTLE_LATER, [CHANGED]),
    Case("unless there were a few before", little_by_little, A_LITTLE_LATER, [WITHDRAWN, CHANGED, ASKED_AGAIN]),
    Case("a driver who has it hears it", with_dan(), LATER, [happens(e.DeliveryChanged, driver_id=DAN)]),
    Case("not once it is picked up", with_dan(picked_up_at=NOW), READY, "already_picked_up"),
    Case("nor later", with_dan(picked_up_at=NOW), LATER, "already_picked_up"),
    Case("not of an ended delivery", cancelled(), READY, "delivery_over"),
    Case("nor later than over", cancelled(), LATER, "delivery_over"),
    Case("of two reports of one delay the second is refused", waiting(version=2), SEEN_BEFORE, "version_changed"),
    Case("by who knows it as it is it is delayed", waiting(), SEEN_BEFORE, [CHANGED]),
    Case("nothing is ready", lambda: a_world(absent=[SOUP]), READY, "not_found"),
    Case("nothing is late", lambda: a_world(absent=[SOUP]), LATER, "not_found"),
]

RESTORE = c.RestoreDelivery(SOUP, ALICE)
ENDED: dict[str, Any] = {"ended_at": NOW - minutes(1), "ended_by": "alice"}

RESTORING = [
    Case(
        "what was cancelled by mistake waits again",
        given=cancelled(),
        command=RESTORE,
        then=[happens(e.DeliveryRestored, actor=ALICE)],
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).unassigned_since == NOW
            and soup(w).over_at is None
            and list(w.new_waits) == [SOUP]
        ),
    ),
    Case("for ten minutes", cancelled(601), RESTORE, "too_late_to_restore"),
    Case("not what nobody knows when it was", cancelled(over_at=None), RESTORE, "too_late_to_restore"),
    Case("not without the people it was for", cancelled(fingerprint=ERASED), RESTORE, "delivery_erased"),
    Case("only what is cancelled", waiting(), RESTORE, "not_cancelled"),
    Case("nothing", lambda: a_world(absent=[SOUP]), RESTORE, "not_found"),
    Case(
        "an address that needs a look still does",
        given=cancelled(details=OrderDetails(warnings=("trip_too_long",))),
        command=RESTORE,
        then=[happens(e.DeliveryRestored), happens(e.DeliveryAtRisk, risk="check_address")],
        afterwards=lambda w: soup(w).risk_since == NOW and soup(w).needs_check(),
    ),
    Case(
        "what is for later is again for later",
        given=cancelled(dispatch_at=NOW + minutes(90), promised_at=NOW + minutes(120)),
        command=RESTORE,
        then=[happens(e.DeliveryRestored), happens(e.DeliveryPostponed, until=NOW + minutes(90), actor=ALICE)],
        afterwards=lambda w: (
            soup(w).status == "SCHEDULED"
            and soup(w).unassigned_since is None
            and soup(w).over_at is None
            and soup(w).promised_at == NOW + minutes(120)
        ),
    ),
]


def cancelled_under_way(**of_job: Any) -> Callable[[], World]:
    """Dan had soup when it was cancelled."""

    def given() -> World:
        soup, dan = a_delivery(status="CANCELLED", over_at=NOW - minutes(1)), a_driver()
        assert soup.unassigned is not None
        soup.unassigned.escalation_status = "CANCELLED"
        an_assignment(soup, dan, status="CANCELLED", **ENDED | of_job)
        return a_world(soup, dan)

    return given


def cancelled_after_an_early_offer() -> World:
    world = promised_by_the_first_offer()
    do(world, c.CancelDelivery(SOUP, "not so early", ALICE))
    soup(world).dispatch_at = NOW + minutes(90)
    return world


RESTORING += [
    Case("also what a driver had", cancelled_under_way(), RESTORE, [happens(e.DeliveryRestored)]),
    Case("not what they had picked up", cancelled_under_way(picked_up_at=NOW), RESTORE, "already_picked_up"),
    Case(
        "what was offered early is for later without the estimate of that offer",
        given=cancelled_after_an_early_offer,
        command=RESTORE,
        then=[happens(e.DeliveryRestored), happens(e.DeliveryChanged), happens(e.DeliveryPostponed)],
        afterwards=lambda w: soup(w).status == "SCHEDULED" and soup(w).promised_at is None,
    ),
]


@pytest.mark.parametrize(
    ("given", "until"),
    [
        (cancelled(60), NOW + minutes(9)),
        (cancelled(601), NOW - seconds(1)),
        (cancelled_under_way(), NOW + minutes(9)),
        (cancelled_under_way(picked_up_at=NOW), None),
        (cancelled(over_at=None), None),
        (cancelled(fingerprint=ERASED), None),
        (waiting(), None),
    ],
)
def test_until_when_a_delivery_can_be_restored(given: Callable[[], World], until: datetime | None) -> None:
    assert restorable_until(soup(given())) == until


RETRY = c.RetryDelivery(SOUP, "they are home now", ALICE)


def came_to_nothing(
    status: Any, *, store: Place | None = None, fingerprint: str = "soup", **of_dan: Any
) -> Callable[[], World]:
    """Dan could not deliver soup."""

    def given() -> World:
        soup = a_delivery(status=status, over_at=NOW - minutes(1), fingerprint=fingerprint)
        dan = a_driver(**of_dan)
        if store is not None:
            soup.details = OrderDetails(store=store)
        assert soup.unassigned is not None
        soup.unassigned.escalation_status = "ASSIGNED"
        an_assignment(soup, dan, status=status, picked_up_at=NOW - minutes(9), failed_at=NOW, **ENDED)
        return a_world(soup, dan)

    return given


RETRYING = [
    Case(
        "what failed is met where its driver is",
        given=came_to_nothing("FAILED", phone="+49 30 1", position=Position(52.6, 13.5, NOW)),
        command=RETRY,
        then=[happens(e.DeliveryRetried, pickup=Place(52.6, 13.5, None, "Dan", "+49 30 1"), store=PICKUP)],
        afterwards=lambda w: (
            soup(w).status == "READY"
            and soup(w).pickup.name == "Dan"
            and soup(w).details.store == PICKUP
            and soup(w).over_at is None
            and list(w.amended_deliveries) == [SOUP]
        ),
    ),
    Case(
        "or where they picked it up, if they never had a position",
        came_to_nothing("FAILED", position=None, store=ELSEWHERE),
        RETRY,
        [happens(e.DeliveryRetried, pickup=Place(PICKUP.lat, PICKUP.lon, None, "Dan"), store=ELSEWHERE)],
    ),
    Case(
        "what came back is at the store",
        came_to_nothing("RETURNED"),
        RETRY,
        [happens(e.DeliveryRetried, pickup=PICKUP, store=None)],
    ),
    Case(
        "also if it was met elsewhere before",
        given=came_to_nothing("RETURNED", store=ELSEWHERE),
        command=RETRY,
        then=[happens(e.DeliveryRetried, pickup=ELSEWHERE, store=None)],
        afterwards=lambda w: soup(w).pickup == ELSEWHERE and soup(w).details.store is None,
    ),
    Case("not to nobody", came_to_nothing("FAILED", fingerprint=ERASED), RETRY, "delivery_erased"),
    Case("only what came to nothing", waiting(), RETRY, "not_failed"),
    Case("nothing", lambda: a_world(absent=[SOUP]), RETRY, "not_found"),
]


@pytest.mark.parametrize("case", [*CHANGING_ORDERS, *POSTPONING, *PREPARING, *RESTORING, *RETRYING], ids=name_of)
def test_changes(case: Case) -> None:
    check(case)


def event_data(world: World, command: c.Command) -> list[dict[str, Any]]:
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    return [event.data() for event in decided.events]


def test_events_have_old_and_new_values_of_all_but_the_pin() -> None:
    new = Place(DROPOFF.lat, DROPOFF.lon, "7b Garden Street", "Mr Gray", "+49 30 2", "third floor")
    command = change(
        dropoff=new,
        notes="no onions",
        tip_cents=50,
        promised_at=NOW,
        requirements=("cold",),
        proof_required=("pin",),
        pin="0417",
    )
    (data,) = event_data(waiting()(), command)
    assert data["fields"] == ["dropoff", "notes", "requirements", "promisedAt", "tipCents", "proofRequired", "pin"]
    assert data["changes"] == {
        "dropoff": {
            "old": {"lat": DROPOFF.lat, "lon": DROPOFF.lon, "address": "7 Garden Street"},
            "new": {
                "lat": DROPOFF.lat,
                "lon": DROPOFF.lon,
                "address": "7b Garden Street",
                "name": "Mr Gray",
                "phone": "+49 30 2",
                "notes": "third floor",
            },
        },
        "notes": {"old": None, "new": "no onions"},
        "requirements": {"old": [], "new": ["cold"]},
        "promisedAt": {"old": None, "new": "2026-02-01T18:00:00.000Z"},
        "tipCents": {"old": None, "new": 50},
        "proofRequired": {"old": [], "new": ["pin"]},
    }


def test_unchanged_details_are_not_in_the_event() -> None:
    world = waiting(details=OrderDetails(("pin",), "0417"))()
    (data,) = event_data(world, change(pin="1234"))
    assert data == {"fields": ["pin"], "changes": {}}


def test_what_is_postponed_says_until_when() -> None:
    assert event_data(waiting()(), LATER_TODAY)[-1] == {"until": "2026-02-01T19:00:00.000Z"}


def test_what_nobody_promised_is_no_change_of_what_is_postponed() -> None:
    assert event_data(waiting()(), LATER_TODAY)[0]["fields"] == ["dispatchAt"]


def test_a_driver_agrees_to_what_the_offer_says_and_not_to_a_delay_since() -> None:
    world = held_out(estimated_pickup_at=NOW + minutes(9), estimated_delivery_at=NOW + minutes(30))()
    named, _ = named_by(offer_of(soup(world)))
    do(world, A_LITTLE_LATER)
    do(world, c.AcceptOffer(offer_of(soup(world)).id, DAN, id_of("job"), SHOP))
    job = soup(world).active_assignment()
    assert job is not None
    assert job.pickup_due_at == named
    assert soup(world).estimated_pickup_at == NOW + minutes(13)


def test_what_changes_and_returns_tells() -> None:
    assert event_data(waiting()(), LATER)[0]["reason"] == "no rice"
    assert event_data(came_to_nothing("RETURNED")(), RETRY) == [
        {
            "reason": "they are home now",
            "pickup": {"lat": PICKUP.lat, "lon": PICKUP.lon, "address": "1 Market Square"},
        }
    ]
    (created, _, risk) = event_data(a_world(), create_far())
    assert created["warnings"] == ["trip_too_long"]
    assert risk == {"risk": "check_address", "since": "2026-02-01T18:00:00.000Z"}


def create_far() -> c.CreateDelivery:
    from tests.dispatch.test_deliveries import create

    return create(dropoff=FAR)


def do(world: World, command: c.Command) -> None:
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    for event in decided.events:
        apply(world, event)


@pytest.mark.parametrize(("agreed", "after_ready"), [(None, 19), (10, 0)])
def test_what_was_expected_moves_with_the_goods_and_back_to_what_was_agreed(
    agreed: int | None, after_ready: int
) -> None:
    soup, dan = a_delivery(), a_driver()
    soup.estimated_pickup_at, soup.estimated_delivery_at = NOW + minutes(10), NOW + minutes(25)
    an_assignment(soup, dan, pickup_due_at=NOW + minutes(agreed) if agreed is not None else None)
    world = a_world(soup, dan)
    for command, later in ((LATER, 19), (READY, after_ready)):
        do(world, command)
        assert soup.estimated_pickup_at == NOW + minutes(10 + later)
        assert soup.estimated_delivery_at == NOW + minutes(25 + later)


def test_an_order_to_check_says_so_until_it_is_checked() -> None:
    """Its reason is that of the check, not that of a search."""
    world = a_world()
    do(world, create_far())
    (order,) = world.new_deliveries.values()

    def why() -> str:
        assert order.unassigned is not None
        return order.unassigned.failure_reason

    assert why() == "trip_too_long"
    do(world, c.ChangeDelivery(order.id, order.version, NEW_OFFER, SHOP, dropoff=DROPOFF))
    assert why() == "searching"
    do(world, c.ChangeDelivery(order.id, order.version, NEW_OFFER, SHOP, dropoff=FAR))
    assert why() == "trip_too_long"
    do(world, c.CancelDelivery(order.id, "wrong one", ALICE))
    do(world, c.RestoreDelivery(order.id, ALICE))
    assert why() == "trip_too_long"


def test_an_address_to_check_of_an_order_with_a_driver_says_nothing_of_a_search() -> None:
    world = with_dan()()
    order = soup(world)
    for place, risks in ((FAR, ["check_address"]), (DROPOFF, [])):
        do(world, change(version=order.version, dropoff=place))
        assert [risk.code for risk in order.risks] == risks
        assert order.unassigned is not None
        assert order.unassigned.failure_reason == "searching"
