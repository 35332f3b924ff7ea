"""What the events of a command make of a world is what the database holds afterwards, for every command."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, get_args

import msgspec
import pytest

from server.contract.commit import StreamMessage
from server.contract.driver_stream import stream_entries
from server.contract.views import to_json
from server.dispatch import commands as c
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.driver_runs import update_runs
from server.dispatch.events import Event
from server.dispatch.model import Alert, ChatMessage, Delivery, Driver
from server.dispatch.policy import DEFAULT_POLICY, PlanningPolicy
from server.dispatch.world import NeedsRows, World
from server.ids import new_id
from server.store.engine import Database
from server.write.load import Named, NodeCopies, load
from server.write.save import save
from tests.builders import (
    ADA,
    DAN,
    DORA,
    NOW,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_driver_gone,
    a_policy,
    a_world,
    an_assignment,
    an_open_offer,
    by,
    id_of,
)
from tests.dispatch import (
    test_alerts,
    test_availability,
    test_changes,
    test_chat,
    test_deliveries,
    test_driver_actions,
    test_drivers,
    test_holds,
    test_manual_assignment,
    test_offers,
    test_risks,
    test_zones,
)
from tests.dispatch.cases import Case

CASES: list[Case] = [
    *test_holds.CASES,
    *test_zones.CASES,
    *test_alerts.ALERTING,
    *test_manual_assignment.DRIVING,
    *test_manual_assignment.ASSIGNING,
    *test_manual_assignment.REASSIGNING,
    *test_availability.REGISTERING,
    *test_availability.PRESENCE,
    *test_availability.CHANGING,
    *test_availability.DECIDING,
    *test_changes.CHANGING_ORDERS,
    *test_changes.PREPARING,
    *test_changes.RESTORING,
    *test_changes.RETRYING,
    *test_driver_actions.DEEDS,
    *test_deliveries.CREATING,
    *test_deliveries.DISPATCHING,
    *test_deliveries.SEARCHING,
    *test_deliveries.CANCELLING,
    *test_deliveries.ESCALATING,
    *test_deliveries.ACKNOWLEDGING,
    *test_drivers.CHANGING_DRIVERS,
    *test_drivers.DEACTIVATING,
    *test_risks.RAISING,
    *test_risks.CLEARING,
    *test_risks.CLIMBING,
    *test_risks.SEEING,
    *test_chat.CASES,
    *test_offers.OFFERING,
    *test_offers.ACCEPTING,
    *test_offers.REJECTING,
    *test_offers.RECEIVING,
    *test_offers.EXPIRING,
    Case(
        "the policy is replaced",
        given=a_world,
        command=c.ChangePolicy(a_policy(search_radius_km=7.5), ADA, "it rains"),
        then=[],
    ),
]
"""Every case of the rules: a world and a command."""

ALERTS = """
SELECT id, kind, zone, value, threshold, raised_at, resolved_at, acknowledged_by, acknowledged_at FROM alerts"""
CHAT_MESSAGES = "SELECT id, driver_id, by_driver, author, text, at, seen_at FROM chat_messages"
COPIES = NodeCopies(lambda: DEFAULT_POLICY)
POSITION = "INSERT INTO driver_positions (driver_id, lat, lon, at, last_call_at) VALUES ($1, $2, $3, $4, $5)"
EVENTS = """
SELECT at, type, actor_type, actor_id, delivery_id, driver_id, offer_id, assignment_id, data
FROM events ORDER BY id"""


@asynccontextmanager
async def undone(connection: Any) -> AsyncIterator[None]:
    """Whatever is written inside is rolled back."""
    await connection.execute("BEGIN")
    try:
        yield
    finally:
        await connection.execute("ROLLBACK")


async def store(connection: Any, world: World) -> None:
    """Write a given world as it is, and the other drivers that its offers and assignments name."""
    deliveries = [delivery for delivery in world.deliveries.values() if delivery is not None]
    offers = [offer for delivery in deliveries for offer in delivery.offers.values()]
    assignments = [assignment for delivery in deliveries for assignment in delivery.assignments.values()]
    drivers = {driver.id: driver for driver in world.drivers.values() if driver is not None}
    named = {offer.driver_id for offer in offers} | {assignment.driver_id for assignment in assignments}
    for driver_id in named - drivers.keys():
        drivers[driver_id] = a_driver("Somebody", id=driver_id)
    given = a_world(now=world.now)
    given.new_deliveries = {delivery.id: delivery for delivery in deliveries}
    given.new_waits = {d.id: d.unassigned for d in deliveries if d.unassigned is not None}
    given.new_offers = {offer.id: offer for offer in offers}
    given.new_assignments = {assignment.id: assignment for assignment in assignments}
    given.new_drivers = drivers
    given.new_alerts = world.alerts
    given.new_chat_messages = {id_: m for driver_id in drivers for id_, m in world.chat(driver_id).items()}
    await save(connection, given, [], [])
    for driver in drivers.values():
        p = driver.position
        lat, lon, at = (p.lat, p.lon, p.at) if p is not None else (None, None, None)
        await connection.execute(POSITION, driver.id, lat, lon, at, driver.last_call_at)


async def reload(connection: Any, world: World) -> tuple[dict[str, Delivery | None], dict[str, Driver | None]]:
    """The same rows as the world holds, from the database."""
    named = Named(deliveries=set(world.deliveries), drivers=set(world.drivers))
    loaded = (await load(connection, named, NodeCopies(lambda: world.policy))).world
    return loaded.deliveries, loaded.drivers


def comparable(deliveries: dict[str, Delivery | None], drivers: dict[str, Driver | None]) -> Any:
    """What a payload or a number is written as does not matter."""
    return msgspec.json.decode(msgspec.json.encode([deliveries, drivers]))


def applied(decided: Decided, world: World) -> tuple[list[Event], list[StreamMessage]]:
    """As the write path does it."""
    for event in decided.events:
        apply(world, event)
    update_runs(decided.events, world)
    messages = []
    for driver_id, message, _ in stream_entries(decided.events, world):
        driver = world.drivers[driver_id]
        assert driver is not None
        messages.append(StreamMessage(driver_id, driver.session_node, message.seq, to_json(message)))
    return list(decided.events), messages


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    connection = await Database(database_url).connect_for_writing()
    yield connection
    await connection.close()


async def as_given(connection: Any, named: Named, given: World) -> World:
    """What is named, loaded, in a world of the same time."""
    rows = (await load(connection, named, NodeCopies(lambda: given.policy))).world
    return World(
        given.now,
        given.policy,
        rows.deliveries,
        rows.drivers,
        rows.by_external_ref,
        rows.alerts,
        zones=given.zones,
        spellings=rows.spellings,
        chats={driver_id: rows.chat(driver_id) for driver_id in rows.drivers},
    )


async def check(connection: Any, case: Case) -> bool:
    """Store the world, load it, decide, save, load again; whether anything happened."""
    given = case.given()
    await store(connection, given)
    named = Named()
    named.add(case.command)
    world = await as_given(connection, named, given)
    try:
        decide(case.command, world)
    except NeedsRows as needs:  # as a later batch would have them
        named.whole_deliveries |= {needs.delivery_id} - {None}  # type: ignore[arg-type]
        named.drivers |= {needs.driver_id} - {None}  # type: ignore[arg-type]
        world = await as_given(connection, named, given)
    alerts = world.alerts
    assert alerts == {key: alert for key, alert in given.alerts.items() if named.alerts and not alert.resolved_at}
    pairs: list[tuple[Any, Any]] = [(world.deliveries, given.deliveries), (world.drivers, given.drivers)]
    for found, of_given in pairs:
        for row_id, row in found.items():
            if row_id in of_given:
                assert comparable({row_id: row}, {}) == comparable({row_id: of_given[row_id]}, {})
    decided = decide(case.command, world)
    if not isinstance(decided, Decided) or not decided.events:
        return False
    events, messages = applied(decided, world)
    await save(connection, world, events, messages)
    assert comparable(*await reload(connection, world)) == comparable(world.deliveries, world.drivers)
    stored = {row[0]: Alert(*row) for row in await connection.fetch(ALERTS)}
    assert stored.items() >= (world.new_alerts | world.changed_alerts).items()
    messages_now = {row[0]: ChatMessage(*row) for row in await connection.fetch(CHAT_MESSAGES)}
    for message in (world.new_chat_messages | world.changed_chat_messages).values():
        # The text is not read, and so not written again.
        text = messages_now[message.id].text
        assert messages_now[message.id] == msgspec.structs.replace(message, text=message.text or text)
        assert text is not None
    spellings = dict(await connection.fetch("SELECT key, spelling FROM zones"))
    assert {key: spellings.get(key) for key in world.spellings} == world.spellings
    await check_events(connection, events)
    stream = await connection.fetch("SELECT driver_id, seq, body FROM driver_messages ORDER BY driver_id, seq")
    assert [tuple(row) for row in stream] == sorted((m.driver_id, m.seq, m.body) for m in messages)
    return True


async def check_events(connection: Any, events: Iterable[Event]) -> None:
    stored = [tuple(row) for row in await connection.fetch(EVENTS)]
    for row, event in zip(stored, events, strict=True):
        assert row[:8] == (
            event.at,
            event.type,
            event.actor.type,
            event.actor.id,
            event.delivery_id,
            event.driver_id,
            event.offer_id,
            event.assignment_id,
        )
        assert msgspec.json.decode(row[8]) == msgspec.json.decode(msgspec.json.encode(event.data()))


async def test_folding_the_events_gives_what_is_loaded_again(connection: Any) -> None:
    """For every case of the rules. None needs a row that its command does not name: that happens only in races."""
    happened = set()
    for case in CASES:
        try:
            async with undone(connection):
                if await check(connection, case):
                    happened.add(type(case.command))
        except BaseException as error:
            error.add_note(f"the case: {case.name}")
            raise
    assert happened == set(get_args(c.Command))


async def test_a_policy_is_there_for_the_next_to_decide(connection: Any) -> None:
    async with undone(connection):
        policy = a_policy(search_radius_km=7.5)
        for version in (1, 2):
            loaded = await load(connection, Named(policy=True), COPIES)
            assert loaded.world.policy.version == version
            decided = decide(c.ChangePolicy(msgspec.structs.replace(policy, version=version), ADA), loaded.world)
            assert isinstance(decided, Decided)
            await save(connection, loaded.world, *applied(decided, loaded.world))
        loaded = await load(connection, Named(policy=True), COPIES)
        assert loaded.world.policy == msgspec.structs.replace(policy, version=3)


async def test_many_of_everything_are_saved_at_once(connection: Any) -> None:
    """Soup goes from Dan to Dora and from one offer to the next in one batch, among many others."""
    soup, dan, dora = a_delivery(), a_driver("Dan"), a_driver("Dora", capacity=2)
    an_assignment(soup, dan)
    others = [a_delivery(f"cake {number}") for number in range(50)]
    async with undone(connection):
        await store(connection, a_world(soup, dan, dora, *others))
        world = (
            await load(connection, Named(deliveries={SOUP, *(o.id for o in others)}, drivers={DAN, DORA}), COPIES)
        ).world
        assignment_id = next(iter(soup.assignments))
        events: list[Event] = []
        messages: list[StreamMessage] = []
        commands: list[c.Command] = [
            c.Reassign(assignment_id, "ill", new_id(), new_id(), ADA, driver_id=DORA, direct=True),
            *(c.CancelDelivery(other.id, "nobody wants it", ADA) for other in others),
            c.CreateDelivery(new_id(), "shop", "B-1", "Bakery", "default", soup.pickup, soup.dropoff, 0, "f", SHOP),
            c.RegisterDriver(new_id(), "Max", "default", 1, SHOP),
            c.TakeBreak(DAN, 30, by(DAN)),
        ]
        for command in commands:
            decided = decide(command, world)
            assert isinstance(decided, Decided), decided
            more_events, more_messages = applied(decided, world)
            events += more_events
            messages += more_messages
        await save(connection, world, events, messages)
        assert comparable(*await reload(connection, world)) == comparable(world.deliveries, world.drivers)


@pytest.mark.parametrize("room", ["capacity", "next job"])
async def test_a_batch_that_makes_room_and_fills_it_knows_what_the_driver_has(connection: Any, room: str) -> None:
    """The driver has one delivery and cannot have another, until an earlier command of the same batch."""
    soup, cake, dan = a_delivery(), a_delivery("cake"), a_driver("Dan", capacity=1)
    an_assignment(soup, dan)
    async with undone(connection):
        await store(connection, a_world(soup, cake, dan))
        assign = c.AssignDelivery(cake.id, DAN, "near", True, new_id(), id_of("job"), ADA)
        more: c.Command = c.ChangeDriver(DAN, ADA, capacity=2)
        if room == "next job":
            more = c.ChangePolicy(a_policy(planning=PlanningPolicy(next_jobs=1)), ADA)
        named = Named()
        for command in (more, assign):
            named.add(command)
        world = (await load(connection, named, COPIES)).world
        for command in (more, assign):
            decided = decide(command, world)
            assert isinstance(decided, Decided), decided
            applied(decided, world)
        assert len(world.run(DAN)) == 4
        assert {stop.delivery_id for stop in world.run(DAN)} == {soup.id, cake.id}


async def test_a_run_is_loaded_with_the_deliveries_that_the_command_does_not_name(connection: Any) -> None:
    soup, cake, dan = a_delivery(), a_delivery("cake"), a_driver("Dan", capacity=2)
    job = an_assignment(soup, dan)
    async with undone(connection):
        await store(connection, a_world(soup, cake, dan))
        for command in (
            c.AssignDelivery(cake.id, DAN, "near", True, new_id(), id_of("job"), ADA),
            c.PickUp(job.id, DAN, by(DAN)),
        ):
            named = Named()
            named.add(command)
            world = (await load(connection, named, COPIES)).world
            decided = decide(command, world)
            assert isinstance(decided, Decided), decided
            await save(connection, world, *applied(decided, world))
        again = (await load(connection, Named(drivers={DAN}), COPIES)).world
        assert again.run(DAN) == world.run(DAN)
        assert [(s.kind, s.delivery_id) for s in again.run(DAN)] == [
            ("pickup", soup.id), ("pickup", cake.id), ("dropoff", soup.id), ("dropoff", cake.id),
        ]  # fmt: skip
        assert [(d.id, a.id) for d, a in again.jobs(DAN)] == [(soup.id, job.id), (cake.id, id_of("job"))]
        assert comparable({d.id: d for d, _ in again.jobs(DAN)}, {})[0][soup.id]["status"] == "PICKED_UP"


async def test_an_offer_may_follow_another_in_one_batch(connection: Any) -> None:
    """The partial unique indexes see the first one closed before the second is open."""
    soup, dan, dora = a_delivery(), a_driver("Dan"), a_driver("Dora")
    offer = an_open_offer(soup, dan)
    async with undone(connection):
        await store(connection, a_world(soup, dan, dora))
        loaded = await load(connection, Named(deliveries={SOUP}, drivers={DAN, DORA}), COPIES)
        world = World(NOW, DEFAULT_POLICY, loaded.world.deliveries, loaded.world.drivers)
        events: list[Event] = []
        for command in (
            c.RejectOffer(offer.id, DAN, by(DAN)),
            c.OfferDelivery(SOUP, DORA, new_id(), 52.5, 13.4),
        ):
            decided = decide(command, world)
            assert isinstance(decided, Decided), decided
            events += applied(decided, world)[0]
        await save(connection, world, events, [])
        assert comparable(*await reload(connection, world)) == comparable(world.deliveries, world.drivers)


async def test_the_dead_nodes_of_sessions_are_known(connection: Any) -> None:
    dead, alive, unknown = id_of("dead"), id_of("alive"), id_of("unknown")
    drivers = [a_driver(name, session_node=id_of(name), session_id=new_id()) for name in ("dead", "alive", "unknown")]
    gone = a_driver_gone("Dora")
    async with undone(connection):
        await store(connection, a_world(*drivers, gone))
        for node_id, left in ((dead, 0), (alive, 60), (id_of("somebody else's"), 0)):
            await connection.execute(
                "INSERT INTO nodes (id, name, started_at, expires_at)"
                " VALUES ($1, 'n', now(), clock_timestamp() + make_interval(secs => $2))",
                node_id,
                left,
            )
        named = Named(drivers={driver.id for driver in (*drivers, gone)})
        assert (await load(connection, named, COPIES)).world.dead_nodes == {dead, unknown}
        only = Named(drivers={id_of("alive"), DORA})
        assert (await load(connection, only, COPIES)).world.dead_nodes == frozenset()


async def test_now_is_read_once_the_locks_are_held_in_utc_and_whole_milliseconds(connection: Any) -> None:
    async with undone(connection):
        begun = await connection.fetchval("SELECT pg_sleep(0.002), clock_timestamp()", column=1)
        loaded = await load(connection, Named(drivers={DAN}), COPIES)
        assert loaded.world.now >= begun.replace(microsecond=begun.microsecond // 1000 * 1000)
        assert loaded.world.now.isoformat().endswith("+00:00")
        assert loaded.world.now.microsecond % 1000 == 0
        assert loaded.world.drivers == {DAN: None}
        assert loaded.xid == await connection.fetchval("SELECT pg_current_xact_id()::text")
