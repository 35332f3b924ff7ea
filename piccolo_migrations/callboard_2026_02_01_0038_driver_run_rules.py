"""A driver may have a next job beyond their capacity: at most one, as the policy allows."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000038"

STATEMENTS = (
    """
    ALTER TABLE drivers DROP CONSTRAINT drivers_load_check,
        ADD CONSTRAINT drivers_load_check CHECK (active_count BETWEEN 0 AND capacity + 1)
    """,
    "ALTER TABLE driver_runs ADD CONSTRAINT driver_runs_driver FOREIGN KEY (driver_id) REFERENCES drivers (id)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="driver run rules")
    manager.add_raw(run)
    return manager
