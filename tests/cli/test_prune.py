"""`callboard prune`: what would go, what goes, and what the doctor says of it."""

from typing import Any

from server.doctor.examine import examine
from server.settings import Settings
from tests.cli.conftest import Run, done

OLD = """
INSERT INTO alerts (id, kind, zone, value, threshold, raised_at, resolved_at)
SELECT uuidv7(-age), 'unassigned_count', n, 1, 0, now() - age, now() - age
FROM (SELECT n, interval '1 day' * n + interval '12 hours' AS age FROM generate_series(28, 32) AS n) AS n"""


def rows(out: str) -> dict[str, int]:
    """What was printed: table -> rows."""
    lines = [line.split() for line in out.splitlines()]
    return {table: int(count.replace(",", "")) for count, table in lines}


async def test_a_dry_run_says_what_the_real_one_removes(run: Run, settings: Settings, database: Any) -> None:
    await database.execute(OLD)
    code, out, _ = await done(run("prune", "--dry-run", keep_history_days="30"))
    assert (code, rows(out)["alerts"]) == (0, 3)
    assert await database.fetchval("SELECT count(*) FROM alerts") == 5
    code, out, _ = await done(run("prune", keep_history_days="30"))
    assert (code, rows(out)["alerts"]) == (0, 3)
    assert await database.fetchval("SELECT count(*) FROM alerts") == 2
    assert set(rows(out)) >= {"deliveries", "events", "driver_messages", "webhook_deliveries"}
    assert (await done(run("prune", keep_history_days="30")))[:2] == (0, out.replace("3  alerts", "0  alerts"))


async def test_what_is_still_there_is_worth_a_word(settings: Settings, database: Any) -> None:
    settings = settings.with_changes(keep_history_days=32)
    await database.execute(OLD)
    [finding] = [found for found in await examine(settings) if found.what == "kept"]
    assert finding.how == "ok", "no node may have had the time to remove it yet"
    [finding] = [found for found in await examine(settings.with_changes(keep_history_days=30)) if found.what == "kept"]
    assert (finding.how, finding.text.startswith("older than their retention: 2 alerts;")) == ("note", True)


async def test_days_that_make_no_sense_are_refused(run: Run) -> None:
    code, out, err = await done(run("prune", "--dry-run", keep_deliveries_days="0"))
    assert (code, out) == (2, "")
    assert "CALLBOARD_KEEP_DELIVERIES_DAYS: should be greater than or equal to 1" in err


async def test_what_could_not_be_removed_is_said(run: Run, database: Any) -> None:
    await database.execute("ALTER TABLE alerts RENAME TO elsewhere")
    code, _, err = await done(run("prune"))
    assert code == 1
    assert err.startswith("callboard: some rows were not deleted: alerts: ")
    assert len(err.splitlines()) == 1
