"""Own account: the browser of a session, and links with which a person sets a new password."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Text, Timestamptz

ID = "2026-02-01T00:00:00:000043"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

COLUMNS: tuple[tuple[str, str, str, type, dict[str, Any]], ...] = (
    ("PersonSession", "sessions", "client", Text, OPTIONAL),
    ("PasswordLink", "password_links", "user_id", UUID, KEY),
    ("PasswordLink", "password_links", "code_hash", Text, NEEDED),
    ("PasswordLink", "password_links", "created_by", Text, NEEDED),
    ("PasswordLink", "password_links", "expires_at", Timestamptz, NEEDED),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="own account")
    manager.add_table("PasswordLink", tablename="password_links")
    for table, tablename, name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name=table,
            tablename=tablename,
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
