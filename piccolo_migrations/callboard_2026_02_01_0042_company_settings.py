"""The settings that admins change on the screen: one row for each that was set."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Text, Timestamptz

ID = "2026-02-01T00:00:00:000042"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("name", Text, KEY),
    ("value", Text, NEEDED),
    ("changed_by", Text, NEEDED),
    ("changed_at", Timestamptz, NEEDED),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="company settings")
    manager.add_table("CompanySetting", tablename="company_settings")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="CompanySetting",
            tablename="company_settings",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
