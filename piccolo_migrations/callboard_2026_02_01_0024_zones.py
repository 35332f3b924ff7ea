"""Zones: how each is spelled, and the shapes and helpers of those that an admin has described. And who is nearest of an
order that has nobody.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import JSONB, Array, BigInt, Text, Timestamptz

ID = "2026-02-01T00:00:00:000024"

NEEDED = {"default": None, "null": False}
OPTIONAL = {"default": None, "null": True}
COLUMNS = (
    ("key", Text, NEEDED | {"primary_key": True}),
    ("spelling", Text, NEEDED),
    ("name", Text, OPTIONAL),
    ("shape", JSONB, OPTIONAL),
    ("helped_by", Array, OPTIONAL | {"base_column": Text()}),
    ("changed_by", Text, OPTIONAL),
    ("changed_at", Timestamptz, OPTIONAL),
    ("version", BigInt, NEEDED),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="zones")
    manager.add_table("Zone", tablename="zones")
    for name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name="Zone",
            tablename="zones",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    manager.add_column(
        table_class_name="UnassignedOrder",
        tablename="unassigned_orders",
        column_name="nearest",
        column_class=JSONB,
        params=dict(OPTIONAL),
    )
    return manager
