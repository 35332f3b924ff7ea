"""The webhook of an attempt, so that its last ones are found however long its line is."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID

ID = "2026-02-01T00:00:00:000013"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="attempts")
    manager.add_column(
        table_class_name="WebhookAttempt",
        tablename="webhook_attempts",
        column_name="webhook_id",
        column_class=UUID,
        params={"default": None, "null": True},
    )
    return manager
