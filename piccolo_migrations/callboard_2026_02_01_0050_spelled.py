"""Whether the text that is searched has its words also without the marks on their letters. Of old rows it has not."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Boolean

ID = "2026-02-01T00:00:00:000050"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="spelled")
    manager.add_column(
        table_class_name="DeliverySearch",
        tablename="delivery_search",
        column_name="spelled",
        column_class=Boolean,
        params={"default": False, "null": False},
    )
    return manager
