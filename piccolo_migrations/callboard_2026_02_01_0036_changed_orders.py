"""Which orders were changed: a phone that was there for a while is found in what was sent about them."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000036"

STATEMENT = "CREATE INDEX events_changed ON events (delivery_id) WHERE type = 'delivery.changed'"


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(STATEMENT)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="changed orders")
    manager.add_raw(run)
    return manager
