"""Ten minutes of a day, dispatched by a node and by the replay: the same orders are offered to the same couriers at the
same times.

Time is halted on the node and in its database until the test moves it, and the node plans when the test says so: both
plan at the same moments, however slow the machine is.
"""

import asyncio
from collections.abc import Coroutine
from datetime import datetime
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch.model import Position
from server.dispatch.planning.plan import NO_PLAN, Planned
from server.dispatch.policy import DEFAULT_POLICY
from server.replay.couriers import Rider
from server.replay.replay import ROUND_SECONDS, Options, Replay
from server.replay.virtual_day import MIDNIGHT, instant_of
from server.simulate.day import Courier, Day, Order
from server.store.clock import DatabaseClock, DatabaseTime
from server.store.engine import DATABASE_ERRORS
from server.store.rows import read_work
from tests.dispatcher.conftest import ADA, Dispatch, StartDispatch
from tests.waiting import outlast_pauses, until

TEN_MINUTES = 600.0
LONGER = 3600.0
CLOCK = """
CREATE TABLE halted_time (at timestamptz NOT NULL);
INSERT INTO halted_time VALUES ('2026-01-01T00:00:00Z');
"""
MOVE = "UPDATE halted_time SET at = $1"
NOW = "CREATE FUNCTION public.{name}() RETURNS timestamptz LANGUAGE sql AS 'SELECT at FROM public.halted_time'"
OPEN_OFFERS = """
SELECT delivery_id::text, driver_id::text, id::text FROM driver_offers WHERE status = 'PENDING' ORDER BY driver_id
"""
HOLDS_OVER = "SELECT EXISTS (SELECT FROM deliveries WHERE status = 'READY' AND held_until <= $1)"
NAMES = ("clock_timestamp", "now", "statement_timestamp", "transaction_timestamp")

T = TypeVar("T")


class HaltedClock:
    """The time of the database and of the node. Deadlines until `kept` come at once; the others are an hour away."""

    at = kept = MIDNIGHT

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def install(self) -> None:
        connection = await asyncpg.connect(self._url)
        await connection.execute(CLOCK)
        for name in NAMES:
            await connection.execute(NOW.format(name=name))
        database = await connection.fetchval("SELECT quote_ident(current_database())")
        await connection.execute(f"ALTER DATABASE {database} SET search_path = public, pg_catalog")
        await connection.close()

    async def move(self, dispatch: Dispatch, at: datetime) -> None:
        if at != self.at:
            await dispatch.execute(MOVE, at)
            self.at = at


@pytest.fixture
async def halted(database_url: str, monkeypatch: pytest.MonkeyPatch) -> HaltedClock:
    clock = HaltedClock(database_url)
    await clock.install()

    def on_loop(_: DatabaseTime, at: datetime) -> float:
        return asyncio.get_running_loop().time() + LONGER if at > clock.kept else 0.0

    monkeypatch.setattr(DatabaseTime, "on_loop", on_loop)
    monkeypatch.setattr(DatabaseClock, "seconds", lambda _: clock.at.timestamp())
    monkeypatch.setattr(DatabaseTime, "now", lambda _: clock.at)
    outlast_pauses(monkeypatch)
    # The replay plans every 30 s, and follows each plan.
    monkeypatch.setattr("server.dispatcher.holds.LAST_LOOK_SECONDS", ROUND_SECONDS)
    monkeypatch.setattr("server.dispatcher.holds.MOVED_SECONDS", 0.0)
    monkeypatch.setattr("server.dispatcher.holds.SPACING", 0.0)
    return clock


class Live(Replay):
    """The replay with a node in place of the planner: what couriers do is the same. It runs in a thread.

    The node makes one round at a time, and the day goes on when all that follows from it is committed. So it is the
    same however slow the machine is.
    """

    def __init__(self, day: Day, options: Options, dispatch: Dispatch, clock: HaltedClock) -> None:
        super().__init__(day, DEFAULT_POLICY, options)
        self._dispatch, self._clock = dispatch, clock
        self._loop = asyncio.get_running_loop()
        self._may_begin, self._ended = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self._offer_ids: dict[str, str] = {}
        self._one_round = dispatch.node.matcher._round
        dispatch.node.matcher._round = self._gated_round  # type: ignore[method-assign]

    async def play(self) -> None:
        await self._dispatch.done(c.ChangePolicy(self._policy, ADA))
        await until(lambda: self._dispatch.node.matcher.fleet.ready)
        await asyncio.to_thread(self.run)

    async def _gated_round(self) -> None:
        await self._may_begin.acquire()
        try:
            await self._one_round()
        except DATABASE_ERRORS:
            self._may_begin.release()  # the matcher begins another one
            raise
        self._ended.release()

    def _on_node(self, what: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(what, self._loop).result()

    def _do(self, command: c.Command) -> None:
        """The rules of the replay must agree with what the node did."""
        super()._do(command)
        self._on_node(self._do_there(command))

    async def _do_there(self, command: c.Command) -> None:
        await self._clock.move(self._dispatch, instant_of(self._now))
        if isinstance(command, c.ConnectDriver):
            await self._dispatch.connect(command.driver_id)
        elif isinstance(command, c.AcceptOffer):
            offer_id, order = self._offer_ids[command.offer_id], order_of(command.new_assignment_id)
            await self._dispatch.done(replace(command, offer_id=offer_id, new_assignment_id=order))
        elif isinstance(command, c.RejectOffer):
            await self._dispatch.done(replace(command, offer_id=self._offer_ids[command.offer_id]))
        elif isinstance(command, c.PickUp | c.Complete):
            await self._dispatch.done(replace(command, assignment_id=order_of(command.assignment_id)))
        elif not isinstance(command, c.OfferDelivery):
            await self._dispatch.done(command)

    def _propose(self) -> None:
        """Let the node plan, and answer its offers, until it makes no more."""
        for rider in self._riders.values():
            self._world.known_driver(rider.name).position = Position(*rider.spot_at(self._now), self._world.now)
        while offers := self._on_node(self._offers_there()):
            for order, courier, offer_id in offers:
                place = self._world.known_driver(courier).position
                assert place is not None
                self._offer_ids[f"{order} to {courier}"] = offer_id
                self._offer(order, courier, place.lat, place.lon)

    async def _offers_there(self) -> list[tuple[str, str, str]]:
        """The offers that the node makes at this moment: order, courier, and the offer's id. It looks at holds before
        they end.
        """
        node = self._dispatch.node
        await self._clock.move(self._dispatch, instant_of(self._now))
        for rider in self._riders.values():
            node.positions.moved(rider.name, *rider.spot_at(self._now))
        await node.positions.store()
        while True:
            before = self._holds_changed()
            node.matcher.wake()
            self._may_begin.release()
            await self._ended.acquire()
            await until(lambda: not node.matcher._backlog.offering)
            offers = [tuple(row) for row in await node.database.pool.fetch(OPEN_OFFERS)]
            if offers:
                return offers
            if before == self._holds_changed():
                await self._end_holds()
            if before == self._holds_changed():
                return []

    def _holds_changed(self) -> int:
        """How often until now."""
        events = (event.type for commit in self._dispatch.commits for event in commit.events)
        return sum(type_ in ("delivery.held", "delivery.hold_ended") for type_ in events)

    async def _end_holds(self) -> None:
        """If the time of a hold has come, let the deadlines until now come."""
        node = self._dispatch.node
        if await self._dispatch.one(HOLDS_OVER, self._clock.at):
            self._clock.kept = self._clock.at
            node.deadlines._forget()
            node.deadlines.look_now()
            await until(self._no_hold_is_over)

    async def _no_hold_is_over(self) -> bool:
        return not await self._dispatch.one(HOLDS_OVER, self._clock.at)

    def _follow(self, rider: Rider) -> None:
        self._plan = replace(NO_PLAN, runs={rider.name: self._on_node(self._stops_there(rider.name))})
        super()._follow(rider)

    async def _stops_there(self, courier: str) -> tuple[Planned, ...]:
        """The courier's stops as the node has stored them."""
        theirs = (await read_work(self._dispatch.node.database.pool, [courier]))[courier]
        if theirs.stops:
            return tuple((stop.delivery_id, stop.kind != "pickup") for stop in theirs.stops if stop.done_at is None)
        (only,) = theirs.deliveries
        return (only, False), (only, True)


def order_of(assignment_id: str) -> str:
    """The order's own id is that of its assignment there."""
    return assignment_id.split(" by ")[0]


def a_day(seed: int, couriers: int, orders: int) -> Day:
    """Ten minutes of orders in a town of six kilometres, placed at full minutes as in the files, with goods that are
    ready after 4 to 12 minutes. Each has another store, since all ways to pair orders of one store cost the same.
    Stops take no time, since the node does not know when one began.
    """
    chance = Random(seed)

    def name() -> str:
        return str(UUID(int=chance.getrandbits(128), version=4))

    def spot() -> tuple[float, float]:
        return chance.uniform(500, 6500), chance.uniform(500, 6500)

    placed = sorted(60.0 * chance.randrange(10) for _ in range(orders))
    day = [Order(name(), str(at), spot(), spot(), at, at + 60.0 * chance.randint(4, 12)) for at in placed]
    return Day("ten minutes", day, [Courier(name(), spot(), 0.0, 14400.0) for _ in range(couriers)], 5.0, 0, 0, 2400)


async def test_ten_minutes_live_are_those_of_the_replay(start: StartDispatch, halted: HaltedClock) -> None:
    """What would differ on other days, and why: the node offers an order at once when its goods are ready, and it does
    not see that a courier has left a store until they are 150 m away.
    """
    day, options = a_day(seed=13, couriers=24, orders=24), Options(until=TEN_MINUTES)
    replay = Replay(day, DEFAULT_POLICY, options)
    replay.run()
    live = Live(day, options, await start(), halted)
    await live.play()
    assert {offer.order: offer for offer in live.offers} == {offer.order: offer for offer in replay.offers}
    assert len(live.offers) == len(replay.offers)
    placed = {order.name: order.placed for order in day.orders}
    waited = [offer.offered_at - placed[offer.order] for offer in live.offers]
    assert len(waited) > 20
    assert sum(seconds >= 2 * ROUND_SECONDS for seconds in waited) > 5
