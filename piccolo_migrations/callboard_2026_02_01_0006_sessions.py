"""Logins of people."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Text, Timestamptz

ID = "2026-02-01T00:00:00:000006"

NEEDED: dict[str, Any] = {"default": None, "null": False}

COLUMNS: list[tuple[str, type, dict[str, Any]]] = [
    ("token_hash", Text, {"primary_key": True, "default": None}),
    ("user_id", UUID, NEEDED),
    ("created_at", Timestamptz, NEEDED),
    ("seen_at", Timestamptz, NEEDED),
    ("expires_at", Timestamptz, NEEDED),
]


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="sessions")
    manager.add_table("PersonSession", tablename="sessions")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="PersonSession",
            tablename="sessions",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
