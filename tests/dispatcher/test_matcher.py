"""The matcher on a real database and Redis: who waits is offered to who is free, at once, whatever fails meanwhile."""

import asyncio
from collections import Counter
from typing import Any

import msgspec
import pytest

from server.dispatch import commands as c
from server.dispatch.model import Nearest
from server.dispatch.policy import EscalationLevel
from server.dispatcher.failures import RECORDED
from server.dispatcher.matcher import ROUNDS
from server.store.reads.unassigned import read_waiting
from tests.dispatcher.conftest import ADA, KM, PICKUP, SHOP, Dispatch, StartDispatch, by
from tests.waiting import PATIENCE, outlast_pauses, until

NORTH, EAST = PICKUP
NOWHERE = "redis://127.0.0.1:1/0"


async def offered(dispatch: Dispatch, delivery_id: str, within: float = PATIENCE) -> str:
    """The driver who has an offer of the delivery."""
    return await until(lambda: dispatch.offered_to(delivery_id), within) or ""


async def failure_of(dispatch: Dispatch, delivery_id: str) -> str:
    reason: str = await dispatch.one("SELECT failure_reason FROM unassigned_orders WHERE delivery_id = $1", delivery_id)
    return reason


async def test_an_order_is_offered_to_the_nearest_driver(dispatch: Dispatch) -> None:
    await dispatch.a_driver(NORTH + 2 * KM)
    near = await dispatch.a_driver(NORTH + KM)
    assert await offered(dispatch, await dispatch.an_order()) == near


async def test_without_redis_everything_is_found_in_the_database(start: StartDispatch) -> None:
    dispatch = await start(redis_url=NOWHERE)
    await dispatch.a_driver(NORTH + 2 * KM)
    near = await dispatch.a_driver(NORTH + KM)
    assert not dispatch.node.bus.connected
    assert await offered(dispatch, await dispatch.an_order()) == near


async def test_nobody_is_found_across_a_zone_or_beyond_the_radius(dispatch: Dispatch) -> None:
    await dispatch.a_driver(zone="harbour")
    await dispatch.a_driver(NORTH + 6 * KM)
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_radius"))
    near = await dispatch.a_driver(NORTH + KM)
    assert await offered(dispatch, delivery_id) == near


async def test_an_order_near_a_pole_is_dispatched_too(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(89.0, 179.9)
    assert await offered(dispatch, await dispatch.an_order(89.0, -179.9)) == dan


async def test_a_driver_who_becomes_free_gets_the_order_that_waits(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver()
    first = await dispatch.an_order()
    await offered(dispatch, first)
    second = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, second), "all_busy"))
    offer_id = await dispatch.open_offer(first)
    assert offer_id is not None
    answer = await dispatch.done(c.AcceptOffer(offer_id, dan, first, by(dan)))
    assert await dispatch.offered_to(second) is None
    assert answer.assignment is not None
    await dispatch.done(c.Complete(answer.assignment.id, dan, by(dan)))
    assert await offered(dispatch, second) == dan


async def test_a_driver_with_room_for_two_is_offered_the_second_after_the_first(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(capacity=2)
    first, second = await dispatch.an_order(), await dispatch.an_order()
    assert await offered(dispatch, first) == dan
    offer_id = await dispatch.open_offer(first)
    assert offer_id is not None
    await dispatch.done(c.AcceptOffer(offer_id, dan, first, by(dan)))
    assert await offered(dispatch, second) == dan


async def test_a_position_that_is_heard_makes_a_driver_findable_within_a_second(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH + 30 * KM)
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_radius"))
    dispatch.node.positions.moved(dan, NORTH, EAST)
    assert await offered(dispatch, delivery_id) == dan


async def test_who_rejects_is_never_asked_again_and_the_next_is_at_once(dispatch: Dispatch) -> None:
    dan, dora = await dispatch.a_driver(NORTH + KM), await dispatch.a_driver(NORTH + 2 * KM)
    delivery_id = await dispatch.an_order()
    assert await offered(dispatch, delivery_id) == dan
    await dispatch.reject(delivery_id)
    assert await offered(dispatch, delivery_id) == dora
    await dispatch.reject(delivery_id)
    await until(lambda: _is(failure_of(dispatch, delivery_id), "all_excluded"))
    assert await dispatch.offered_to(delivery_id) is None
    another = await dispatch.an_order()
    assert await offered(dispatch, another) == dan


async def test_who_let_it_expire_is_asked_again_after_the_cooldown(dispatch: Dispatch) -> None:
    await dispatch.set_policy(expiry_policy="next_driver")
    dan = await dispatch.a_driver()
    delivery_id = await dispatch.an_order()
    first = await until(lambda: dispatch.open_offer(delivery_id))
    await dispatch.reach_deadline(first)
    await until(lambda: _is(failure_of(dispatch, delivery_id), "all_excluded"))
    await dispatch.set_policy(reoffer_cooldown_seconds=1)
    again = await until(lambda: dispatch.open_offer(delivery_id))
    assert again != first
    assert await dispatch.offered_to(delivery_id) == dan
    gap = await dispatch.one(
        "SELECT max(created_at) - min(closed_at) FROM driver_offers WHERE delivery_id = $1", delivery_id
    )
    assert gap.total_seconds() >= 1.0


async def test_the_driver_who_lost_an_order_gets_no_new_offer_for_it(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver(NORTH + KM)
    delivery_id = await dispatch.an_order()
    await offered(dispatch, delivery_id)
    offer_id = await dispatch.open_offer(delivery_id)
    assert offer_id is not None
    answer = await dispatch.done(c.AcceptOffer(offer_id, dan, offer_id, by(dan)))
    dora = await dispatch.a_driver(NORTH + 2 * KM)
    assert answer.assignment is not None
    await dispatch.done(c.Reassign(answer.assignment.id, "flat tyre", delivery_id, delivery_id, ADA))
    assert await offered(dispatch, delivery_id) == dora


async def test_a_driver_lost_to_a_race_is_followed_by_the_next_one(dispatch: Dispatch) -> None:
    """Dan's break is being committed while the matcher finds him: it sees him free, and the lock tells otherwise."""
    dan, dora = await dispatch.a_driver(NORTH + KM), await dispatch.a_driver(NORTH + 2 * KM)
    await until(lambda: dispatch.node.lease.held)
    async with dispatch.node.database.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("UPDATE drivers SET availability = 'paused' WHERE id = $1", dan)
        delivery_id = await dispatch.an_order()
        await until(lambda: dispatch.one("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        await transaction.commit()
    assert await offered(dispatch, delivery_id) == dora


async def test_two_orders_and_two_drivers_are_paired_for_the_best_total(dispatch: Dispatch) -> None:
    """Both orders have Dora nearest; only one of them has Dan in reach as well."""
    await dispatch.set_policy(match_window_ms=300)
    dora = await dispatch.a_driver(NORTH)
    dan = await dispatch.a_driver(NORTH - 4 * KM)
    far = await dispatch.an_order(NORTH + 3 * KM)
    between = await dispatch.an_order(NORTH - KM)
    assert await offered(dispatch, far) == dora
    assert await offered(dispatch, between) == dan


async def test_when_drivers_are_too_few_each_gets_one_and_the_oldest_orders_are_served(dispatch: Dispatch) -> None:
    orders = [await dispatch.an_order() for _ in range(12)]
    drivers = [await dispatch.a_driver(NORTH + KM / 10 * i) for i in range(5)]
    found = await until(lambda: _offers(dispatch, 5))
    assert set(found.values()) == set(drivers)
    assert Counter(found.values()).most_common(1)[0][1] == 1
    assert set(found) == set(orders[:5])


async def test_a_rush_is_paired_one_to_one(dispatch: Dispatch) -> None:
    await dispatch.set_policy(match_window_ms=1000, offer_timeout_seconds=600)
    drivers = await asyncio.gather(*(dispatch.a_driver(NORTH + KM / 100 * i) for i in range(150)))
    orders = await asyncio.gather(*(dispatch.an_order(NORTH, EAST + KM / 100 * i) for i in range(150)))
    found = await until(lambda: _offers(dispatch, 150))
    assert set(found) == set(orders)
    assert set(found.values()) == set(drivers)


async def test_two_matchers_at_once_offer_every_order_once(two: tuple[Dispatch, Dispatch]) -> None:
    drivers = await asyncio.gather(*(two[i % 2].a_driver(NORTH + KM / 100 * i) for i in range(30)))
    orders = await asyncio.gather(*(two[i % 2].an_order(NORTH + KM / 100 * i) for i in range(30)))
    found = await until(lambda: _offers(two[0], 30))
    assert set(found) == set(orders)
    assert set(found.values()) == set(drivers)
    assert await two[0].one("SELECT count(*) FROM driver_offers") == 30


async def test_the_search_widens_with_the_ladder(dispatch: Dispatch) -> None:
    await dispatch.set_policy(escalation=(EscalationLevel(1, 1, ("widen_search",)),))
    dan = await dispatch.a_driver(NORTH + 8 * KM)
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_radius"))
    assert await offered(dispatch, delivery_id) == dan


async def test_a_window_gathers_before_it_matches(dispatch: Dispatch) -> None:
    await dispatch.set_policy(match_window_ms=400)
    await dispatch.a_driver()
    delivery_id = await dispatch.an_order()
    await offered(dispatch, delivery_id)
    waited = await dispatch.one(
        "SELECT o.created_at - d.unassigned_since FROM deliveries d JOIN driver_offers o ON o.delivery_id = d.id"
        " WHERE d.id = $1",
        delivery_id,
    )
    assert waited.total_seconds() >= 0.4


@pytest.mark.parametrize(
    ("state", "reason"),
    [("on_break", "all_on_break"), ("paused", "no_driver_dispatchable"), ("offline", "no_driver_in_zone")],
)
async def test_the_failure_says_why_nobody_was_found(dispatch: Dispatch, state: Any, reason: str) -> None:
    dan = await dispatch.a_driver()
    await dispatch.done(c.SetAvailability(dan, state, "testing", ADA))
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), reason))


async def test_the_nearest_outside_is_written_down_with_the_reason(dispatch: Dispatch) -> None:
    max_ = await dispatch.a_driver(NORTH + 2 * KM, zone="harbour")
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_zone"))
    assert await _nearest(dispatch, delivery_id) == Nearest(max_, 2.0, "zone_differs")
    far = await dispatch.a_driver(NORTH + 7 * KM)
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_radius"))
    assert await _nearest(dispatch, delivery_id) == Nearest(far, 7.0, "out_of_radius")
    stored = await dispatch.one(
        "SELECT data ->> 'nearest' FROM events WHERE delivery_id = $1 AND type = 'delivery.search_failed'"
        " ORDER BY id DESC LIMIT 1",
        delivery_id,
    )
    assert msgspec.json.decode(stored, type=Nearest).driver_id == far
    near = await dispatch.a_driver(NORTH + KM)
    await offered(dispatch, delivery_id)
    await dispatch.done(c.Pause(near, by(near)))
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_dispatchable"))
    assert await _nearest(dispatch, delivery_id) is None


async def test_an_order_that_requires_what_nobody_has_says_so(dispatch: Dispatch) -> None:
    await dispatch.a_driver()
    delivery_id = await dispatch.an_order(requirements=("cool box",))
    await until(lambda: _is(failure_of(dispatch, delivery_id), "requirements_not_met"))


async def test_zones_that_help_are_asked_once_the_search_is_wide(dispatch: Dispatch) -> None:
    await dispatch.set_policy(escalation=(EscalationLevel(1, 1, ("widen_search",)),))
    await dispatch.done(c.ChangeZone("default", "Here", None, ("harbour",), ADA))
    stranger = await dispatch.a_driver(zone="airport")
    helper = await dispatch.a_driver(NORTH + 3 * KM, zone="harbour")
    delivery_id = await dispatch.an_order()
    assert await offered(dispatch, delivery_id) == helper
    assert "delivery.escalated" in await dispatch.events(delivery_id)
    await dispatch.reject(delivery_id)
    await until(lambda: _is(failure_of(dispatch, delivery_id), "all_excluded"))
    own = await dispatch.a_driver(NORTH + 9 * KM)
    assert await offered(dispatch, delivery_id) == own
    assert stranger not in (helper, own)


async def test_a_failure_is_written_down_once_until_it_changes(dispatch: Dispatch) -> None:
    orders = [await dispatch.an_order() for _ in range(150)]
    await until(lambda: _recorded(dispatch, "no_driver_in_zone", len(orders)))
    commands = RECORDED.labels("no_driver_in_zone")._value.get()
    for _ in range(3):
        before = ROUNDS._value.get()
        dispatch.node.matcher.wake()
        await until(lambda before=before: ROUNDS._value.get() > before)  # type: ignore[misc]
    attempts = await dispatch.node.database.pool.fetch("SELECT DISTINCT attempt_count FROM unassigned_orders")
    assert [row[0] for row in attempts] == [1]
    of_orders = [event for commit in dispatch.commits for event in commit.events if event.delivery_id is not None]
    assert len(of_orders) == 3 * len(orders)  # beside them the monitor may raise an alert
    assert RECORDED.labels("no_driver_in_zone")._value.get() == commands


async def test_an_order_made_on_another_node_is_offered_by_the_holder(
    start: StartDispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.dispatcher.matcher.POLL_SECONDS", 600.0)
    outlast_pauses(monkeypatch)
    holder = await start()
    await until(lambda: holder.node.lease.held)
    other = await start()
    dan = await holder.a_driver()
    delivery_id = await other.an_order()
    assert await offered(holder, delivery_id) == dan
    assert not other.node.lease.held


async def test_without_redis_another_nodes_order_is_found_by_polling(start: StartDispatch) -> None:
    holder = await start(redis_url=NOWHERE)
    await until(lambda: holder.node.lease.held)
    other = await start(redis_url=NOWHERE)
    dan = await holder.a_driver()
    delivery_id = await other.an_order()
    assert await offered(holder, delivery_id) == dan


async def test_orders_that_waited_for_a_node_are_offered_when_one_comes(start: StartDispatch) -> None:
    first = await start()
    dan = await first.a_driver()
    await first.node.lease.release()
    delivery_id = await first.an_order()
    second = await start()
    assert await offered(second, delivery_id) == dan


async def test_zones_are_forgotten_when_they_are_many(dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch) -> None:
    """Order sources name them as they like: one a day, or one an order."""
    monkeypatch.setattr("server.dispatcher.zone_plans.ZONES", 2)
    matcher = dispatch.node.matcher
    orders = [await dispatch.an_order(zone=f"street {number}") for number in range(4)]
    await until(lambda: matcher._backlog.waits.keys() == set(orders))
    assert list(matcher._plans._recent) == ["street 2", "street 3"]
    assert len(matcher._backlog.pickups) == 4
    for delivery_id in orders:
        await dispatch.done(c.CancelDelivery(delivery_id, "changed their mind", SHOP))
    await until(lambda: not matcher._backlog.waits)
    assert not matcher._backlog.pickups


async def test_a_cancelled_order_is_no_longer_searched_for(dispatch: Dispatch) -> None:
    delivery_id = await dispatch.an_order()
    await until(lambda: _is(failure_of(dispatch, delivery_id), "no_driver_in_zone"))
    await dispatch.done(c.CancelDelivery(delivery_id, "changed their mind", SHOP))
    await dispatch.a_driver()
    another = await dispatch.an_order()
    await offered(dispatch, another)
    assert (await dispatch.events(delivery_id))[-1] == "delivery.cancelled"


async def _nearest(dispatch: Dispatch, delivery_id: str) -> Nearest | None:
    (row,) = await read_waiting(dispatch.node.database.pool, None, None, 2)
    assert row.delivery_id == delivery_id
    return row.nearest


async def _is(value: Any, wanted: str) -> bool:
    return bool(await value == wanted)


async def _offers(dispatch: Dispatch, count: int) -> dict[str, str] | None:
    rows = await dispatch.node.database.pool.fetch(
        "SELECT delivery_id, driver_id FROM driver_offers WHERE status = 'PENDING'"
    )
    return dict(rows) if len(rows) == count else None


async def _recorded(dispatch: Dispatch, reason: str, count: int) -> bool:
    found = await dispatch.one("SELECT count(*) FROM unassigned_orders WHERE failure_reason = $1", reason)
    return bool(found == count)
