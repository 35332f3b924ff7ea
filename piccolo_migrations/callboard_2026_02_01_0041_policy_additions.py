"""The fields of a policy that the previous release does not know, apart from the document that it reads."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import JSONB

ID = "2026-02-01T00:00:00:000041"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="policy additions")
    manager.add_column(
        table_class_name="PolicyVersion",
        tablename="policy",
        column_name="additions",
        column_class=JSONB,
        params={"default": None, "null": True},
    )
    return manager
