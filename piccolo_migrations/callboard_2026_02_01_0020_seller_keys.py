"""API keys that are bound to a seller: they see and change that seller's deliveries only."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Text

ID = "2026-02-01T00:00:00:000020"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="seller keys")
    manager.add_column(
        table_class_name="ApiKey",
        tablename="api_keys",
        column_name="seller_id",
        column_class=Text,
        params={"default": None, "null": True},
    )
    return manager
