"""Messages between dispatch and drivers."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Boolean, Text, Timestamptz

ID = "2026-02-01T00:00:00:000028"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("id", UUID, KEY),
    ("driver_id", UUID, NEEDED),
    ("by_driver", Boolean, NEEDED),
    ("author", Text, NEEDED),
    ("text", Text, OPTIONAL),
    ("at", Timestamptz, NEEDED),
    ("seen_at", Timestamptz, OPTIONAL),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="chat messages")
    manager.add_table("ChatMessage", tablename="chat_messages")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="ChatMessage",
            tablename="chat_messages",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
