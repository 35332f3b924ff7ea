"""A day is counted once for each time zone, and its counts go with it. Deliveries are found by when they are wanted."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:0000124"

STATEMENTS = (
    "ALTER TABLE insight_days ADD CONSTRAINT insight_days_once UNIQUE (time_zone, since)",
    """ALTER TABLE insight_counts ADD CONSTRAINT insight_counts_day_exists
       FOREIGN KEY (time_zone, since) REFERENCES insight_days (time_zone, since) ON DELETE CASCADE""",
    "CREATE INDEX insight_counts_day ON insight_counts (time_zone, since)",
    "CREATE INDEX deliveries_dispatch ON deliveries USING brin (dispatch_at) WITH (autosummarize = on)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="insight indexes")
    manager.add_raw(run)
    return manager
