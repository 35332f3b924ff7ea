"""The rules of orders at risk: raised once, cleared once, up the ladder in between."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import Actor, Delivery, OrderDetails, Place, Point, Position, Risk, Still
from server.dispatch.policy import DEFAULT_POLICY, EscalationLevel, Policy, WatchPolicy
from server.dispatch.risks import WORST_FIRST, worst
from server.dispatch.world import World
from tests.builders import (
    ALICE,
    DAN,
    DROPOFF,
    NOW,
    PICKUP,
    SOUP,
    a_delivery,
    a_driver,
    a_driver_gone,
    a_policy,
    a_world,
    an_assignment,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.cases import Case, Happens, check, happens, name_of
from tests.dispatch.test_deliveries import NEW, create

TICKET = id_of("ticket")


def soup(world: World) -> Delivery:
    return world.locked_delivery(SOUP)


def under_way(
    *,
    risks: tuple[str, ...] = (),
    since: datetime = NOW,
    gone: Any = None,
    at: Position | None = None,
    still: timedelta | None = None,
    stops: tuple[Point, ...] = (),
    policy: Policy = DEFAULT_POLICY,
    order: dict[str, Any] | None = None,
    **of_job: Any,
) -> Callable[[], World]:
    """Dan has soup, which is at these risks since then; `gone` for so long, if he is; `at` where he is.

    `still` is for how long, `stops` are those of all that he has.
    """

    def given() -> World:
        at_risk: tuple[Any, ...] = tuple(Risk(code, since) for code in risks)  # type: ignore[arg-type]
        row = {"risks": at_risk, "risk_since": since if risks else None} | (order or {})
        soup, dan = a_delivery(**row), a_driver_gone(since=gone) if gone is not None else a_driver()
        dan.position = at or dan.position
        assignment = an_assignment(soup, dan, **{"created_at": NOW - minutes(30)} | of_job)
        if assignment.failed_at is not None:
            soup.status = "RETURNING"
        assert dan.position is not None
        here = Still(dan.position.lat, dan.position.lon, NOW - still, stops) if still is not None else None
        return a_world(soup, dan, policy=policy, still={DAN: here} if here is not None else None)

    return given


def raise_(code: Any) -> c.RaiseRisk:
    return c.RaiseRisk(SOUP, code)


def clear(code: Any) -> c.ClearRisk:
    return c.ClearRisk(SOUP, code)


CANCELLED = happens(e.DeliveryCancelled)
GOODS: dict[str, Any] = {"picked_up_at": NOW - minutes(1)}
LONG_AGO: dict[str, Any] = {"picked_up_at": NOW - minutes(8)}

BETWEEN = Position((PICKUP.lat + DROPOFF.lat) / 2, (PICKUP.lon + DROPOFF.lon) / 2, NOW)
AT_THE_DOOR = Position(DROPOFF.lat, DROPOFF.lon, NOW)
ANOTHER_STORE = Place(52.6, 13.5)
AT_ANOTHER_STORE = Position(52.6, 13.5, NOW)


def nowhere() -> World:
    world = under_way(at=BETWEEN, still=minutes(9))()
    world.driver(DAN).position = None
    return world


def moved() -> World:
    world = under_way(at=BETWEEN, still=minutes(9))()
    world.driver(DAN).position = Position(BETWEEN.lat + 0.001, BETWEEN.lon, NOW)
    return world


RAISING = [
    Case(
        "who is not heard of for two minutes is gone",
        given=under_way(gone=seconds(120)),
        command=raise_("driver_gone"),
        then=[happens(e.DeliveryAtRisk, risk="driver_gone", since=NOW, driver_id=DAN)],
        afterwards=lambda w: (
            soup(w).risks == (Risk("driver_gone", NOW),)
            and soup(w).risk_since == NOW
            and list(w.amended_deliveries) == [SOUP]
        ),
    ),
    Case("not sooner", under_way(gone=seconds(119)), raise_("driver_gone"), "risk_not_due"),
    Case("nor who is on a socket", under_way(), raise_("driver_gone"), "risk_not_due"),
    Case("once is enough", under_way(gone=minutes(5), risks=("driver_gone",)), raise_("driver_gone"), []),
    Case(
        "five minutes after the time they agreed to they are late at the pickup",
        given=under_way(pickup_due_at=NOW - minutes(5)),
        command=raise_("pickup_late"),
        then=[happens(e.DeliveryAtRisk, risk="pickup_late", since=NOW)],
        afterwards=lambda w: soup(w).watch_at is None,
    ),
    Case("not sooner than that", under_way(pickup_due_at=NOW - seconds(299)), raise_("pickup_late"), "risk_not_due"),
    Case("nor if they agreed to none", under_way(), raise_("pickup_late"), "risk_not_due"),
    Case(
        "what the store will not have ready in time is late at the pickup at once",
        under_way(pickup_due_at=NOW + minutes(4), order={"estimated_pickup_at": NOW + minutes(10)}),
        raise_("pickup_late"),
        [happens(e.DeliveryAtRisk, risk="pickup_late", since=NOW)],
    ),
    Case(
        "not if it is ready a little late",
        under_way(pickup_due_at=NOW + minutes(4), order={"estimated_pickup_at": NOW + minutes(9)}),
        raise_("pickup_late"),
        "risk_not_due",
    ),
    Case(
        "nor with the goods", under_way(pickup_due_at=NOW - minutes(9), **GOODS), raise_("pickup_late"), "risk_not_due"
    ),
    Case(
        "five minutes after what was promised it is late at the door",
        given=under_way(order={"promised_at": NOW - minutes(6)}, **GOODS),
        command=raise_("delivery_late"),
        then=[happens(e.DeliveryAtRisk, risk="delivery_late", since=NOW - minutes(1))],
    ),
    Case(
        "also if the driver is there, and has not handed it over",
        given=under_way(order={"promised_at": NOW - minutes(6)}, arrived_dropoff_at=NOW - minutes(2), **GOODS),
        command=raise_("delivery_late"),
        then=[happens(e.DeliveryAtRisk, risk="delivery_late", since=NOW - minutes(1))],
    ),
    Case(
        "or if it is expected so late",
        under_way(order={"promised_at": NOW + minutes(9), "estimated_delivery_at": NOW + minutes(15)}),
        raise_("delivery_late"),
        [happens(e.DeliveryAtRisk, risk="delivery_late", since=NOW)],
    ),
    Case(
        "not if it is expected a little late",
        under_way(order={"promised_at": NOW + minutes(9), "estimated_delivery_at": NOW + minutes(14)}),
        raise_("delivery_late"),
        "risk_not_due",
    ),
    Case("nor if nothing was promised", under_way(), raise_("delivery_late"), "risk_not_due"),
    Case(
        "nor on the way back",
        under_way(order={"promised_at": NOW - minutes(9)}, failed_at=NOW, **GOODS),
        raise_("delivery_late"),
        "risk_not_due",
    ),
    Case(
        "who has not moved for six minutes stalls",
        given=under_way(at=BETWEEN, still=minutes(9)),
        command=raise_("stalled"),
        then=[happens(e.DeliveryAtRisk, risk="stalled", since=NOW - minutes(3))],
    ),
    Case("not sooner", under_way(at=BETWEEN, still=minutes(5)), raise_("stalled"), "risk_not_due"),
    Case(
        "it counts from the pickup",
        under_way(at=BETWEEN, still=minutes(9), picked_up_at=NOW - minutes(5)),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case("nor a driver without a known position", under_way(at=BETWEEN), raise_("stalled"), "risk_not_due"),
    Case("nor who is nowhere", nowhere, raise_("stalled"), "risk_not_due"),
    Case("nor who has moved", moved, raise_("stalled"), "risk_not_due"),
    Case("who waits at the store does not", under_way(still=minutes(9)), raise_("stalled"), "risk_not_due"),
    Case(
        "nor who waits at the stop of another order",
        under_way(at=BETWEEN, still=minutes(9), stops=(Point(BETWEEN.lat, BETWEEN.lon),)),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case(
        "nor who waits at the door",
        under_way(at=AT_THE_DOOR, still=minutes(9), **LONG_AGO),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case(
        "nor who said that they arrived",
        under_way(at=BETWEEN, still=minutes(9), arrived_pickup_at=NOW),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case(
        "at the store or at the door",
        under_way(at=BETWEEN, still=minutes(9), arrived_dropoff_at=NOW, **LONG_AGO),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case(
        "the store where they arrived is behind them with the goods",
        under_way(at=BETWEEN, still=minutes(9), arrived_pickup_at=NOW, **LONG_AGO),
        raise_("stalled"),
        [happens(e.DeliveryAtRisk, risk="stalled")],
    ),
    Case(
        "and so is the door on the way back",
        under_way(at=BETWEEN, still=minutes(9), arrived_dropoff_at=NOW, failed_at=NOW - minutes(7), **LONG_AGO),
        raise_("stalled"),
        [happens(e.DeliveryAtRisk, risk="stalled")],
    ),
    Case(
        "on the way back they wait at the store",
        under_way(
            at=AT_ANOTHER_STORE,
            still=minutes(9),
            failed_at=NOW - minutes(7),
            order={"details": OrderDetails(store=ANOTHER_STORE)},
            **LONG_AGO,
        ),
        raise_("stalled"),
        "risk_not_due",
    ),
    Case("an address is checked by the person who changes it", under_way(), raise_("check_address"), "risk_not_due"),
    Case("what nobody has is not at risk", lambda: a_world(a_delivery()), raise_("driver_gone"), "risk_not_due"),
    Case("nor is nothing", lambda: a_world(absent=[SOUP]), raise_("driver_gone"), "not_found"),
]

CLEARING = [
    Case(
        "who is heard of again is back",
        given=under_way(risks=("driver_gone",)),
        command=clear("driver_gone"),
        then=[happens(e.DeliveryRecovered, risk="driver_gone", driver_id=DAN)],
        afterwards=lambda w: soup(w).risks == () and soup(w).risk_since is None,
    ),
    Case(
        "who is not is not", under_way(risks=("driver_gone",), gone=minutes(5)), clear("driver_gone"), "still_at_risk"
    ),
    Case(
        "one of two has ended",
        given=under_way(risks=("driver_gone", "stalled"), since=NOW - minutes(1)),
        command=clear("stalled"),
        then=[happens(e.DeliveryRecovered, risk="stalled")],
        afterwards=lambda w: soup(w).risk_since == NOW - minutes(1) and soup(w).risks[0].code == "driver_gone",
    ),
    Case(
        "what is promised for later is not late",
        under_way(risks=("delivery_late",), order={"promised_at": NOW + minutes(9)}),
        clear("delivery_late"),
        [happens(e.DeliveryRecovered)],
        afterwards=lambda w: soup(w).watch_at == NOW + minutes(9),
    ),
    Case("an ended risk is not ended again", under_way(), clear("driver_gone"), []),
    Case(
        "an address that needs a look does also with a driver",
        under_way(risks=("check_address",)),
        clear("check_address"),
        "still_at_risk",
    ),
    Case(
        "what nobody has waits for somebody to look",
        lambda: a_world(a_delivery(risks=(Risk("check_address", NOW),), risk_since=NOW)),
        clear("check_address"),
        "still_at_risk",
    ),
    Case("nothing", lambda: a_world(absent=[SOUP]), clear("driver_gone"), "not_found"),
]

ESCALATE = c.EscalateRisk(SOUP, TICKET)
TWO_TICKETS = a_policy(escalation=(EscalationLevel(1, 60, ("ticket",)), EscalationLevel(2, 120, ("ticket", "cancel"))))


def since(ago: Any, level: int = 0, policy: Policy = DEFAULT_POLICY) -> Callable[[], World]:
    return under_way(risks=("stalled",), since=NOW - ago, order={"risk_level": level}, policy=policy)


CLIMBING = [
    Case(
        "after five minutes ops get a notice, and a ticket is opened",
        given=since(minutes(5)),
        command=ESCALATE,
        then=[
            happens(e.RiskEscalated, risk="stalled", level=1, actions=("ticket", "notify_ops")),
            happens(e.TicketCreated),
        ],
        afterwards=lambda w: (
            soup(w).risk_level == 1
            and w.new_tickets[0].type == "delivery_at_risk"
            and w.new_tickets[0].priority == "high"
        ),
    ),
    Case(
        "nothing that is for searching happens",
        given=since(minutes(30), level=1),
        command=ESCALATE,
        then=[
            happens(e.RiskEscalated, level=2, actions=()),
            happens(e.RiskEscalated, level=3, actions=("notify_critical",)),
        ],
        afterwards=lambda w: soup(w).widened_at is None and soup(w).status == "ASSIGNED",
    ),
    Case(
        "one ticket is enough",
        since(minutes(5), policy=TWO_TICKETS),
        ESCALATE,
        [happens(e.RiskEscalated), happens(e.TicketCreated), happens(e.RiskEscalated, actions=("ticket",))],
    ),
    Case("also later", since(minutes(5), 1, TWO_TICKETS), ESCALATE, [happens(e.RiskEscalated, level=2)]),
    Case(
        "without one before, the second level's is critical",
        since(minutes(5), 1, a_policy(escalation=(EscalationLevel(2, 60, ("ticket",)),))),
        ESCALATE,
        [happens(e.RiskEscalated), happens(e.TicketCreated)],
        afterwards=lambda w: w.new_tickets[0].priority == "critical",
    ),
    Case("not sooner", since(seconds(299)), ESCALATE, "escalation_not_due"),
    Case("not what is at no risk", under_way(), ESCALATE, "not_at_risk"),
    Case(
        "nor what nobody has",
        lambda: a_world(a_delivery(risks=(Risk("check_address", NOW),), risk_since=NOW)),
        ESCALATE,
        "not_at_risk",
    ),
    Case("nor nothing", lambda: a_world(absent=[SOUP]), ESCALATE, "not_found"),
]

SEEN = c.Acknowledge(SOUP, ALICE)

SEEING = [
    Case(
        "somebody has acknowledged it",
        since(minutes(5)),
        SEEN,
        [happens(e.RiskAcknowledged, actor=ALICE)],
        afterwards=lambda w: soup(w).risk_acknowledged_by == "alice",
    ),
    Case(
        "by an old version it is refused", since(minutes(5)), c.Acknowledge(SOUP, ALICE, version=9), "version_changed"
    ),
    Case("said before", under_way(risks=("stalled",), order={"risk_acknowledged_by": "alice"}), SEEN, []),
    Case(
        "by a colleague it is news",
        given=under_way(risks=("stalled",), order={"risk_acknowledged_by": "bob"}),
        command=c.Acknowledge(SOUP, ALICE, "calling"),
        then=[happens(e.RiskAcknowledged, note="calling")],
    ),
]


def recoveries(*codes: str) -> list[Happens]:
    return [happens(e.DeliveryRecovered, risk=code, driver_id=DAN) for code in codes]


def with_all_risks(policy: Policy = DEFAULT_POLICY, **of_job: Any) -> Callable[[], World]:
    """Dan is gone with soup, which is at every risk that it can have, and far up the ladder."""
    codes = tuple(code for code in WORST_FIRST if code != "pickup_late" or "picked_up_at" not in of_job)
    order = {"risk_level": 2, "risk_acknowledged_by": "alice", "details": OrderDetails(warnings=("trip_too_long",))}
    return under_way(risks=codes, gone=minutes(9), policy=policy, order=order, **of_job)


JOB = id_of(f"{SOUP}: assignment 1")
OF_THE_DRIVER = ("driver_gone", "delivery_late", "pickup_late", "stalled")
WITH_GOODS = ("driver_gone", "check_address", "delivery_late", "stalled")
RELEASES = a_policy(watch=WatchPolicy(release_gone_seconds=300))


def is_free_of_risk(world: World) -> bool:
    order = soup(world)
    return (order.risks, order.risk_since, order.risk_level, order.risk_acknowledged_by) == ((), None, 0, None)


def only_needs_its_address_checked(world: World) -> bool:
    order = soup(world)
    at_risk = [risk.code for risk in order.risks]
    return (at_risk, order.risk_since, order.risk_level, order.risk_acknowledged_by) == (
        ["check_address"],
        NOW,
        0,
        None,
    )


ENDING = [
    Case(
        "who hands over ends every risk, once",
        given=with_all_risks(**GOODS),
        command=c.Complete(JOB, DAN, by(DAN)),
        then=[*recoveries(*WITH_GOODS), happens(e.DeliveryDelivered)],
        afterwards=is_free_of_risk,
    ),
    Case(
        "also at once with the pickup",
        given=with_all_risks(),
        command=c.Complete(JOB, DAN, by(DAN)),
        then=[
            happens(e.DeliveryPickedUp),
            *recoveries("pickup_late", *WITH_GOODS),
            happens(e.DeliveryDelivered),
        ],
        afterwards=is_free_of_risk,
    ),
    Case(
        "what fails has no risk any more",
        given=with_all_risks(**GOODS),
        command=c.Fail(JOB, DAN, "refused", by(DAN)),
        then=[*recoveries(*WITH_GOODS), happens(e.DeliveryFailed)],
        afterwards=is_free_of_risk,
    ),
    Case(
        "what is brought back is no longer late, but its driver is still gone",
        given=with_all_risks(**GOODS),
        command=c.Fail(JOB, DAN, "refused", by(DAN), then="return"),
        then=[*recoveries("delivery_late"), happens(e.DeliveryReturning)],
        afterwards=lambda w: (
            [risk.code for risk in soup(w).risks] == ["driver_gone", "check_address", "stalled"]
            and (soup(w).risk_since, soup(w).risk_level) == (NOW, 2)
            and decide(raise_("driver_gone"), w) == Decided((), SOUP, repeated=True)
        ),
    ),
    Case(
        "until it is back",
        given=under_way(risks=("driver_gone", "stalled"), gone=minutes(9), failed_at=NOW, **GOODS),
        command=c.Complete(JOB, DAN, by(DAN)),
        then=[*recoveries("driver_gone", "stalled"), happens(e.DeliveryReturned)],
        afterwards=is_free_of_risk,
    ),
    Case(
        "who gives it back ends their risks, and the address needs a check still",
        given=with_all_risks(),
        command=c.Release(JOB, DAN, "vehicle", by(DAN)),
        then=[*recoveries(*OF_THE_DRIVER), happens(e.DeliveryReleased)],
        afterwards=only_needs_its_address_checked,
    ),
    Case(
        "also if it is taken back",
        given=with_all_risks(RELEASES),
        command=c.ReleaseGone(JOB),
        then=[*recoveries(*OF_THE_DRIVER), happens(e.DeliveryReleased, reason="driver_gone")],
        afterwards=only_needs_its_address_checked,
    ),
    Case(
        "or given to a colleague",
        given=with_all_risks(),
        command=c.Reassign(JOB, "why not", id_of("new offer"), id_of("new"), ALICE),
        then=[*recoveries(*OF_THE_DRIVER), happens(e.DeliveryReassigned)],
        afterwards=only_needs_its_address_checked,
    ),
    Case(
        "what is cancelled has no risk any more, and its address is not checked by that",
        given=with_all_risks(),
        command=c.CancelDelivery(SOUP, "why not", ALICE),
        then=[*recoveries("driver_gone", "check_address", "delivery_late", "pickup_late", "stalled"), CANCELLED],
        afterwards=lambda w: is_free_of_risk(w) and soup(w).needs_check(),
    ),
    Case(
        "what failed at a wrong address needs a check if it is tried again",
        given=lambda: failed_at_a_wrong_address(),
        command=c.RetryDelivery(SOUP, "why not", ALICE),
        then=[happens(e.DeliveryRetried), happens(e.DeliveryAtRisk, risk="check_address", driver_id=None)],
        afterwards=only_needs_its_address_checked,
    ),
]


def failed_at_a_wrong_address() -> World:
    world = with_all_risks(**GOODS)()
    failed = decide(c.Fail(JOB, DAN, "wrong_address", by(DAN)), world)
    assert isinstance(failed, Decided)
    for event in failed.events:
        apply(world, event)
    return world


@pytest.mark.parametrize("case", [*RAISING, *CLEARING, *CLIMBING, *SEEING, *ENDING], ids=name_of)
def test_risks(case: Case) -> None:
    check(case)


def test_the_worst_is_named_first() -> None:
    order = a_delivery(risks=tuple(Risk(code, NOW) for code in reversed(WORST_FIRST)))
    for code in WORST_FIRST:
        assert worst(order) == code
        order.risks = tuple(risk for risk in order.risks if risk.code != code)
    assert worst(order) is None


def test_what_events_of_risks_tell() -> None:
    (raised,) = _events(raise_("driver_gone"), under_way(gone=seconds(120))())
    assert raised.data() == {"risk": "driver_gone", "since": "2026-02-01T18:00:00.000Z"}
    (cleared,) = _events(clear("driver_gone"), under_way(risks=("driver_gone",))())
    assert cleared.data() == {"risk": "driver_gone"}
    assert _events(ESCALATE, since(minutes(5))())[0].data() == {
        "risk": "stalled",
        "level": 1,
        "actions": ["ticket", "notify_ops"],
    }
    assert _events(c.Acknowledge(SOUP, ALICE, "calling"), since(minutes(5))())[0].data() == {"note": "calling"}


def _events(command: c.Command, world: World) -> tuple[e.Event, ...]:
    decided = decide(command, world)
    assert isinstance(decided, Decided)
    return decided.events


def do(world: World, command: c.Command) -> None:
    for event in _events(command, world):
        apply(world, event)


def test_what_is_watched_next_is_what_is_due_first_and_was_not_raised() -> None:
    """The pickup agreed to, then the promise; what is expected too late is due at once."""
    order, dan = a_delivery(promised_at=NOW + minutes(30)), a_driver()
    world = a_world(order, dan)
    do(world, c.OfferDelivery(SOUP, DAN, id_of("o"), 52.52, 13.405))
    assert order.watch_at is None
    do(world, c.AcceptOffer(id_of("o"), DAN, id_of("a"), Actor("driver", DAN)))
    assert order.watch_at == NOW + minutes(9)
    world.now = NOW + minutes(14)
    do(world, raise_("pickup_late"))
    assert order.watch_at == NOW + minutes(30)
    do(world, c.DelayDelivery(SOUP, 60, id_of("p"), ALICE))
    assert order.watch_at == world.now - minutes(5)
    assert order.estimated_pickup_at == world.now + minutes(60)
    do(world, raise_("delivery_late"))
    assert order.watch_at is None
    do(world, c.ChangeDelivery(SOUP, order.version, id_of("q"), ALICE, promised_at=NOW + minutes(300)))
    do(world, clear("delivery_late"))
    assert order.watch_at == NOW + minutes(300)
    do(world, c.PickUp(id_of("a"), DAN, Actor("driver", DAN)))
    assert order.watch_at == NOW + minutes(300)
    do(world, c.Complete(id_of("a"), DAN, Actor("driver", DAN)))
    assert order.watch_at is None


@pytest.mark.parametrize(("expected_in", "watched_in"), [(9, 9), (14, 9), (15, -5)])
def test_what_is_expected_a_little_late_is_watched_from_the_promise_on(expected_in: int, watched_in: int) -> None:
    order = {"promised_at": NOW + minutes(9), "estimated_delivery_at": NOW + minutes(expected_in)}
    world = under_way(order=order, **GOODS)()
    do(world, c.ChangeDelivery(SOUP, 1, id_of("q"), ALICE, notes="x"))
    assert soup(world).watch_at == NOW + minutes(watched_in)


def test_a_store_that_delays_makes_a_pickup_late_until_it_is_ready() -> None:
    world = under_way(pickup_due_at=NOW + minutes(9), order={"estimated_pickup_at": NOW + minutes(9)})()
    order = soup(world)
    order.estimated_delivery_at = NOW + minutes(20)
    do(world, c.DelayDelivery(SOUP, 20, id_of("p"), ALICE))
    assert order.watch_at == NOW - minutes(5)
    do(world, raise_("pickup_late"))
    do(world, c.MarkReady(SOUP, id_of("q"), ALICE))
    do(world, clear("pickup_late"))
    assert (order.risks, order.watch_at) == ((), NOW + minutes(9))


def test_what_comes_back_is_watched_no_more() -> None:
    world = under_way(order={"promised_at": NOW + minutes(9)}, failed_at=NOW, **GOODS)()
    do(world, c.ChangeDelivery(SOUP, 1, id_of("q"), ALICE, notes="x"))
    assert soup(world).watch_at is None


def test_what_was_promised_stays_so_when_a_person_assigns_it() -> None:
    world = a_world(a_delivery(promised_at=NOW + minutes(5)), a_driver())
    do(world, c.AssignDelivery(SOUP, DAN, "near", True, id_of("o"), id_of("a"), ALICE))
    assert soup(world).promised_at == NOW + minutes(5)
    assert soup(world).watch_at == NOW - minutes(5)


def test_an_address_to_look_at_is_a_risk_of_an_order_made_in_the_same_batch() -> None:
    world = a_world()
    do(world, create(dropoff=Place(48.14, 11.58)))
    do(world, c.CancelDelivery(NEW, "wrong", ALICE))
    assert not world.amended_deliveries
    assert world.new_deliveries[NEW].risks == ()


def test_a_driver_nobody_promised_anything_is_watched_by_the_pickup_alone() -> None:
    order, dan = a_delivery(pickup=Place(52.52, 13.405)), a_driver()
    assignment = an_assignment(order, dan, pickup_due_at=NOW)
    world = a_world(order, dan)
    do(world, c.ChangeDelivery(SOUP, 1, id_of("q"), ALICE, notes="x"))
    assert order.watch_at == NOW
    assert assignment.version == 1
