"""The day reports that go out by mail: one row for each recipient and day."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Date, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:000044"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("id", UUID, KEY),
    ("day", Date, NEEDED),
    ("recipient", Text, NEEDED),
    ("created_at", Timestamptz, NEEDED),
    ("attempts", Integer, NEEDED),
    ("next_attempt_at", Timestamptz, OPTIONAL),
    ("retry_until", Timestamptz, NEEDED),
    ("sent_at", Timestamptz, OPTIONAL),
    ("failed_at", Timestamptz, OPTIONAL),
    ("last_error", Text, OPTIONAL),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="report mails")
    manager.add_table("ReportMail", tablename="report_mails")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="ReportMail",
            tablename="report_mails",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
