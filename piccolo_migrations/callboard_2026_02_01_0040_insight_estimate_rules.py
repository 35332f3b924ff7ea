"""The errors of a day's estimates go with the day."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000040"

STATEMENTS = (
    """ALTER TABLE insight_estimates ADD CONSTRAINT insight_estimates_day_exists
       FOREIGN KEY (time_zone, since) REFERENCES insight_days (time_zone, since) ON DELETE CASCADE""",
    "CREATE INDEX insight_estimates_day ON insight_estimates (time_zone, since)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="insight estimate rules")
    manager.add_raw(run)
    return manager
