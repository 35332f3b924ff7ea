"""Which device of a driver connected last: a phone that comes back asks before it takes over from another one."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000046"

STATEMENT = "CREATE INDEX events_connected ON events (driver_id, id) WHERE type = 'driver.connected'"


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(STATEMENT)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="last connections")
    manager.add_raw(run)
    return manager
