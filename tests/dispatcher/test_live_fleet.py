"""What the node with the lease knows of the drivers: what was answered counts at once, what was lost is repaired."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from msgspec import structs

from server.dispatch import commands as c
from server.dispatch.model import Driver
from server.dispatch.planning.nearby import Nearby
from server.dispatcher import live_fleet, matcher
from server.dispatcher.backlog import POLLED_SECONDS, Backlog
from server.dispatcher.live_fleet import LiveFleet
from server.ids import new_id
from tests.builders import a_delivery
from tests.dispatcher.conftest import KM, PICKUP, SHOP, Dispatch, StartDispatch, by
from tests.waiting import outlast_pauses, until

NORTH, EAST = PICKUP
NEVER = 600.0
ROUNDS = 50


def fleet_of(dispatch: Dispatch) -> LiveFleet:
    return dispatch.node.matcher.fleet


async def offered(dispatch: Dispatch, delivery_id: str) -> str:
    """The driver who has an offer of the delivery."""
    return await until(lambda: dispatch.offered_to(delivery_id)) or ""


class Return:
    """How a driver leaves, and comes back with an answer."""

    def __init__(self, dispatch: Dispatch, driver_id: str) -> None:
        self.dispatch = dispatch
        self.driver_id = driver_id

    async def resume(self) -> None:
        await self.dispatch.done(c.Pause(self.driver_id, by(self.driver_id)))
        await self.dispatch.done(c.Resume(self.driver_id, by(self.driver_id)))

    async def complete(self) -> None:
        order = await self.dispatch.an_order()
        assert await offered(self.dispatch, order) == self.driver_id
        offer_id = await self.dispatch.open_offer(order)
        answer = await self.dispatch.done(c.AcceptOffer(offer_id or "", self.driver_id, new_id(), by(self.driver_id)))
        assert answer.assignment is not None
        await self.dispatch.done(c.PickUp(answer.assignment.id, self.driver_id, by(self.driver_id)))
        await self.dispatch.done(c.Complete(answer.assignment.id, self.driver_id, by(self.driver_id)))

    async def move(self) -> None:
        positions = self.dispatch.node.positions
        for place in (NORTH + 0.5, NORTH):
            for _ in range(2):  # a jump counts once a second position agrees
                positions.moved(self.driver_id, place, EAST)

    async def connect(self) -> None:
        session = await self.dispatch.connect(self.driver_id)
        await self.dispatch.done(c.DisconnectDriver(self.driver_id, session))
        await self.dispatch.connect(self.driver_id)


@pytest.mark.parametrize("way", ["resume", "complete", "move", "connect"])
async def test_an_order_after_an_answer_finds_the_driver_that_it_made_free(dispatch: Dispatch, way: str) -> None:
    """Also if the matcher has looked at another order meanwhile."""
    await dispatch.a_driver(NORTH + 2 * KM)
    dan = await dispatch.a_driver()
    await until(lambda: fleet_of(dispatch).ready)
    come_back: Callable[[], Awaitable[None]] = getattr(Return(dispatch, dan), way)
    for _ in range(ROUNDS):
        await come_back()
        orders = [await dispatch.an_order(NORTH + 80 * KM), await dispatch.an_order()]
        assert await offered(dispatch, orders[1]) == dan
        for order in orders:
            await dispatch.done(c.CancelDelivery(order, "changed their mind", SHOP))


async def test_an_order_after_the_first_position_of_all_finds_the_driver(dispatch: Dispatch) -> None:
    """The rules know of a position only when it is stored."""
    await until(lambda: fleet_of(dispatch).ready)
    for _ in range(5):
        dan = new_id()
        await dispatch.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
        await dispatch.connect(dan)
        dispatch.node.positions.moved(dan, NORTH, EAST)
        order = await dispatch.an_order()
        assert await offered(dispatch, order) == dan
        assert "delivery.search_failed" not in await dispatch.events(order)


async def test_a_driver_who_only_calls_is_found_right_after_the_call(dispatch: Dispatch) -> None:
    await until(lambda: fleet_of(dispatch).ready)
    dan = new_id()
    await dispatch.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
    await dispatch.put(dan, NORTH, EAST)
    assert await dispatch.node.seen(dan) is None
    await dispatch.done(c.Resume(dan, by(dan)))
    order = await dispatch.an_order()
    assert await offered(dispatch, order) == dan


async def test_a_change_that_no_hint_announced_is_found(dispatch: Dispatch) -> None:
    dan, dora = await dispatch.a_driver(), await dispatch.a_driver(NORTH + KM)
    await until(lambda: dora in fleet_of(dispatch).nearby.drivers)
    await dispatch.execute("UPDATE drivers SET availability = 'paused' WHERE id = $1", dan)
    await until(lambda: fleet_of(dispatch).nearby.drivers[dan].availability == "paused")
    assert await offered(dispatch, await dispatch.an_order()) == dora
    await dispatch.execute("UPDATE drivers SET availability = 'offline' WHERE id = $1", dan)
    await until(lambda: dan not in fleet_of(dispatch).nearby.drivers)
    await dispatch.execute("UPDATE drivers SET availability = 'available' WHERE id = $1", dan)
    assert await offered(dispatch, await dispatch.an_order()) == dan


async def test_a_driver_who_turned_out_to_be_busy_is_read_at_once(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_fleet, "CYCLE_SECONDS", NEVER)
    dan, dora = await dispatch.a_driver(), await dispatch.a_driver(NORTH + KM)
    await until(lambda: fleet_of(dispatch).ready and len(fleet_of(dispatch).nearby.drivers) == 2)
    await dispatch.execute("UPDATE drivers SET availability = 'paused' WHERE id = $1", dan)
    assert await offered(dispatch, await dispatch.an_order()) == dora
    await until(lambda: fleet_of(dispatch).nearby.drivers[dan].availability == "paused")


async def test_the_older_of_two_commits_does_not_count(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver()
    fleet = fleet_of(dispatch)
    await until(lambda: dan in fleet.nearby.drivers and fleet.ready)
    now = await dispatch.one("SELECT clock_timestamp()")
    here = fleet.nearby.drivers[dan]
    fleet._learn(structs.replace(here, availability="paused"), now)
    fleet._learn(here, now - timedelta(seconds=1))
    assert fleet.nearby.drivers[dan].availability == "paused"


async def test_a_read_that_began_before_a_commit_does_not_undo_it(dispatch: Dispatch) -> None:
    dan = await dispatch.a_driver()
    fleet = fleet_of(dispatch)
    await until(lambda: dan in fleet.nearby.drivers and fleet.ready)
    before: Driver = structs.replace(fleet.nearby.drivers[dan])
    await dispatch.done(c.Pause(dan, by(dan)))
    fleet._read([before], asked=0.0)
    assert fleet.nearby.drivers[dan].availability == "paused"


@pytest.fixture
async def others(start: StartDispatch, monkeypatch: pytest.MonkeyPatch) -> tuple[Dispatch, Dispatch]:
    """The node with the lease, and another; only hints tell the first of the second."""
    outlast_pauses(monkeypatch)
    holder = await start()
    await until(lambda: fleet_of(holder).ready)
    other = await start()
    await until(lambda: other.node.bus.connected and holder.node.bus.connected)
    monkeypatch.setattr(live_fleet, "CYCLE_SECONDS", NEVER)
    monkeypatch.setattr(matcher, "POLL_SECONDS", NEVER)
    return holder, other


async def test_commits_and_positions_of_another_node_are_known_by_its_hints(
    others: tuple[Dispatch, Dispatch],
) -> None:
    holder, other = others
    dan = await other.a_driver(NORTH + 30 * KM)
    nearby = fleet_of(holder).nearby
    await until(lambda: dan in nearby.drivers)
    assert (nearby.drivers[dan].name, nearby.drivers[dan].phone) == ("", None)
    other.node.positions.moved(dan, NORTH, EAST)

    def there() -> bool:
        place = nearby.place(dan)
        return place is not None and place[:2] == (NORTH, EAST)

    await until(there)
    order = await other.an_order()
    assert await offered(holder, order) == dan
    assert not other.node.lease.held


async def test_an_order_gets_the_driver_whom_its_node_has_just_heard_of(others: tuple[Dispatch, Dispatch]) -> None:
    """Though that driver was never stored, the lease is another node's, and somebody farther away is free."""
    holder, other = others
    dora = await other.a_driver(NORTH + 3 * KM)
    await until(lambda: dora in fleet_of(holder).nearby.drivers)
    for _ in range(20):
        dan = new_id()
        await other.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
        await other.connect(dan)
        other.node.positions.moved(dan, NORTH, EAST)
        order = await other.an_order()
        assert await offered(holder, order) == dan
        assert await other.events(order) == ["delivery.created", "delivery.ready", "offer.created"]


async def test_an_order_gets_the_driver_who_is_nearest_by_the_last_position_on_its_node(
    others: tuple[Dispatch, Dispatch],
) -> None:
    """Both are known and stored; each time the other one has just come nearer."""
    holder, other = others
    nearby = fleet_of(holder).nearby
    dan, dora = await other.a_driver(NORTH), await other.a_driver(NORTH + KM)
    other.node.positions.moved(dan, NORTH, EAST)
    other.node.positions.moved(dora, NORTH + KM, EAST)
    await other.node.positions.store()
    await until(lambda: {dan, dora} <= nearby.drivers.keys())
    for turn in range(30):
        near, far = (dan, dora) if turn % 2 else (dora, dan)
        other.node.positions.moved(far, NORTH + KM, EAST)
        other.node.positions.moved(near, NORTH, EAST)
        order = await other.an_order()
        assert await offered(holder, order) == near
        await other.done(c.CancelDelivery(order, "again", SHOP))
        await until(partial(_is_free, nearby, near))


def _is_free(nearby: Nearby, driver_id: str) -> bool:
    return nearby.drivers[driver_id].open_offer_id is None


async def test_an_order_gets_the_driver_who_was_paused_without_a_position(others: tuple[Dispatch, Dispatch]) -> None:
    """They come back to work, and nothing of them is stored."""
    holder, other = others
    dora = await other.a_driver(NORTH + 3 * KM)
    await until(lambda: dora in fleet_of(holder).nearby.drivers)
    dan = new_id()
    await other.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
    await other.connect(dan)
    await other.done(c.EndShift(dan, by(dan)))
    other.node.positions.moved(dan, NORTH, EAST)
    await until(lambda: not other.node.positions._moved)  # the holder has heard of it, but not of the driver
    await other.done(c.Resume(dan, by(dan)))
    order = await other.an_order()
    assert await offered(holder, order) == dan


async def test_a_call_counts_for_the_next_order_of_its_node(others: tuple[Dispatch, Dispatch]) -> None:
    holder, other = others
    dora = await other.a_driver(NORTH + 3 * KM)
    await until(lambda: dora in fleet_of(holder).nearby.drivers)
    for _ in range(10):
        dan = new_id()
        await other.done(c.RegisterDriver(dan, "Dan", "default", 1, SHOP))
        await other.put(dan, NORTH, EAST)
        assert await other.node.seen(dan) is None
        order = await other.an_order()
        assert await offered(holder, order) == dan
        assert await other.events(order) == ["delivery.created", "delivery.ready", "offer.created"]


async def test_an_order_that_was_only_polled_waits_for_the_hint_of_its_node(dispatch: Dispatch) -> None:
    backlog = Backlog(dispatch.node.database_time)
    order = a_delivery()
    assert backlog.learn([order], 100.0, polled=True)
    assert backlog.take_due(100.0, 9) == []
    assert backlog.learn([order], 100.1)
    (wait,) = backlog.take_due(100.1, 9)
    assert wait.delivery is order
    other = a_delivery("cake")
    assert backlog.learn([other], 200.0, polled=True)
    assert [wait.delivery for wait in backlog.take_due(200.0 + POLLED_SECONDS, 9)] == [other]


async def test_a_round_takes_a_part_of_what_is_due_and_the_rest_stays_due(dispatch: Dispatch) -> None:
    backlog = Backlog(dispatch.node.database_time)
    orders = [a_delivery(f"order {number}") for number in range(5)]
    assert backlog.learn(orders, 100.0)
    rounds = []
    while backlog.next_due() <= 100.0:
        rounds.append([wait.delivery for wait in backlog.take_due(100.0, 2)])
    assert rounds == [orders[:2], orders[2:4], orders[4:]]


async def test_a_node_that_takes_the_lease_knows_all_drivers(
    start: StartDispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_fleet, "SLICE", 2)
    first = await start()
    drivers = [await first.a_driver(NORTH + KM * n / 10) for n in range(5)]
    await first.done(c.EndShift(drivers[4], by(drivers[4])))
    second = await start()
    assert not fleet_of(second).nearby.drivers
    await first.node.lease.release()
    await until(lambda: fleet_of(second).ready)
    assert set(fleet_of(second).nearby.drivers) == set(drivers[:4])
    await until(lambda: not fleet_of(first).nearby.drivers)


async def test_a_driver_who_moved_is_found_by_the_order_that_waits_longest(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though a younger order is the reason to look."""
    dan = await dispatch.a_driver(NORTH + 30 * KM)
    await until(lambda: fleet_of(dispatch).ready)
    monkeypatch.setattr(matcher, "RETRY_SECONDS", NEVER)
    monkeypatch.setattr(matcher, "LONGEST_RETRY_SECONDS", NEVER)
    monkeypatch.setattr(matcher, "POLL_SECONDS", NEVER)
    old = await dispatch.an_order()
    await until(lambda: _is_put_off(dispatch, old))
    for _ in range(2):
        dispatch.node.positions.moved(dan, NORTH, EAST)
    assert await dispatch.offered_to(old) is None
    young = await dispatch.an_order()
    assert await offered(dispatch, old) == dan
    assert await dispatch.offered_to(young) is None


async def test_many_orders_without_drivers_are_searched_less_often(
    dispatch: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(matcher, "RETRIES_A_SECOND", 0.01)
    await until(lambda: fleet_of(dispatch).ready)
    order = await dispatch.an_order()
    await until(lambda: _is_put_off(dispatch, order))


def _is_put_off(dispatch: Dispatch, delivery_id: str) -> bool:
    wait: Any = dispatch.node.matcher._backlog.waits.get(delivery_id)
    soonest = asyncio.get_running_loop().time() + matcher.STEP_SECONDS + 0.5
    return wait is not None and soonest < wait.due < float("inf")
