"""Personal data that is to be erased: requests, and the index of finished deliveries that are due."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Text, Timestamptz
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000021"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

COLUMNS: tuple[tuple[str, type, dict[str, Any]], ...] = (
    ("delivery_id", UUID, KEY),
    ("requested_at", Timestamptz, NEEDED),
    ("requested_by", Text, OPTIONAL),
)

# By the end of the delivery. The previous release does not write it: then by the creation.
INDEX = """
CREATE INDEX deliveries_personal ON deliveries (coalesce(over_at, created_at))
WHERE status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED') AND fingerprint <> 'erased'"""


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(INDEX)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="erasures")
    manager.add_table("Erasure", tablename="erasures")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="Erasure",
            tablename="erasures",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    manager.add_raw(run)
    return manager
