"""Without `event_cursors`, which nothing reads: each reader of events knows for itself how far it has come."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000019"

NUMBER_ANEW = """
CREATE OR REPLACE FUNCTION number_restored_events_anew() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE events SET xid = '1' WHERE xid >= pg_snapshot_xmax(pg_current_snapshot());
END
$$
"""


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(NUMBER_ANEW)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="no event cursors")
    manager.add_raw(run)
    manager.drop_table(class_name="EventCursor", tablename="event_cursors")
    return manager
