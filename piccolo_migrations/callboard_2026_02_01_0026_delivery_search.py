"""What orders are searched by, beside them: their path is not slowed down by the indexes that a search needs."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Text

ID = "2026-02-01T00:00:00:000026"

NEEDED = {"default": None, "null": False}
COLUMNS = (
    ("delivery_id", UUID, NEEDED | {"primary_key": True}),
    ("seller_id", Text, NEEDED),
    ("store", Text, NEEDED),
    ("words", Text, NEEDED),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="delivery search")
    manager.add_table("DeliverySearch", tablename="delivery_search")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="DeliverySearch",
            tablename="delivery_search",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
