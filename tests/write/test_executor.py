"""The one write path on a real database: batches, races, poisoned and blocked commands, lost COMMITs."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any, Self

import asyncpg
import msgspec
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from server.contract.commit import Answer, Committed
from server.current_policy import KnownZones
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import Actor, Place
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.store.due import read_due
from server.store.engine import Database
from server.tasks import stop, supervised
from server.write.executor import Executor, NodeCopies
from server.write.transaction import Writer
from tests.open_database import open_database
from tests.relay import slow_to_hang_up
from tests.waiting import until

SHOP = Actor("service", "shop")
ALICE = Actor("ops", "alice")


class Dispatch:
    """An executor at work, what it made public, and short words for the commands of these tests."""

    def __init__(
        self, database: Database, *, writes: Any = None, copies: dict[str, Any] | None = None, **options: Any
    ) -> None:
        self.database = database
        self.policy: Policy = DEFAULT_POLICY
        known = NodeCopies(lambda: self.policy, **(copies or {}))
        self.executor = Executor(writes or database, known, **options)
        self.commits: list[Committed] = []
        self.executor.listeners.append(self.commits.append)
        self._lane = supervised("executor", self.executor.run)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self.executor.close()
        await stop(self._lane)

    async def done(self, command: c.Command) -> Answer:
        answer = await self.executor.submit(command)
        assert isinstance(answer, Answer), answer
        return answer

    async def a_driver(self, capacity: int = 1) -> str:
        """A driver on a socket, at the pickup, dispatchable."""
        driver_id = new_id()
        await self.done(c.RegisterDriver(driver_id, "Dan", "default", capacity, SHOP))
        await self.done(c.ConnectDriver(driver_id, new_id(), new_id(), Actor("driver", driver_id)))
        await self.database.pool.execute(
            "INSERT INTO driver_positions (driver_id, lat, lon, at) VALUES ($1, 52.5, 13.4, now())", driver_id
        )
        return driver_id

    async def a_delivery(self) -> str:
        return (await self.done(a_creation())).decided.delivery_id or ""

    async def an_open_offer(self, driver_id: str, delivery_id: str | None = None) -> str:
        delivery_id = delivery_id or await self.a_delivery()
        return (await self.done(c.OfferDelivery(delivery_id, driver_id, new_id(), 52.5, 13.4))).decided.offer_id or ""

    async def one(self, query: str, *args: Any) -> Any:
        return await self.database.pool.fetchval(query, *args)


@asynccontextmanager
async def nodes_on(database: Database, count: int) -> AsyncIterator[list[Dispatch]]:
    """So many executors on one database, as nodes have them."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Dispatch(database)) for _ in range(count)]


def a_creation(order: str | None = None, fingerprint: str = "f") -> c.CreateDelivery:
    here, there = Place(52.5, 13.4), Place(52.51, 13.41)
    return c.CreateDelivery(new_id(), "shop", order or new_id(), "Pizza", "default", here, there, 0, fingerprint, SHOP)


def accept(offer_id: str, driver_id: str) -> c.AcceptOffer:
    return c.AcceptOffer(offer_id, driver_id, new_id(), Actor("driver", driver_id))


@pytest.fixture
async def dispatch(database: Database) -> AsyncIterator[Dispatch]:
    """Patient: a busy machine may be slow, and few tests are about the limit."""
    async with Dispatch(database, wait_limit_seconds=600.0) as dispatch:
        yield dispatch


async def test_state_and_events_are_there_once_the_answer_is(dispatch: Dispatch) -> None:
    driver_id = await dispatch.a_driver()
    offer_id = await dispatch.an_open_offer(driver_id)
    answer = await dispatch.done(accept(offer_id, driver_id))
    assert answer.assignment is not None
    assert answer.delivery is not None
    assert answer.assignment.source == "accepted"
    status = await dispatch.one("SELECT status FROM deliveries WHERE id = $1", answer.delivery.id)
    assert status == "ASSIGNED"
    types = await dispatch.database.pool.fetch(
        "SELECT type FROM events WHERE delivery_id = $1 ORDER BY id", answer.delivery.id
    )
    assert [row[0] for row in types] == [
        "delivery.created",
        "delivery.ready",
        "offer.created",
        "offer.accepted",
        "delivery.assigned",
    ]


async def test_news_come_after_the_commit_with_gap_free_numbers(dispatch: Dispatch) -> None:
    driver_id = await dispatch.a_driver()
    offer_id = await dispatch.an_open_offer(driver_id)
    await dispatch.done(accept(offer_id, driver_id))
    numbers = [m.seq for commit in dispatch.commits for m in commit.messages if m.driver_id == driver_id]
    assert numbers == list(range(1, len(numbers) + 1))
    stored = await dispatch.one(
        "SELECT array_agg(seq ORDER BY seq) FROM driver_messages WHERE driver_id = $1", driver_id
    )
    assert stored == numbers


async def test_accepting_twice_returns_the_same_assignment(dispatch: Dispatch) -> None:
    driver_id = await dispatch.a_driver()
    offer_id = await dispatch.an_open_offer(driver_id)
    first, second = await asyncio.gather(*(dispatch.done(accept(offer_id, driver_id)) for _ in range(2)))
    assert first.assignment == second.assignment
    assert second.decided.repeated


async def test_commands_that_arrive_together_share_a_transaction(dispatch: Dispatch) -> None:
    await dispatch.a_delivery()
    before = len(dispatch.commits)
    await asyncio.gather(*(dispatch.done(a_creation()) for _ in range(40)))
    assert len(dispatch.commits) - before <= 2
    assert await dispatch.one("SELECT count(*) FROM deliveries") == 41


async def test_later_commands_of_a_batch_see_the_effects_of_earlier_ones(dispatch: Dispatch) -> None:
    driver_id = await dispatch.a_driver()
    first, second = await dispatch.a_delivery(), await dispatch.a_delivery()
    offers = [c.OfferDelivery(d, driver_id, new_id(), 52.5, 13.4) for d in (first, second)]
    answers = await asyncio.gather(*(dispatch.executor.submit(command) for command in offers))
    assert isinstance(answers[0], Answer)
    assert isinstance(answers[1], Refusal)
    assert answers[1].code == "driver_not_available"


async def test_a_failed_search_leaves_nothing_of_an_earlier_wait_in_its_batch(dispatch: Dispatch) -> None:
    delivery_id = await dispatch.a_delivery()
    failed = c.NoteFailedSearch(delivery_id, "no_driver_in_zone")
    cancelled, restored = c.CancelDelivery(delivery_id, "a mistake", ALICE), c.RestoreDelivery(delivery_id, ALICE)
    await asyncio.gather(*(dispatch.done(command) for command in (failed, cancelled, restored)))
    assert len(dispatch.commits) == 2, "not in one batch"
    wait = "SELECT escalation_status || ' ' || failure_reason || ' ' || attempt_count FROM unassigned_orders"
    assert await dispatch.one(f"{wait} WHERE delivery_id = $1", delivery_id) == "PENDING searching 0"


async def test_the_same_order_twice_in_one_batch_is_one_delivery(dispatch: Dispatch) -> None:
    answers = await asyncio.gather(*(dispatch.done(a_creation("order-1")) for _ in range(5)))
    assert len({answer.decided.delivery_id for answer in answers}) == 1
    other = msgspec.structs.replace(a_creation("order-1", fingerprint="other"), store_name="Sushi")
    differs = await dispatch.executor.submit(other)
    assert isinstance(differs, Refusal)
    assert (differs.code, differs.more["fields"]) == ("delivery_differs", ["storeName"])


async def test_the_same_order_on_many_nodes_is_one_delivery(database: Database) -> None:
    async with nodes_on(database, 4) as nodes:
        for order in range(10):
            answers = await asyncio.gather(*(node.done(a_creation(f"order-{order}")) for node in nodes))
            assert len({answer.decided.delivery_id for answer in answers}) == 1


async def test_of_many_accepts_on_many_nodes_one_wins(database: Database) -> None:
    async with nodes_on(database, 3) as nodes:
        driver_id = await nodes[0].a_driver(capacity=1)
        for _ in range(10):
            offer_id = await nodes[0].an_open_offer(driver_id)
            answers = await asyncio.gather(*(n.done(accept(offer_id, driver_id)) for n in nodes for _ in range(3)))
            assert len({answer.decided.assignment_id for answer in answers}) == 1
            assert sum(not answer.decided.repeated for answer in answers) == 1
            assignment_id = answers[0].decided.assignment_id
            assert assignment_id is not None
            await nodes[1].done(c.Complete(assignment_id, driver_id, Actor("driver", driver_id)))


async def test_accept_against_cancel_on_two_nodes_leaves_one_truth(database: Database) -> None:
    outcomes: Counter[str] = Counter()
    async with nodes_on(database, 2) as nodes:
        for _ in range(20):
            driver_id = await nodes[0].a_driver()
            delivery_id = await nodes[0].a_delivery()
            offer_id = await nodes[0].an_open_offer(driver_id, delivery_id)
            accepted, cancelled = await asyncio.gather(
                nodes[0].executor.submit(accept(offer_id, driver_id)),
                nodes[1].executor.submit(c.CancelDelivery(delivery_id, "changed mind", ALICE)),
            )
            assert isinstance(cancelled, Answer)
            assert isinstance(accepted, Answer) or accepted == r.OFFER_NO_LONGER_OPEN
            outcomes["accepted first" if isinstance(accepted, Answer) else "cancelled first"] += 1
            row = await database.pool.fetchrow(
                "SELECT d.status, v.active_count, v.open_offer_id FROM deliveries d, drivers v"
                " WHERE d.id = $1 AND v.id = $2",
                delivery_id,
                driver_id,
            )
            assert tuple(row) == ("CANCELLED", 0, None)
    assert outcomes.total() == 20


async def test_a_poisoned_command_does_not_take_its_neighbours_down(dispatch: Dispatch) -> None:
    good = [a_creation() for _ in range(5)]
    poison = a_creation(order="NUL \x00 is no text")
    answers = await asyncio.gather(*(dispatch.executor.submit(command) for command in [*good[:3], poison, *good[3:]]))
    assert [type(answer) for answer in answers] == [Answer, Answer, Answer, Refusal, Answer, Answer]
    assert answers[3] == r.INTERNAL_ERROR
    assert await dispatch.one("SELECT count(*) FROM deliveries") == 5


async def test_a_command_that_comes_as_the_connection_is_laid_down_is_taken_up_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not when the next command comes, nor when it has waited for too long."""
    late: list[asyncio.Future[Any]] = []
    async with Dispatch(database, wait_limit_seconds=30.0) as dispatch:

        async def rest(writer: Writer) -> None:
            if not late:
                late.append(dispatch.executor.submit(a_creation()))
            await as_it_is(writer)

        as_it_is = Writer.rest
        monkeypatch.setattr(Writer, "rest", rest)
        await dispatch.a_delivery()
        await until(lambda: late)
        assert isinstance(await late[0], Answer)


async def test_a_locked_row_delays_its_own_command_only(dispatch: Dispatch) -> None:
    held, free = await dispatch.a_delivery(), await dispatch.a_delivery()
    async with locked(dispatch.database, "SELECT FROM deliveries WHERE id = $1 FOR UPDATE", held) as holder:
        blocked = dispatch.executor.submit(c.CancelDelivery(held, "no", ALICE))
        passing = dispatch.executor.submit(c.CancelDelivery(free, "no", ALICE))
        assert isinstance(await passing, Answer)
        for _ in range(5):
            await dispatch.a_delivery()
        assert not blocked.done()
        await holder.execute("ROLLBACK")
        assert isinstance(await blocked, Answer)


async def test_commands_on_a_locked_row_are_refused_in_the_end_and_stay_in_order(database: Database) -> None:
    async with (
        Dispatch(database, wait_limit_seconds=1.0) as dispatch,
        Dispatch(database, wait_limit_seconds=600.0) as patient,
    ):
        held = await patient.a_delivery()
        async with locked(database, "SELECT FROM deliveries WHERE id = $1 FOR UPDATE", held):
            assert await dispatch.executor.submit(c.CancelDelivery(held, "no", ALICE)) == r.TRY_AGAIN
        assert isinstance(await patient.executor.submit(c.CancelDelivery(held, "no", ALICE)), Answer)


async def test_a_command_that_needs_a_row_outside_the_locked_set_is_decided_with_it(dispatch: Dispatch) -> None:
    """The open offer goes to another driver between peek and lock: forced here by deciding both in one batch."""
    dan, dora = await dispatch.a_driver(), await dispatch.a_driver()
    delivery_id = await dispatch.a_delivery()
    await dispatch.an_open_offer(dan, delivery_id)
    answers = await asyncio.gather(
        dispatch.executor.submit(
            c.AssignDelivery(delivery_id, dora, "closer", False, new_id(), new_id(), ALICE, replace_offer=True)
        ),
        dispatch.executor.submit(c.EndShift(dora, Actor("driver", dora))),
        dispatch.executor.submit(c.CancelDelivery(delivery_id, "no", ALICE)),
    )
    assert all(isinstance(answer, Answer) for answer in answers), answers
    assert await dispatch.one("SELECT count(*) FROM driver_offers WHERE status = 'PENDING'") == 0
    assert await dispatch.one("SELECT count(*) FROM drivers WHERE open_offer_id IS NOT NULL") == 0


async def test_a_full_queue_says_try_again(database: Database) -> None:
    async with Dispatch(database, queue_limit=3) as dispatch:
        answers = await asyncio.gather(*(dispatch.executor.submit(a_creation()) for _ in range(5)))
        assert [answer == r.TRY_AGAIN for answer in answers] == [False, False, False, True, True]


@asynccontextmanager
async def locked(database: Database, statement: str, *args: Any) -> AsyncIterator[asyncpg.Connection]:
    """Another session that holds the locks of a statement, until the block ends or it rolls back."""
    holder = await asyncpg.connect(database.url)
    try:
        await holder.execute("BEGIN")
        await holder.execute(statement, *args)
        yield holder
    finally:
        await holder.close()


async def test_while_a_table_is_locked_every_command_is_answered_within_its_limit(database: Database) -> None:
    async with Dispatch(database, wait_limit_seconds=1.0) as dispatch:
        with capture_logs() as lines:
            async with locked(database, "LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"):
                answers = await asyncio.gather(*(dispatch.executor.submit(a_creation()) for _ in range(200)))
                assert answers == [r.TRY_AGAIN] * 200
        blocked = [line for line in lines if line["event"] == "rerun_blocked"]
        # An attempt takes half a second and four run at a time: most were refused while they waited for their turn.
        assert len(blocked) < 40
        await until(lambda: dispatch.executor.waiting == 0)


async def test_commands_that_are_run_alone_count_for_the_limit_of_the_queue(database: Database) -> None:
    async with Dispatch(database, queue_limit=50, wait_limit_seconds=600.0) as dispatch:
        async with locked(database, "LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE"):
            taken = [dispatch.executor.submit(a_creation()) for _ in range(40)]
            await until(lambda: len(dispatch.executor._alone) == 40)
            more = [dispatch.executor.submit(a_creation()) for _ in range(20)]
            assert [future.done() for future in more] == [False] * 10 + [True] * 10
        for future in [*taken, *more[:10]]:
            assert isinstance(await future, Answer)
        await until(lambda: dispatch.executor.waiting == 0)


async def test_a_command_that_is_run_alone_outlives_lost_connections_as_the_lane_does(database: Database) -> None:
    connect = database.connect_for_writing
    refused = iter([False, *[True] * 6])

    class Refusing:
        generation, retire = 0, database.retire

        async def connect_for_writing(self) -> Any:
            if next(refused, False):
                raise ConnectionRefusedError("for a moment")
            return await connect()

    async with Dispatch(database, writes=Refusing(), wait_limit_seconds=600.0) as dispatch:
        answers = await asyncio.gather(
            *(dispatch.executor.submit(c) for c in (a_creation(), a_creation(order="NUL \x00 is no text")))
        )
        assert isinstance(answers[0], Answer)
        assert answers[1] == r.INTERNAL_ERROR
        assert next(refused, None) is None


@pytest.mark.parametrize("first", ["delivery", "driver"])
async def test_a_command_that_names_two_blocked_rows_comes_after_the_earlier_commands_of_both(
    database: Database, first: str
) -> None:
    async with Dispatch(database, wait_limit_seconds=600.0) as dispatch:
        driver_id, delivery_id = await dispatch.a_driver(), await dispatch.a_delivery()
        with capture_logs() as lines:
            async with (
                locked(database, "SELECT FROM deliveries WHERE id = $1 FOR UPDATE", delivery_id) as delivery,
                locked(database, "SELECT FROM drivers WHERE id = $1 FOR UPDATE", driver_id) as driver,
            ):
                earlier = {
                    "delivery": dispatch.executor.submit(c.Acknowledge(delivery_id, ALICE)),
                    "driver": dispatch.executor.submit(c.EndShift(driver_id, Actor("driver", driver_id))),
                }
                await until(lambda: len(dispatch.executor._alone) == 2)
                both = dispatch.executor.submit(
                    c.AssignDelivery(delivery_id, driver_id, "near", True, new_id(), new_id(), ALICE)
                )
                await {"delivery": delivery, "driver": driver}[first].execute("ROLLBACK")
                assert isinstance(await earlier.pop(first), Answer)
                seen = len(lines)
                await until(lambda: len([line for line in lines[seen:] if line["event"] == "rerun_blocked"]) >= 2)
                assert not [line for line in lines if line.get("command") == "AssignDelivery"]
            assert isinstance(await earlier.popitem()[1], Answer)
            assert await both == r.driver_not_available("shift_ended")


async def test_after_closing_commands_are_refused_and_taken_ones_are_answered(database: Database) -> None:
    dispatch = Dispatch(database)
    taken = dispatch.executor.submit(a_creation())
    await dispatch.close()
    assert isinstance(taken.result(), Answer)
    assert await dispatch.executor.submit(a_creation()) == r.TRY_AGAIN


async def test_a_backend_killed_between_commands_is_replaced(dispatch: Dispatch) -> None:
    await dispatch.a_delivery()
    await dispatch.one(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert await dispatch.a_delivery()


class Cut:
    """A write connection whose COMMIT's answer is lost, after it was carried out or before."""

    def __init__(self, inner: Any, on_commit: Callable[[Any], Any]) -> None:
        self._inner, self._on_commit = inner, on_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        if query.startswith("COMMIT"):
            await self._on_commit(self._inner)
            self._inner.terminate()
            raise asyncpg.ConnectionDoesNotExistError("the connection was closed in the middle of operation")
        return await self._inner.execute(query, *args, **options)


def cutting_once(database: Database, on_commit: Callable[[Any], Any]) -> Any:
    """The database, whose first write connection loses the answer to COMMIT."""
    cuts = iter([True])

    class Cutting:
        generation, retire = 0, database.retire

        async def connect_for_writing(self) -> Any:
            connection = await database.connect_for_writing()
            return Cut(connection, on_commit) if next(cuts, False) else connection

    return Cutting()


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
async def test_a_lost_answer_to_commit_is_found_out(database: Database, carried_out: bool) -> None:
    async def commit(inner: Any) -> None:
        await inner.execute("COMMIT" if carried_out else "ROLLBACK")

    async with Dispatch(database, writes=cutting_once(database, commit)) as dispatch:
        answer = await dispatch.done(a_creation("order-1"))
        assert not answer.decided.repeated
        assert len(dispatch.commits) == 1
        assert await database.pool.fetchval("SELECT count(*) FROM deliveries") == 1
        assert await database.pool.fetchval("SELECT count(*) FROM events WHERE type = 'delivery.created'") == 1


async def test_two_admins_with_one_version_of_the_policy_make_one_change(database: Database) -> None:
    async with nodes_on(database, 2) as nodes:
        change = c.ChangePolicy(DEFAULT_POLICY, Actor("admin", "max"), "because")
        answers = await asyncio.gather(*(node.executor.submit(change) for node in nodes))
        assert sorted(type(answer).__name__ for answer in answers) == ["Answer", "Refusal"]
        assert r.VERSION_CHANGED in answers


async def test_a_server_that_ended_the_session_without_closing_is_replaced(
    database: Database, database_url: str
) -> None:
    lanes = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query = 'ROLLBACK' AND pid <> pg_backend_pid()"
    )
    async with (
        slow_to_hang_up(database_url) as relay,
        open_database(relay.url, pool_size=2) as through_it,
        Dispatch(through_it) as dispatch,
    ):
        await dispatch.a_delivery()
        await dispatch.executor.submit(accept(new_id(), new_id()))
        assert len(await database.pool.fetch(lanes)) == 1
        await until(lambda: relay.ended == 1)
        before = REGISTRY.get_sample_value("callboard_batches_rerun_total")
        await dispatch.a_delivery()
        assert REGISTRY.get_sample_value("callboard_batches_rerun_total") == before
        assert await database.pool.fetchval("SELECT count(*) FROM deliveries") == 2


# Zones: the first spelling that is committed is that of every order, driver and event, on every node.


class Recorded:
    """A write connection that keeps the statements it sends."""

    def __init__(self, inner: Any, statements: list[str]) -> None:
        self._inner, self._statements = inner, statements

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in ("execute", "fetch", "fetchrow", "fetchval"):
            return found

        def send(query: str, *args: Any, **options: Any) -> Any:
            self._statements.append(query)
            return found(query, *args, **options)

        return send


class Knowing(Dispatch):
    """An executor whose node remembers spellings."""

    def __init__(self, database: Database, *, writes: Any = None) -> None:
        self.zones = KnownZones(database.pool)
        known = {"spelled_before": self.zones.spelled_before}
        super().__init__(database, writes=writes, copies=known, wait_limit_seconds=600.0)
        self.executor.listeners.append(self.zones.committed)

    async def close(self) -> None:
        await super().close()
        await agree(self.database)


async def agree(database: Database) -> None:
    """Every order, driver and event has the spelling of its zone in the table."""
    spellings = set(await database.pool.fetch("SELECT spelling FROM zones"))
    used = await database.pool.fetch(
        "SELECT zone FROM drivers UNION SELECT zone FROM deliveries"
        " UNION SELECT data->>'zone' FROM events WHERE type IN ('delivery.created', 'driver.registered')"
        " UNION SELECT data->'changes'->'zone'->>'new' FROM events WHERE data->'changes' ? 'zone'"
    )
    assert set(used) <= spellings


@pytest.fixture
async def knowing(database: Database) -> AsyncIterator[tuple[Knowing, Knowing]]:
    async with Knowing(database) as first, Knowing(database) as second:
        yield first, second


def in_zone(zone: str) -> c.CreateDelivery:
    return msgspec.structs.replace(a_creation(), zone=zone)


def a_registration(zone: str, external_ref: str | None = None) -> c.RegisterDriver:
    return c.RegisterDriver(new_id(), "Dan", zone, 1, SHOP, external_ref=external_ref)


async def zones_of(answers: Iterable[Any]) -> list[str]:
    rows = [answer.delivery or answer.driver for answer in [await answer for answer in answers]]
    return [row.zone for row in rows]


SPELL = "INSERT INTO zones (key, spelling, version) VALUES ('nord', 'NORD', 0)"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_a_batch_gives_a_new_zone_the_spelling_of_its_first_accepted_command(
    knowing: tuple[Knowing, Knowing],
) -> None:
    node, other = knowing
    await node.done(a_registration("default", "D-7"))
    before = len(node.commits)
    commands: list[c.Command] = [
        a_registration("nord", "D-7"),
        a_registration(" Nord "),
        in_zone("NORD"),
        a_registration("nOrd"),
    ]
    refused, *accepted = [node.executor.submit(command) for command in commands]
    assert code_of(await refused) == "driver_exists"
    assert await zones_of(accepted) == ["Nord"] * 3
    assert len(node.commits) == before + 1
    assert await zones_of([other.executor.submit(in_zone("nord"))]) == ["Nord"]
    assert node.zones.spelled_before("NORD") == other.zones.spelled_before("NORD") == "Nord"


async def test_a_refused_command_leaves_no_zone(knowing: tuple[Knowing, Knowing]) -> None:
    node, _ = knowing
    driver = (await node.done(a_registration("default", "D-7"))).driver
    assert driver is not None
    before = await node.database.pool.fetch("SELECT * FROM zones")
    first, again = in_zone("default"), in_zone("Nord")
    again = msgspec.structs.replace(again, seller_order_id=first.seller_order_id, store_name="Sushi", fingerprint="g")
    await node.done(first)
    refused: list[tuple[c.Command, str]] = [
        (a_registration("Nord", "D-7"), "driver_exists"),
        (c.ChangeDriver(new_id(), ALICE, zone="Nord"), "not_found"),
        (again, "delivery_differs"),
    ]
    for command, code in refused:
        assert code_of(await node.executor.submit(command)) == code
    commits = len(node.commits)
    beside: list[tuple[c.Command, str | None]] = [*refused, (a_creation(), None)]
    answers = [node.executor.submit(command) for command, _ in beside]
    assert [code_of(await answer) for answer in answers] == [code for _, code in beside]
    assert len(node.commits) == commits + 1
    assert node.zones.spelled_before("Nord") is None
    assert await node.database.pool.fetch("SELECT * FROM zones") == before


@pytest.mark.parametrize("how", ["COMMIT", "ROLLBACK"])
async def test_who_spells_a_zone_first_spells_it_for_all(knowing: tuple[Knowing, Knowing], how: str) -> None:
    """Another transaction has spelled it when two nodes save theirs: they wait for it, and take its spelling if it is
    committed, otherwise that of the first.
    """
    node, other = knowing
    driver = (await node.done(a_registration("default"))).driver
    assert driver is not None
    async with locked(node.database, SPELL) as holder:
        answers = [
            node.executor.submit(in_zone("Nord")),
            node.executor.submit(c.ChangeDriver(driver.id, ALICE, zone="nord")),
            other.executor.submit(c.ChangeZone("nOrd", "North", None, ("Mitte",), ALICE)),
            other.executor.submit(a_registration("noRD")),
        ]

        async def both_wait() -> bool:
            return bool(await node.one(BLOCKED) == 2)

        await until(both_wait)
        assert not any(answer.done() for answer in answers)
        await holder.execute(how)
    done = [await answer for answer in answers]
    assert [code_of(answer) for answer in done] == [None] * 4
    spelling = await node.one("SELECT spelling FROM zones WHERE key = 'nord'")
    assert (spelling == "NORD") == (how == "COMMIT")
    rows = [answer.delivery or answer.driver for answer in done if isinstance(answer, Answer)]
    assert [row.zone for row in rows if row is not None] == [spelling] * 3
    assert [zone.key for commit in other.commits for zone in commit.zones or ()] == [spelling]
    described = await node.one("SELECT data->>'key' FROM events WHERE type = 'zone.changed'")
    assert described == spelling
    assert await node.one("SELECT version > 0 FROM zones WHERE name = 'North'")
    assert node.zones.spelled_before("nord") == other.zones.spelled_before("nord") == spelling


async def test_two_nodes_race_to_spell_a_zone(knowing: tuple[Knowing, Knowing]) -> None:
    for number in range(RACES):
        names = [f"nord {number}", f"Nord {number}"]
        found = await zones_of(
            node.executor.submit(command(name))
            for node, name in zip(knowing, names, strict=True)
            for command in (in_zone, a_registration)
        )
        assert len(set(found)) == 1
        spelling = await knowing[0].one("SELECT spelling FROM zones WHERE key = $1", names[0])
        assert spelling == found[0]
        assert [node.zones.spelled_before(names[0]) for node in knowing] == [spelling] * 2


@pytest.mark.parametrize("carried_out", [True, False], ids=["carried out", "not carried out"])
async def test_a_spelling_is_known_after_its_commit_even_if_the_answer_is_lost(
    database: Database, carried_out: bool
) -> None:
    """If it was not carried out, another node spells the zone before this one runs again."""
    known: list[str | None] = []

    async def commit(inner: Any) -> None:
        known.append(node.zones.spelled_before("nord"))
        await inner.execute("COMMIT" if carried_out else "ROLLBACK")
        if not carried_out:
            await database.pool.execute(SPELL)

    async with Knowing(database, writes=cutting_once(database, commit)) as node:
        spelling = "Nord" if carried_out else "NORD"
        assert await zones_of([node.executor.submit(in_zone("Nord"))]) == [spelling]
        assert known == [None]
        assert node.zones.spelled_before("nord") == spelling
        assert await node.one("SELECT spelling FROM zones WHERE key = 'nord'") == spelling
        assert await node.one("SELECT count(*) FROM deliveries") == 1


async def test_an_order_in_a_known_zone_costs_no_statement(database: Database) -> None:
    statements: list[str] = []

    class Recording:
        generation, retire = 0, database.retire

        async def connect_for_writing(self) -> Any:
            return Recorded(await database.connect_for_writing(), statements)

    async with Knowing(database, writes=Recording()) as dispatch:
        await dispatch.done(a_creation())  # the first also looks whether its plans are still good

        async def sent(command: c.Command) -> list[str]:
            statements.clear()
            await dispatch.done(command)
            return list(statements)

        new = await sent(in_zone("Nord"))
        known = await sent(in_zone("nord"))
        without = await sent(msgspec.structs.replace(a_creation(), zone=None))
        assert known == without
        assert set(new) - set(known)
        assert not any("zones" in statement for statement in known)


# The whole job: what two people say at once has one outcome, on whichever nodes they say it.


async def with_a_job(node: Dispatch, *, picked_up: bool = False) -> tuple[str, str, str]:
    """A delivery in a driver's hands: delivery, driver, assignment."""
    driver_id, delivery_id = await node.a_driver(), await node.a_delivery()
    offer_id = await node.an_open_offer(driver_id, delivery_id)
    job = (await node.done(accept(offer_id, driver_id))).decided.assignment_id
    assert job is not None
    if picked_up:
        await node.done(c.PickUp(job, driver_id, Actor("driver", driver_id)))
    return delivery_id, driver_id, job


STAGES = ("on the way to the store", "at the store by their own word", "with the goods", "at the door", "coming back")
PLACES = {"store": (52.5, 13.4), "customer": (52.51, 13.41), "between": (52.505, 13.405), "elsewhere": (52.6, 13.5)}
DRIFTS_KM = (0.0, 0.099, 0.101)
KM_PER_DEGREE = 111.19492664455873


async def test_the_query_of_deadlines_finds_what_the_rule_calls_stalled(dispatch: Dispatch) -> None:
    """`store.due` filters, `dispatch.risks` decides: what the filter does not find is never raised or cleared."""
    situations = [
        (*s, minutes) for s in itertools.product(STAGES, PLACES, DRIFTS_KM, (True, False)) for minutes in (5, 7)
    ]
    jobs = await asyncio.gather(*(with_a_job(dispatch) for _ in situations))
    await dispatch.database.pool.executemany(
        "WITH a AS (UPDATE assignments SET created_at = created_at - interval '1 hour',"
        " arrived_pickup_at = CASE WHEN $2 = 'at the store by their own word' THEN now() END,"
        " picked_up_at = CASE WHEN $2 IN ('with the goods', 'at the door', 'coming back')"
        "                THEN now() - interval '50 minutes' END,"
        " arrived_dropoff_at = CASE WHEN $2 IN ('at the door', 'coming back') THEN now() END,"
        " failed_at = CASE WHEN $2 = 'coming back' THEN now() - interval '40 minutes' END WHERE id = $1 RETURNING *),"
        " d AS (UPDATE deliveries SET status = CASE WHEN a.failed_at IS NOT NULL THEN 'RETURNING'"
        "       WHEN a.picked_up_at IS NOT NULL THEN 'PICKED_UP' ELSE 'ASSIGNED' END"
        "      FROM a WHERE deliveries.id = a.delivery_id)"
        " UPDATE driver_positions p SET lat = $3::float8, lon = $4, still_lat = $3::float8 + $5::float8,"
        " still_lon = $4, still_since = now() - make_interval(mins => $6) FROM a WHERE p.driver_id = a.driver_id",
        [
            (job, stage, *PLACES[place], (drift if north else -drift) / KM_PER_DEGREE, minutes)
            for (_, _, job), (stage, place, drift, north, minutes) in zip(jobs, situations, strict=True)
        ],
    )

    async def found(kind: str) -> set[str]:
        _, due, more = await read_due(dispatch.database.pool, dispatch.policy, within_seconds=2.0, limit=1000)
        assert not more
        return {one.id for one in due if one.kind == kind}

    orders = [delivery_id for delivery_id, _, _ in jobs]
    by_query = await found("stalled")
    answers = await asyncio.gather(*(dispatch.executor.submit(c.RaiseRisk(order, "stalled")) for order in orders))
    by_rule = {order for order, answer in zip(orders, answers, strict=True) if isinstance(answer, Answer)}
    assert by_query == by_rule
    assert 0 < len(by_rule) < len(orders)
    assert await found("stalled") == set(), "raised once"

    await dispatch.database.pool.execute(
        "UPDATE driver_positions p SET still_lat = p.lat + 0.01 FROM assignments a"
        " WHERE a.driver_id = p.driver_id AND right(a.id::text, 1) < '8'"
    )
    by_query = await found("moving")
    answers = await asyncio.gather(*(dispatch.executor.submit(c.ClearRisk(order, "stalled")) for order in by_rule))
    cleared = {o for o, answer in zip(by_rule, answers, strict=True) if isinstance(answer, Answer)}
    assert by_query == cleared
    assert 0 < len(cleared) < len(by_rule)


@pytest.fixture
async def nodes(database: Database) -> AsyncIterator[list[Dispatch]]:
    async with nodes_on(database, 2) as both:
        yield both


def code_of(answer: Answer | Refusal) -> str | None:
    return answer.code if isinstance(answer, Refusal) else None


RACES = 15


async def test_release_against_pickup_has_one_outcome(nodes: list[Dispatch]) -> None:
    for _ in range(RACES):
        delivery_id, driver_id, job = await with_a_job(nodes[0])
        driver = Actor("driver", driver_id)
        released, picked_up = await asyncio.gather(
            nodes[0].executor.submit(c.Release(job, driver_id, "unwell", driver)),
            nodes[1].executor.submit(c.PickUp(job, driver_id, driver)),
        )
        status, late = await nodes[0].database.pool.fetchrow(
            "SELECT status, (SELECT count(*) FROM events WHERE delivery_id = d.id AND type = 'delivery.late_report')"
            " FROM deliveries d WHERE id = $1",
            delivery_id,
        )
        outcome = (code_of(released), code_of(picked_up), status, late)
        assert outcome in (
            (None, "assignment_not_active", "READY", 1),
            ("already_picked_up", None, "PICKED_UP", 0),
        )


async def test_failed_against_reassign_has_one_outcome(nodes: list[Dispatch]) -> None:
    for _ in range(RACES):
        delivery_id, driver_id, job = await with_a_job(nodes[0], picked_up=True)
        driver = Actor("driver", driver_id)
        failed, taken = await asyncio.gather(
            nodes[0].executor.submit(c.Fail(job, driver_id, "refused", driver)),
            nodes[1].executor.submit(c.Reassign(job, "too slow", new_id(), new_id(), ALICE, force=True)),
        )
        status = await nodes[0].one("SELECT status FROM deliveries WHERE id = $1", delivery_id)
        assert (code_of(failed), code_of(taken), status) in (
            (None, "assignment_not_active", "FAILED"),
            ("assignment_not_active", None, "READY"),
        )
        assert await nodes[0].one("SELECT active_count FROM drivers WHERE id = $1", driver_id) == 0


async def test_a_change_against_an_accept_has_one_outcome(nodes: list[Dispatch]) -> None:
    """Accepted first, the change is by an old version; changed first, that offer is closed and another one is open."""
    for _ in range(RACES):
        driver_id, delivery_id = await nodes[0].a_driver(), await nodes[0].a_delivery()
        offer_id = await nodes[0].an_open_offer(driver_id, delivery_id)
        version = await nodes[0].one("SELECT version FROM deliveries WHERE id = $1", delivery_id)
        elsewhere = Place(52.52, 13.42)
        changed, accepted = await asyncio.gather(
            nodes[0].executor.submit(c.ChangeDelivery(delivery_id, version, new_id(), SHOP, dropoff=elsewhere)),
            nodes[1].executor.submit(accept(offer_id, driver_id)),
        )
        status, open_offer = await nodes[0].database.pool.fetchrow(
            "SELECT status, current_offer_id IS NOT NULL FROM deliveries WHERE id = $1", delivery_id
        )
        assert (code_of(changed), code_of(accepted), status, open_offer) in (
            ("version_changed", None, "ASSIGNED", False),
            (None, "offer_no_longer_open", "READY", True),
        )


async def test_the_same_action_online_and_offline_is_done_once(nodes: list[Dispatch]) -> None:
    """By the socket on one node and by a call on the other, after the phone was without a network."""
    for _ in range(RACES):
        delivery_id, driver_id, job = await with_a_job(nodes[0])
        driver, action = Actor("driver", driver_id), c.Action(action_id=new_id())
        answers = await asyncio.gather(
            *(node.done(c.Arrive(job, driver_id, "pickup", driver, action)) for node in (*nodes, *nodes))
        )
        assert sum(not answer.decided.repeated for answer in answers) == 1
        arrived = await nodes[0].one(
            "SELECT count(*) FROM events WHERE delivery_id = $1 AND type = 'delivery.arrived'", delivery_id
        )
        assert arrived == 1


async def test_one_id_for_two_actions_at_once_does_one_and_refuses_the_other(nodes: list[Dispatch]) -> None:
    for _ in range(RACES):
        delivery_id, driver_id, job = await with_a_job(nodes[0])
        driver, action = Actor("driver", driver_id), c.Action(action_id=new_id())
        answers = await asyncio.gather(
            nodes[0].executor.submit(c.Arrive(job, driver_id, "pickup", driver, action)),
            nodes[1].executor.submit(c.PickUp(job, driver_id, driver, action)),
        )
        codes = [code_of(answer) for answer in answers]
        assert sorted(codes, key=str) == [None, "action_id_used"]
        done = ("delivery.arrived", "delivery.picked_up")
        query = "SELECT type FROM events WHERE delivery_id = $1 AND type = ANY($2)"
        assert await nodes[0].one(query, delivery_id, list(done)) == done[codes.index(None)]


async def test_one_id_on_two_deliveries_is_two_actions(nodes: list[Dispatch]) -> None:
    """Nothing that a driver did is lost."""
    action = c.Action(action_id=new_id())
    for _ in range(2):
        delivery_id, driver_id, job = await with_a_job(nodes[0])
        await nodes[1].done(c.PickUp(job, driver_id, Actor("driver", driver_id), action))
        assert await nodes[0].one("SELECT status FROM deliveries WHERE id = $1", delivery_id) == "PICKED_UP"


async def test_a_wrong_pin_said_twice_under_one_name_is_counted_once(nodes: list[Dispatch]) -> None:
    driver_id = await nodes[0].a_driver()
    creation = msgspec.structs.replace(a_creation(), proof_required=("pin",), pin="0417")
    delivery_id = (await nodes[0].done(creation)).decided.delivery_id or ""
    job = (await nodes[0].done(accept(await nodes[0].an_open_offer(driver_id, delivery_id), driver_id))).decided
    assert job.assignment_id is not None
    driver, action = Actor("driver", driver_id), c.Action(action_id=new_id())
    command = c.Complete(job.assignment_id, driver_id, driver, action, "0418")
    answers = await asyncio.gather(*(node.executor.submit(command) for node in (*nodes, *nodes)))
    assert set(map(code_of, answers)) == {"pin_wrong"}
    query = "SELECT (details->>'pinTries')::int FROM assignments WHERE id = $1"
    assert await nodes[0].one(query, job.assignment_id) == 1
    assert await nodes[0].one("SELECT version FROM assignments WHERE id = $1", job.assignment_id) == 1
    assert await nodes[0].one("SELECT status FROM deliveries WHERE id = $1", delivery_id) == "ASSIGNED"


async def test_a_risk_is_raised_once_whoever_watches(nodes: list[Dispatch]) -> None:
    delivery_id, driver_id, _ = await with_a_job(nodes[0])
    await nodes[0].database.pool.execute(
        "UPDATE drivers SET session_id = NULL, session_node = NULL, socket_lost_at = now() - interval '1 hour'"
        " WHERE id = $1",
        driver_id,
    )
    await nodes[0].database.pool.execute("UPDATE assignments SET created_at = now() - interval '1 hour'")
    await asyncio.gather(*(node.done(c.RaiseRisk(delivery_id, "driver_gone")) for node in (*nodes, *nodes)))
    raised = await nodes[0].one("SELECT count(*) FROM events WHERE type = 'delivery.at_risk'")
    assert raised == 1


async def test_the_same_order_in_other_words_is_found_to_be_the_same(dispatch: Dispatch) -> None:
    """What was posted is read only when the fingerprint differs, in a separate batch."""
    first = await dispatch.done(a_creation("order-1"))
    again = await dispatch.done(a_creation("order-1", fingerprint="other words"))
    assert again.decided.repeated
    assert again.decided.delivery_id == first.decided.delivery_id
    other = msgspec.structs.replace(a_creation("order-1", fingerprint="other"), notes="no onions")
    differs = await dispatch.executor.submit(other)
    assert differs == r.delivery_differs(first.decided.delivery_id or "", ["notes"])


async def test_a_batch_with_a_postponed_command_survives_one_that_names_nothing(dispatch: Dispatch) -> None:
    """The first command needs another batch, so the ids of the later ones are compared with its ids."""
    await dispatch.done(a_creation("order-1"))
    with capture_logs() as logs:
        answers = await asyncio.gather(
            dispatch.executor.submit(a_creation("order-1", fingerprint="other words")),
            dispatch.executor.submit(accept(new_id(), new_id())),
            dispatch.executor.submit(c.PickUp(new_id(), None, ALICE)),
        )
    assert isinstance(answers[0], Answer)
    assert list(answers[1:]) == [r.NOT_FOUND, r.NOT_FOUND]
    assert [line for line in logs if line["event"] == "batch_failed"] == []


async def test_what_was_posted_first_outlives_every_change(dispatch: Dispatch) -> None:
    """It is kept only when the delivery says it no longer, and then for good."""
    first = await dispatch.done(a_creation("order-1"))
    assert first.delivery is not None
    delivery_id, version = first.delivery.id, first.delivery.version
    kept = "SELECT posted FROM deliveries WHERE id = $1"
    assert await dispatch.one(kept, delivery_id) is None
    for changes in ({"notes": "no onions"}, {"notes": "ring twice", "tip_cents": 100}):
        changed = await dispatch.done(c.ChangeDelivery(delivery_id, version, new_id(), SHOP, **changes))
        assert changed.delivery is not None
        version = changed.delivery.version
    assert set(msgspec.json.decode(await dispatch.one(kept, delivery_id))) == {
        "sellerId", "sellerOrderId", "storeName", "pickup", "dropoff", "currency",
    }  # fmt: skip
    again = await dispatch.done(a_creation("order-1", fingerprint="other words"))
    assert again.decided.repeated
    as_changed = msgspec.structs.replace(a_creation("order-1", fingerprint="changed"), notes="ring twice")
    assert await dispatch.executor.submit(as_changed) == r.delivery_differs(delivery_id, ["notes"])


async def test_new_states_are_written_only_when_every_node_knows_them(database: Database) -> None:
    version = [0]
    async with Dispatch(database, copies={"states_version": lambda: version[0]}) as dispatch:
        delivery_id, driver_id, job = await with_a_job(dispatch)
        release = c.Release(job, driver_id, "unwell", Actor("driver", driver_id))
        assert code_of(await dispatch.executor.submit(release)) == "not_yet_supported"
        version[0] = 1
        assert code_of(await dispatch.executor.submit(release)) is None
    assert await database.pool.fetchval("SELECT status FROM deliveries WHERE id = $1", delivery_id) == "READY"


async def test_a_deferred_command_waits_no_longer_than_others(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batch took as long as it may wait, and then the database is gone."""

    async def transact(_: Writer, pendings: list[Any], **__: Any) -> Any:
        await until(lambda: dispatch.executor._sweep is None)
        monkeypatch.setattr(Writer, "connect", away)
        return SimpleNamespace(deferred=pendings), None

    async def away(_: Writer) -> None:
        raise OSError("nobody answers")

    async with Dispatch(database, wait_limit_seconds=0.2) as dispatch:
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "transact", transact)
            assert await dispatch.executor.submit(a_creation()) == r.TRY_AGAIN
        monkeypatch.undo()
