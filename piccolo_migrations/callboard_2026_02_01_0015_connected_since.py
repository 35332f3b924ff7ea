"""Since when a driver is on sockets without a gap, so that a deadline can tell who was there."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Timestamptz

ID = "2026-02-01T00:00:00:000015"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="connected since")
    manager.add_column(
        table_class_name="Driver",
        tablename="drivers",
        column_name="connected_since",
        column_class=Timestamptz,
        params={"default": None, "null": True},
    )
    return manager
