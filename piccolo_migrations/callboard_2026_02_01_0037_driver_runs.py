"""The runs of drivers with more than one delivery."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import JSONB, UUID

ID = "2026-02-01T00:00:00:000037"

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("driver_id", UUID, {"primary_key": True, "default": None}),
    ("stops", JSONB, {"default": None, "null": False}),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="driver runs")
    manager.add_table("DriverRun", tablename="driver_runs")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="DriverRun",
            tablename="driver_runs",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
