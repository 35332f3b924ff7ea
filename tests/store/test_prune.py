"""What is pruned and when, what is kept, and that nobody has to wait for it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from server.settings import Settings
from server.store.engine import Database
from server.store.jobs.retention import (
    AGAIN_SECONDS,
    DRIVERS,
    EVERY_SECONDS,
    OF_A_DRIVER,
    PRUNED,
    STEPS,
    prune,
    run_retention,
    would_go,
)
from server.store.reads.snapshot import Snapshots
from tests.bench.history import make_history
from tests.waiting import PATIENCE

DAY = timedelta(days=1)
OF_DELIVERIES = ("unassigned_orders", "driver_offers", "assignments", "support_tickets", "notices", "events")
OTHERS = {
    "alerts": "INSERT INTO alerts (id, kind, zone, value, threshold, raised_at, resolved_at)"
    " SELECT {id}, 'unassigned_count', n, 1, 0, {at}, {at}",
    "notices": "INSERT INTO notices (id, kind, severity, zone, text, link, created_at)"
    " SELECT {id}, 'k', 'info', 'z', '', '', {at}",
    "driver_messages": "INSERT INTO driver_messages (driver_id, seq, body, created_at)"
    " SELECT (SELECT id FROM drivers ORDER BY id LIMIT 1), {first} + n, '', {at}",
    "driver_availability_history": "INSERT INTO driver_availability_history (id, driver_id, from_state, to_state,"
    " actor_type, timestamp) SELECT {id}, (SELECT id FROM drivers ORDER BY id LIMIT 1), 'paused', 'paused', 'system',"
    " {at}",
    "events": "INSERT INTO events (at, type, actor_type, data) SELECT {at}, 'driver.connected', 'system', '{{}}'",
    "webhook_deliveries": "INSERT INTO webhook_deliveries (id, webhook_id, type, body, delivered_at)"
    " SELECT {id}, (SELECT id FROM webhooks WHERE active), 't', '', {at}",
    "webhooks": "INSERT INTO webhooks (id, url, events, secret, active, deleted_at)"
    " SELECT {id}, 'https://shop', '{{}}', 's', false, {at}",
    "driver_notices": "INSERT INTO driver_notices (id, kind, driver_id, delivery_id, offer_id, subscription_id,"
    " created_at, expires_at, sent_at) SELECT {id}, 'offer.created', {id}, {id}, {id}, {id}, {at}, {at}, {at}",
    "stream_notices": "INSERT INTO stream_notices (id, kind, driver_id, seq, text, created_at)"
    " SELECT {id}, 'driver.availability_changed', {id}, {first} + n, '', {at}",
    "report_mails": "INSERT INTO report_mails (id, day, recipient, created_at, attempts, retry_until, sent_at)"
    " SELECT {id}, now()::date, 'boss@fleet.example', {at}, 1, {at}, {at}",
    "push_subscriptions": "INSERT INTO push_subscriptions (id, driver_id, endpoint, p256dh, auth, created_at,"
    " expires_at) SELECT {id}, {id}, 'https://push/' || ({first} + n), '', '', {at}, {at}",
    "sessions": "INSERT INTO sessions (token_hash, user_id, created_at, seen_at, expires_at)"
    " SELECT {id}, (SELECT id FROM users), {at}, {at}, {at}",
    "nodes": "INSERT INTO nodes (id, name, expires_at) SELECT {id}, 'n', {at}",
}
"""How a row that ended at `{at}` is made, of `{first}` and those after it."""
DAYS = {
    "alerts": 400,
    "notices": 400,
    "driver_messages": 7,
    "driver_availability_history": 400,
    "events": 400,
    "webhook_deliveries": 30,
    "webhooks": 400,
    "driver_notices": 400,
    "stream_notices": 400,
    "report_mails": 30,
    "push_subscriptions": 1,
    "sessions": 1,
    "nodes": 1 / 24,
}
"""For how long these are kept at most by default."""


@pytest.fixture
async def pool(database: Database) -> Any:
    """The node's; with a driver, a user and a webhook."""
    for statement in (
        """INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                                expiries_in_a_row, stream_seq, active_count)
           SELECT gen_random_uuid(), 'Dan', 'z', 1, now(), 'offline', now(), 0, 0, 0 FROM generate_series(1, 2)""",
        "INSERT INTO users (id, name, password_hash, role) VALUES (gen_random_uuid(), 'alice', 'x', 'ops')",
        "INSERT INTO webhooks (id, url, events, secret) VALUES (gen_random_uuid(), 'https://shop', '{}', 's')",
    ):
        await database.pool.execute(statement)
    return database.pool


@pytest.fixture
async def apart(database_url: str) -> AsyncIterator[Any]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No rest between statements."""
    monkeypatch.setattr("server.store.jobs.retention.REST_SECONDS", 0.0)
    monkeypatch.setattr("server.store.jobs.retention.REST_FACTOR", 0.0)


async def aged(pool: Any, table: str, age: timedelta, count: int, first: int = 0) -> None:
    """This many rows that ended then."""
    statement = OTHERS[table].format(id="uuidv7(-$1::interval)", at="now() - $1::interval", first=first)
    await pool.execute(f"{statement} FROM generate_series(1, $2::int) AS n", age, count)


async def count(pool: Any, table: str, where: str = "true") -> int:
    return int(await pool.fetchval(f"SELECT count(*) FROM {table} WHERE {where}"))


async def history(connection: Any, offers: int = 1_500, days: int = 10) -> None:
    await make_history(connection, offers=offers, days=days, drivers=30)


@pytest.mark.parametrize("table", OTHERS)
async def test_old_rows_go_in_batches_and_young_ones_stay(
    database: Database, pool: Any, settings: Settings, quick: None, table: str
) -> None:
    kept = timedelta(days=DAYS[table])
    before = await count(pool, table)
    await aged(pool, table, kept + DAY, 2_050)
    await aged(pool, table, kept - timedelta(minutes=30), 3, first=2_050)
    assert (await would_go(database, settings))[table] == 2_050
    run = await prune(database, settings)
    assert (run.rows[table], run.failed, run.finished) == (2_050, {}, True)
    assert await count(pool, table) == before + 3
    assert sum((await prune(database, settings)).rows.values()) == 0


async def test_finished_deliveries_go_with_all_that_is_theirs(
    database: Database, pool: Any, apart: Any, settings: Settings, quick: None
) -> None:
    await history(apart)
    await apart.execute(
        "INSERT INTO notices (id, kind, severity, zone, delivery_id, text, link, created_at)"
        " SELECT gen_random_uuid(), 'k', 'info', zone, id, '', '', created_at FROM deliveries"
    )
    settings = settings.with_changes(keep_deliveries_days=5)
    now = await pool.fetchval("SELECT now()")
    before = {table: await count(pool, table) for table in ("deliveries", *OF_DELIVERIES)}
    expected = await would_go(database, settings, now=now)
    assert 300 < expected["deliveries"] < before["deliveries"] - 300
    run = await prune(database, settings, now=now)
    assert {table: run.rows[table] for table in expected} == expected
    for table, rows in before.items():
        assert await count(pool, table) == rows - expected[table] > 0, table
    for table in OF_DELIVERIES:
        orphans = "delivery_id IS NOT NULL AND delivery_id NOT IN (SELECT id FROM deliveries)"
        assert await count(pool, table, orphans) == 0, table
    assert await pool.fetchval("SELECT min(created_at) FROM deliveries") > now - 6 * DAY


async def test_only_finished_rows_past_their_retention_are_deleted(
    database: Database, pool: Any, apart: Any, settings: Settings, quick: None
) -> None:
    await history(apart, offers=150, days=2)
    ids = [row[0] for row in await pool.fetch("SELECT id FROM deliveries ORDER BY id LIMIT 4")]
    running, scheduled, touched, seen = ids
    await apart.execute(
        "UPDATE deliveries SET status = 'READY', unassigned_since = created_at, accepted_offer_id = NULL WHERE id = $1",
        running,
    )
    year = 400 * DAY
    now = await pool.fetchval("SELECT now()") + year
    await apart.execute("UPDATE deliveries SET dispatch_at = $2 WHERE id = $1", scheduled, now - DAY)
    await apart.execute(
        "INSERT INTO events (at, type, actor_type, delivery_id, data)"
        " VALUES ($2, 'delivery.cancelled', 'ops', $1, '{}')",
        touched,
        now - 399 * DAY,
    )
    assert (await prune(database, settings, now=now - 3 * DAY)).rows["deliveries"] == 0, "too young"
    await prune(database, settings, now=now)
    left = {row[0] for row in await pool.fetch("SELECT id FROM deliveries WHERE id = ANY ($1::uuid[])", ids)}
    assert left == {running, scheduled, touched}, f"{seen} had ended"
    assert await count(pool, "deliveries") == 3
    assert await count(pool, "events", f"delivery_id = '{seen}'") == 0


async def test_what_begins_anew_between_the_look_and_the_lock_is_kept(
    database: Database, pool: Any, apart: Any, settings: Settings, quick: None
) -> None:
    """Another node tries a failed delivery again, and a late report comes, just after the look."""
    await history(apart, offers=150, days=2)
    now = await pool.fetchval("SELECT now()") + 500 * DAY
    again, touched, over = [str(row[0]) for row in await pool.fetch("SELECT id FROM deliveries ORDER BY id LIMIT 3")]
    meanwhile = f"""
    UPDATE deliveries SET status = 'READY', unassigned_since = now(), accepted_offer_id = NULL WHERE id = '{again}';
    INSERT INTO events (at, type, actor_type, delivery_id, data)
    VALUES (before, 'delivery.late_report', 'system', '{touched}', '{{}}');
    last_id :="""
    function = await apart.fetchval("SELECT pg_get_functiondef('remove_deliveries'::regproc)")
    assert function.count("last_id :=") == 1
    await apart.execute(function.replace("last_id :=", meanwhile))
    await prune(database, settings, now=now)
    left = [str(row[0]) for row in await pool.fetch("SELECT id FROM deliveries ORDER BY id")]
    assert left == [again, touched]
    assert over not in left
    assert await count(pool, "events", f"delivery_id = '{again}'") > 1
    await apart.execute(function)


async def test_what_somebody_works_on_is_left_for_another_time(
    database: Database, pool: Any, apart: Any, settings: Settings, quick: None
) -> None:
    await history(apart, offers=600, days=2)
    now = await pool.fetchval("SELECT now()") + 500 * DAY
    held = await apart.fetchval("SELECT id FROM deliveries ORDER BY id LIMIT 1")
    async with asyncio.timeout(PATIENCE), apart.transaction():
        await apart.execute("SELECT FROM deliveries WHERE id = $1 FOR NO KEY UPDATE", held)
        run = await prune(database, settings, now=now)
    assert run.failed == {}
    assert [row[0] for row in await pool.fetch("SELECT id::text FROM deliveries")] == [str(held)]
    assert await count(pool, "driver_offers") > 0
    assert (await prune(database, settings, now=now)).rows["deliveries"] == 1


async def test_a_step_that_fails_stops_no_other_and_is_made_up_for(
    database: Database, pool: Any, apart: Any, settings: Settings, quick: None
) -> None:
    for table in ("alerts", "notices", "sessions"):
        await aged(pool, table, 401 * DAY, 3)
    await apart.execute("ALTER TABLE notices RENAME TO elsewhere")
    run = await prune(database, settings)
    assert (list(run.failed), run.finished) == (["deliveries", "notices"], False), (
        "a delivery's notices are elsewhere too"
    )
    assert (run.rows["alerts"], run.rows["sessions"]) == (3, 3)
    await apart.execute("ALTER TABLE elsewhere RENAME TO notices")
    run = await prune(database, settings)
    assert (run.rows["notices"], run.failed, run.finished) == (3, {}, True)


async def test_it_stops_between_two_batches_and_goes_on_where_it_was(
    database: Database, pool: Any, settings: Settings, quick: None
) -> None:
    await aged(pool, "events", 401 * DAY, 2_500)
    left = iter([True, True, False])
    run = await prune(database, settings, go_on=lambda: next(left, False))
    assert (run.rows["events"], run.finished) == (1_000, False), "the deliveries' step asked first"
    assert (await prune(database, settings)).rows["events"] == 1_500


async def test_only_who_holds_the_lease_removes_anything(
    database: Database, pool: Any, settings: Settings, quick: None
) -> None:
    await aged(pool, "alerts", 401 * DAY, 5)
    assert await run_retention(database, settings, lambda: False) == AGAIN_SECONDS
    assert await count(pool, "alerts") == 5
    counted = PRUNED.labels("alerts")._value
    before = counted.get()
    with capture_logs() as lines:
        assert await run_retention(database, settings, lambda: True) == EVERY_SECONDS
    assert await count(pool, "alerts") == 0
    assert counted.get() - before == 5
    [line] = [line for line in lines if line["event"] == "pruned"]
    assert (line["rows"], line["finished"]) == ({"alerts": 5}, True)
    assert AGAIN_SECONDS < EVERY_SECONDS


async def test_a_stream_has_no_gap_and_an_app_that_was_away_longer_gets_a_snapshot(
    database: Database, pool: Any, settings: Settings, quick: None
) -> None:
    """A clock that went back for a moment in the middle of a stream leaves no hole in it either."""
    driver = str(await pool.fetchval("SELECT id FROM drivers ORDER BY id LIMIT 1"))
    ages = {1: 9, 2: 8.5, 3: 6.99, 4: 7.01, 5: 6, 6: 0}
    for seq, age in ages.items():
        await pool.execute(
            "INSERT INTO driver_messages (driver_id, seq, body, created_at) VALUES ($1, $2, $3, now() - $4::interval)",
            driver,
            seq,
            f'{{"seq":{seq}}}',
            age * DAY,
        )
    await pool.execute("UPDATE drivers SET stream_seq = 6 WHERE id = $1", driver)
    assert (await prune(database, settings)).rows["driver_messages"] == 2
    snapshots = Snapshots(pool)
    running = asyncio.create_task(snapshots.run())
    for last_seq, missed, resync in ((0, [], True), (1, [], True), (2, [3, 4, 5, 6], False), (6, [], False)):
        found: Any = await snapshots.read(driver, last_seq)
        assert ([int(bytes(raw)[7:-1]) for raw in found.missed], found.resync) == (missed, resync), last_seq
    running.cancel()


async def test_parked_messages_stay_as_long_as_the_history_and_take_their_attempts_along(
    database: Database, pool: Any, settings: Settings, quick: None
) -> None:
    for age in (399 * DAY, 401 * DAY):
        await pool.execute(
            "WITH parked AS (INSERT INTO webhook_deliveries (id, webhook_id, type, body, created_at, parked_at)"
            " SELECT gen_random_uuid(), id, 't', '', now() - $1::interval, now() - $1::interval FROM webhooks"
            " RETURNING id)"
            " INSERT INTO webhook_attempts (webhook_delivery_id, attempt, at, ms)"
            " SELECT id, n, now(), 1 FROM parked, generate_series(1, 3) n",
            age,
        )
    await pool.execute(
        "INSERT INTO webhook_deliveries (id, webhook_id, type, body, created_at)"
        " SELECT gen_random_uuid(), id, 't', '', now() - interval '2 years' FROM webhooks"
    )
    await pool.execute("UPDATE webhooks SET active = false, deleted_at = now() - interval '2 years'")
    run = await prune(database, settings)
    assert run.rows["webhook_deliveries"] == 1
    assert run.rows["webhooks"] == 0, "it has messages yet"
    assert (await count(pool, "webhook_deliveries"), await count(pool, "webhook_attempts")) == (2, 3)


ROWS_READ = """
SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::int FROM pg_stat_xact_user_tables
WHERE relname = ANY ($1::text[])"""
SCANS = """
SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname = ANY ($1::text[]) AND seq_scan > 0 ORDER BY 1"""
LARGE = (
    "deliveries",
    "driver_messages",
    "driver_availability_history",
    "webhook_deliveries",
    "driver_notices",
    "stream_notices",
    "alerts",
    *OF_DELIVERIES,
)


async def test_no_step_reads_much_more_than_it_removes(pool: Any, apart: Any) -> None:
    await history(apart, offers=20_000, days=20)
    for table in ("alerts", "notices", "webhook_deliveries", "driver_notices", "stream_notices", "events"):
        await aged(pool, table, 18 * DAY, 3_000)
    await apart.execute("ANALYZE")
    before = await apart.fetchval("SELECT now() - interval '18 days'")
    above: str = await apart.fetchval("SELECT uuidv7(interval '-17 days')::text")
    for step in STEPS:
        arguments = [before, step.begin, above][: 3 if "$3" in step.remove else 2]
        async with pool.acquire() as connection, connection.transaction():
            already = [tuple(row) for row in await connection.fetch(SCANS, LARGE)]
            rows = await connection.fetchval(ROWS_READ, LARGE)
            gone = sum(list((await connection.fetchrow(step.remove, *arguments)).values())[1:])
            assert await connection.fetchval(ROWS_READ, LARGE) - rows <= 3 * gone + DRIVERS * OF_A_DRIVER, step.name
            assert [tuple(row) for row in await connection.fetch(SCANS, LARGE)] == already, step.name
