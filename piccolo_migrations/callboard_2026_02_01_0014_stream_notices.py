"""Notices to drivers on their sockets of what others did, and their status."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, BigInt, Text, Timestamptz

ID = "2026-02-01T00:00:00:000014"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("id", UUID, KEY),
    ("kind", Text, NEEDED),
    ("driver_id", UUID, NEEDED),
    ("seq", BigInt, NEEDED),
    ("delivery_id", UUID, OPTIONAL),
    ("text", Text, NEEDED),
    ("created_at", Timestamptz, NEEDED),
    ("sent_at", Timestamptz, OPTIONAL),
    ("received_at", Timestamptz, OPTIONAL),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="stream notices")
    manager.add_table("StreamNotice", tablename="stream_notices")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="StreamNotice",
            tablename="stream_notices",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
