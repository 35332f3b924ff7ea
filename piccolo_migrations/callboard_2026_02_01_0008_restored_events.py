"""Events that came with a dump: their transaction numbers mean nothing on this server."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000008"

# Restored into another server, events bear numbers that it has yet to give out. Readers would wait for those, and then
# miss what is written meanwhile. All of them get the lowest number; among each other their ids keep the order.
NUMBER_ANEW = """
CREATE FUNCTION number_restored_events_anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE event_cursors SET xid = '1' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
    UPDATE events SET xid = '1' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
END
$$
"""


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(NUMBER_ANEW)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="restored events")
    manager.add_raw(run)
    return manager
