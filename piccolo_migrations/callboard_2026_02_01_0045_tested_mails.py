"""The last test of the mail to each recipient."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Text

ID = "2026-02-01T00:00:00:000045"


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="tested mails")
    manager.add_column(
        table_class_name="ReportMail",
        tablename="report_mails",
        column_name="tested_by",
        column_class=Text,
        params={"default": None, "null": True},
    )
    return manager
