"""Holds on a real database: held until a driver must leave, moved, ended, and kept when another node dispatches."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.model import Place
from server.dispatch.planning.plan import Plan
from server.dispatch.policy import EscalationLevel, PlanningPolicy
from server.dispatcher import holds
from server.ids import new_id
from tests.dispatcher.conftest import ADA, KM, PICKUP, SHOP, Dispatch, StartDispatch, by
from tests.waiting import until

NORTH, EAST = PICKUP
PREPARATION = 1200
"""Seconds. A driver who is a kilometre away needs 187 of them, and there are 120 of slack."""


async def held_until(dispatch: Dispatch, delivery_id: str) -> datetime | None:
    at: datetime | None = await dispatch.one("SELECT held_until FROM deliveries WHERE id = $1", delivery_id)
    return at


async def slack_seconds(dispatch: Dispatch, delivery_id: str) -> float:
    """How long before the goods are ready it will be offered."""
    at = await until(lambda: held_until(dispatch, delivery_id))
    ready = await dispatch.one(
        "SELECT coalesce(ready_at, dispatch_at + make_interval(secs => prep_seconds)) FROM deliveries WHERE id = $1",
        delivery_id,
    )
    assert at is not None
    return float((ready - at).total_seconds())


async def make_older(dispatch: Dispatch, delivery_id: str) -> None:
    """It was placed a minute sooner, and its goods are ready at the same time."""
    await dispatch.execute(
        """UPDATE deliveries SET ready_at = dispatch_at + make_interval(secs => prep_seconds),
               created_at = created_at - interval '1 minute', dispatch_at = dispatch_at - interval '1 minute',
               unassigned_since = unassigned_since - interval '1 minute'
           WHERE id = $1""",
        delivery_id,
    )


async def is_free_for_all(dispatch: Dispatch, delivery_id: str) -> bool:
    """It waits, and is not held."""
    since = await dispatch.one("SELECT unassigned_since FROM deliveries WHERE id = $1", delivery_id)
    return since is not None and await held_until(dispatch, delivery_id) is None


async def offered(dispatch: Dispatch, delivery_id: str) -> str:
    return await until(lambda: dispatch.offered_to(delivery_id)) or ""


@pytest.fixture
async def order(dispatch: Dispatch) -> tuple[str, str]:
    """A held order and its planned driver, a kilometre away."""
    dan = await dispatch.a_driver(NORTH + KM)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, delivery_id))
    return delivery_id, dan


async def test_an_order_with_preparation_is_held_until_its_driver_must_leave(
    dispatch: Dispatch, order: tuple[str, str]
) -> None:
    delivery_id, _ = order
    assert await slack_seconds(dispatch, delivery_id) == pytest.approx(187.2 + 120, abs=1)
    assert await dispatch.one("SELECT unassigned_since FROM deliveries WHERE id = $1", delivery_id) is None
    assert await dispatch.events(delivery_id) == ["delivery.created", "delivery.ready", "delivery.held"]
    at_once = await dispatch.an_order()
    assert await offered(dispatch, at_once) == order[1]


async def test_the_hold_ends_at_its_time_and_the_ladder_starts_then(dispatch: Dispatch, order: tuple[str, str]) -> None:
    await dispatch.set_policy(escalation=(EscalationLevel(1, 1, ("notify_ops",)),))
    delivery_id, dan = order
    await dispatch.execute(
        "UPDATE deliveries SET held_until = clock_timestamp() + interval '1 second' WHERE id = $1", delivery_id
    )
    assert await offered(dispatch, delivery_id) == dan
    await dispatch.reject(delivery_id)
    await until(lambda: _escalated(dispatch, delivery_id))
    happened = await dispatch.events(delivery_id)
    assert happened.index("delivery.hold_ended") < happened.index("delivery.escalated")
    assert happened.count("delivery.hold_ended") == 1


async def test_ready_offers_it_and_a_delay_moves_the_hold(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, dan = order
    before = await held_until(dispatch, delivery_id)
    assert before is not None
    await dispatch.done(c.DelayDelivery(delivery_id, 10, new_id(), SHOP))
    assert await held_until(dispatch, delivery_id) == before + timedelta(minutes=10)
    await dispatch.done(c.MarkReady(delivery_id, new_id(), SHOP))
    assert await offered(dispatch, delivery_id) == dan


async def test_another_pickup_moves_the_hold_at_once_to_either_side(
    dispatch: Dispatch, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HOLDS_SECONDS", 3600)
    delivery_id, dan = order
    await _change_pickup(dispatch, delivery_id, 3)
    await until(lambda: _slack_is(dispatch, delivery_id, 3 * 187.2 + 120))
    await _change_pickup(dispatch, delivery_id, 1)
    await until(lambda: _slack_is(dispatch, delivery_id, 187.2 + 120))
    await _change_pickup(dispatch, delivery_id, 3, prep_seconds=600)
    assert await offered(dispatch, delivery_id) == dan


async def test_a_hold_moves_only_if_its_driver_must_leave_sooner(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, dan = order
    await dispatch.a_driver(NORTH)
    await dispatch.put(dan, NORTH + 3 * KM, EAST)
    await until(lambda: _slack_is(dispatch, delivery_id, 3 * 187.2 + 120))
    await dispatch.put(dan, NORTH, EAST)

    async def is_seen() -> bool:
        place = dispatch.node.matcher.fleet.nearby.place(dan)
        return place is not None and place[0] == NORTH

    await until(is_seen)
    other = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, other))
    assert await slack_seconds(dispatch, delivery_id) == pytest.approx(3 * 187.2 + 120, abs=1)


async def test_another_contact_or_note_at_the_pickup_does_not_move_the_hold(
    dispatch: Dispatch, order: tuple[str, str]
) -> None:
    """Its driver came nearer, so it would move to a later time."""
    delivery_id, dan = order
    before = await held_until(dispatch, delivery_id)
    await dispatch.put(dan, NORTH, EAST)

    async def is_seen() -> bool:
        place = dispatch.node.matcher.fleet.nearby.place(dan)
        return place is not None and place[0] == NORTH

    await until(is_seen)
    version = await dispatch.one("SELECT version FROM deliveries WHERE id = $1", delivery_id)
    same = Place(NORTH, EAST, phone="555-0199", notes="back door")
    await dispatch.done(c.ChangeDelivery(delivery_id, version, new_id(), SHOP, pickup=same))
    other = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, other))
    assert await held_until(dispatch, delivery_id) == before
    assert (await dispatch.events(delivery_id))[-1] == "delivery.changed"


async def test_a_hold_that_ends_soon_goes_on_if_its_driver_need_not_leave_yet(
    dispatch: Dispatch, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    delivery_id, dan = order
    monkeypatch.setattr(holds, "LAST_LOOK_SECONDS", PREPARATION)
    await dispatch.put(dan, NORTH, EAST)
    await until(lambda: _slack_is(dispatch, delivery_id, 120))
    assert (await dispatch.events(delivery_id))[-1] == "delivery.held"


async def test_a_hold_that_goes_on_is_not_ended_at_its_time_before(
    dispatch: Dispatch, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dispatcher.deadlines.AHEAD_SECONDS", 300.0)
    delivery_id, _ = order
    known, now = dispatch.node.deadlines._dues, datetime.now(UTC)
    await dispatch.done(c.HoldDelivery(delivery_id, now + timedelta(seconds=200)))
    await until(lambda: ("hold", delivery_id) in known)
    await dispatch.done(c.HoldDelivery(delivery_id, now + timedelta(seconds=600)))
    await until(lambda: ("hold", delivery_id) not in known)


async def test_an_order_that_a_busy_driver_will_pick_up_late_is_held_until_they_come_free(dispatch: Dispatch) -> None:
    """Not until the driver would have to leave now, and not longer than until the goods are ready."""
    dan = await dispatch.a_driver(NORTH)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    for km, slack in ((2, PREPARATION - (2 * 187.2 + 600 - 120)), (5, 0)):
        busy_with = await dispatch.an_order(dropoff=Place(NORTH + km * KM, EAST))
        assert await offered(dispatch, busy_with) == dan
        assignment_id, offer_id = new_id(), await dispatch.open_offer(busy_with)
        assert offer_id is not None
        await dispatch.done(c.AcceptOffer(offer_id, dan, assignment_id, by(dan)))
        delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
        assert await slack_seconds(dispatch, delivery_id) == pytest.approx(slack, abs=5)
        await dispatch.done(c.CancelDelivery(delivery_id, "changed their mind", SHOP))
        await dispatch.done(c.CancelDelivery(busy_with, "changed their mind", SHOP))


async def test_a_driver_who_went_too_far_is_no_longer_planned(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, dan = order
    await dispatch.a_driver(NORTH + 2 * KM)
    await dispatch.put(dan, NORTH + 30 * KM, EAST)
    await until(lambda: _slack_is(dispatch, delivery_id, 2 * 187.2 + 120))
    assert "offer.created" not in await dispatch.events(delivery_id)
    assert await held_until(dispatch, delivery_id) is not None


async def test_a_hold_stays_while_its_driver_is_busy_and_ends_when_nobody_is_there(
    dispatch: Dispatch, order: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "HOLDS_SECONDS", 0.05)
    delivery_id, dan = order
    before = await held_until(dispatch, delivery_id)
    at_once = await dispatch.an_order()
    assert await offered(dispatch, at_once) == dan
    other = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, other))
    assert await held_until(dispatch, delivery_id) == before
    await dispatch.reject(at_once)
    await dispatch.done(c.CancelDelivery(at_once, "changed their mind", SHOP))
    await dispatch.done(c.Pause(dan, by(dan)))
    await until(lambda: is_free_for_all(dispatch, delivery_id))
    await until(lambda: is_free_for_all(dispatch, other))


async def test_plans_do_not_change_while_nothing_happens(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to pair these drivers and orders costs the same."""
    monkeypatch.setattr(holds, "HOLDS_SECONDS", 0.01)
    for number in range(3):
        await dispatch.a_driver(NORTH + number * KM)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    orders = [await dispatch.an_order(prep_seconds=PREPARATION) for _ in range(3)]
    for delivery_id in orders:
        await until(lambda delivery_id=delivery_id: held_until(dispatch, delivery_id))  # type: ignore[misc]
    before = [await held_until(dispatch, delivery_id) for delivery_id in orders]
    plans: list[Plan] = []
    whole = dispatch.node.matcher._plans.whole

    async def recorded(*args: Any) -> Plan:
        plans.append(await whole(*args))
        return plans[-1]

    monkeypatch.setattr(dispatch.node.matcher._plans, "whole", recorded)
    await until(lambda: _are_many(plans))
    assert all(plan.held.keys() == set(orders) for plan in plans)
    assert all(plan.runs == plans[0].runs for plan in plans)
    assert [await held_until(dispatch, delivery_id) for delivery_id in orders] == before


async def test_an_order_that_must_be_offered_in_a_moment_goes_to_the_driver_who_is_planned(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to the nearest one, who is on shift for longer. A moment is long here: the machine may pause meanwhile."""
    monkeypatch.setattr(holds, "SOON_SECONDS", 12.0)
    await dispatch.a_driver(NORTH)
    dan = new_id()
    ends = datetime.now(UTC) + timedelta(hours=1)
    await dispatch.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP, shift_ends_at=ends))
    await dispatch.put(dan, NORTH + KM, EAST)
    await dispatch.connect(dan)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    assert await offered(dispatch, await dispatch.an_order(prep_seconds=187 + 120 + 8)) == dan


async def test_an_order_for_which_there_is_no_driver_is_not_held(dispatch: Dispatch) -> None:
    await until(lambda: dispatch.node.matcher.fleet.ready)
    delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: _failed(dispatch, delivery_id))
    assert "delivery.held" not in await dispatch.events(delivery_id)


async def test_an_order_that_waited_is_held_once_a_driver_is_there(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH + KM)
    await dispatch.done(c.Pause(dan, by(dan)))
    await until(lambda: dispatch.node.matcher.fleet.ready)
    delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: _failed(dispatch, delivery_id))
    await until(lambda: is_free_for_all(dispatch, delivery_id))
    await make_older(dispatch, delivery_id)
    await dispatch.done(c.Resume(dan, by(dan)))
    assert await slack_seconds(dispatch, delivery_id) == pytest.approx(187.2 + 120, abs=1)
    assert "offer.created" not in await dispatch.events(delivery_id)


async def test_a_restored_order_is_held_again(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, _ = order
    before = await held_until(dispatch, delivery_id)
    await make_older(dispatch, delivery_id)
    await dispatch.done(c.CancelDelivery(delivery_id, "placed twice", SHOP))
    await dispatch.done(c.RestoreDelivery(delivery_id, ADA))
    assert await until(lambda: held_until(dispatch, delivery_id)) == before


async def test_a_hold_that_is_over_does_not_begin_again_for_a_driver_who_is_busy(dispatch: Dispatch) -> None:
    """The nearest one is busy, and nearer than the one who was planned."""
    near = await dispatch.a_driver(NORTH)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    at_once = await dispatch.an_order()
    assert await offered(dispatch, at_once) == near
    delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, delivery_id))
    await dispatch.execute(
        "UPDATE deliveries SET held_until = clock_timestamp() + interval '1 second' WHERE id = $1", delivery_id
    )
    await until(lambda: is_free_for_all(dispatch, delivery_id))
    await until(lambda: _failed(dispatch, delivery_id))
    assert (await dispatch.events(delivery_id)).count("delivery.held") == 1


async def test_a_search_on_request_ends_the_hold(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, dan = order
    answer = await dispatch.node.on_request.search(delivery_id, SHOP)
    assert isinstance(answer, Answer)
    assert answer.offer is not None
    assert answer.offer.driver_id == dan
    assert (await dispatch.events(delivery_id))[-2:] == ["delivery.hold_ended", "offer.created"]


async def test_a_policy_without_holds_ends_them(dispatch: Dispatch, order: tuple[str, str]) -> None:
    delivery_id, dan = order
    await dispatch.set_policy(planning=PlanningPolicy(hold=False))
    assert await offered(dispatch, delivery_id) == dan
    other = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: _failed(dispatch, other))
    assert "delivery.held" not in await dispatch.events(other)


async def test_another_node_keeps_the_hold(start: StartDispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await start()
    dan = await first.a_driver(NORTH + KM)
    await until(lambda: first.node.matcher.fleet.ready)
    delivery_id = await first.an_order(prep_seconds=PREPARATION)
    before = await until(lambda: held_until(first, delivery_id))
    second = await start()
    await first.node.lease.release()
    await until(lambda: delivery_id in second.node.matcher._backlog.held)
    assert await held_until(second, delivery_id) == before
    await second.execute(
        "UPDATE deliveries SET held_until = clock_timestamp() + interval '1 second' WHERE id = $1", delivery_id
    )
    assert await offered(second, delivery_id) == dan


async def test_another_node_expects_what_came_before_it_had_the_lease(start: StartDispatch) -> None:
    first = await start()
    await until(lambda: first.node.lease.held)
    for _ in range(3):
        delivery_id = await first.an_order(prep_seconds=PREPARATION)
        await first.done(c.CancelDelivery(delivery_id, "changed their mind", SHOP))
    second = await start()
    await first.node.lease.release()

    def expected_by(dispatch: Dispatch) -> tuple[Any, Any]:
        stores, ready = dispatch.node.matcher._plans._recent_in("default").expected(second.node.clock.seconds())
        return stores.tolist(), ready.tolist()

    async def remembered() -> bool:
        return len(expected_by(second)[1]) == 3

    await until(remembered)
    assert expected_by(second)[0] == [list(PICKUP)] * 3


async def test_orders_are_held_though_drivers_are_fewer_and_the_first_is_offered_first(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    first = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, first))
    second = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: held_until(dispatch, second))
    assert await held_until(dispatch, first) is not None
    await dispatch.execute(
        "UPDATE deliveries SET held_until = clock_timestamp() + interval '1 second' WHERE id = $1", first
    )
    assert await offered(dispatch, first) == dan
    assert await held_until(dispatch, second) is not None


async def _are_many(plans: list[Plan]) -> bool:
    return len(plans) > 20


async def _change_pickup(dispatch: Dispatch, delivery_id: str, km: float, **more: Any) -> None:
    """It is so many kilometres from the driver of `order`."""
    version = await dispatch.one("SELECT version FROM deliveries WHERE id = $1", delivery_id)
    pickup = Place(NORTH + (1 - km) * KM, EAST)
    await dispatch.done(c.ChangeDelivery(delivery_id, version, new_id(), SHOP, pickup=pickup, **more))


async def _slack_is(dispatch: Dispatch, delivery_id: str, seconds: float) -> bool:
    return abs(await slack_seconds(dispatch, delivery_id) - seconds) < 1


async def _escalated(dispatch: Dispatch, delivery_id: str) -> bool:
    return "delivery.escalated" in await dispatch.events(delivery_id)


async def _failed(dispatch: Dispatch, delivery_id: str) -> bool:
    return "delivery.search_failed" in await dispatch.events(delivery_id)
