"""Holds on a real database: held until a driver must leave, moved, ended, and kept when another node dispatches."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from server.contract.commit import Answer
from server.dispatch import commands as c
from server.dispatch.policy import EscalationLevel, PlanningPolicy
from server.dispatcher import matcher
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


async def test_a_nearer_driver_moves_the_hold_and_without_one_it_ends(
    dispatch: Dispatch, order: tuple[str, str]
) -> None:
    delivery_id, dan = order
    await dispatch.a_driver(NORTH)
    await until(lambda: _slack_is(dispatch, delivery_id, 120))
    assert await dispatch.offered_to(delivery_id) is None
    for driver_id in dispatch.node.matcher.fleet.nearby.drivers.copy():
        await dispatch.done(c.Pause(driver_id, by(driver_id)))
    await until(lambda: is_free_for_all(dispatch, delivery_id))
    await dispatch.done(c.Resume(dan, by(dan)))
    assert await offered(dispatch, delivery_id) == dan


async def test_an_order_for_which_there_is_no_driver_is_not_held(dispatch: Dispatch) -> None:
    await until(lambda: dispatch.node.matcher.fleet.ready)
    delivery_id = await dispatch.an_order(prep_seconds=PREPARATION)
    await until(lambda: _failed(dispatch, delivery_id))
    assert "delivery.held" not in await dispatch.events(delivery_id)


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
    await second.execute("UPDATE deliveries SET held_until = clock_timestamp() WHERE id = $1", delivery_id)
    assert await offered(second, delivery_id) == dan


async def test_each_held_order_needs_a_driver_of_its_own(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matcher, "HOLDS_SECONDS", 0.1)
    await dispatch.a_driver(NORTH)
    await until(lambda: dispatch.node.matcher.fleet.ready)
    orders = [await dispatch.an_order(prep_seconds=PREPARATION) for _ in range(2)]

    async def one_is_held() -> bool:
        held: list[Any] = [delivery_id for delivery_id in orders if await held_until(dispatch, delivery_id)]
        return len(held) == 1

    await until(one_is_held)
    await dispatch.done(c.SetAvailability(next(iter(dispatch.node.matcher.fleet.nearby.drivers)), "paused", "", ADA))
    for delivery_id in orders:
        await until(lambda delivery_id=delivery_id: is_free_for_all(dispatch, delivery_id))  # type: ignore[misc]


async def _slack_is(dispatch: Dispatch, delivery_id: str, seconds: float) -> bool:
    return abs(await slack_seconds(dispatch, delivery_id) - seconds) < 1


async def _escalated(dispatch: Dispatch, delivery_id: str) -> bool:
    return "delivery.escalated" in await dispatch.events(delivery_id)


async def _failed(dispatch: Dispatch, delivery_id: str) -> bool:
    return "delivery.search_failed" in await dispatch.events(delivery_id)
