"""Photos and signatures of handovers."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Bytea, Text, Timestamptz

ID = "2026-02-01T00:00:00:000030"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("id", UUID, KEY),
    ("delivery_id", UUID, NEEDED),
    ("assignment_id", UUID, NEEDED),
    ("kind", Text, NEEDED),
    ("media_type", Text, NEEDED),
    ("content", Bytea, NEEDED),
    ("created_at", Timestamptz, NEEDED),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="proofs")
    manager.add_table("Proof", tablename="proofs")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="Proof",
            tablename="proofs",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
