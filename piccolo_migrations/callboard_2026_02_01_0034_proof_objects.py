"""Proofs can be in an S3-compatible store: then their row has a key, and no content."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Text, Timestamptz

ID = "2026-02-01T00:00:00:000034"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="proof objects")
    manager.add_column(
        table_class_name="Proof",
        tablename="proofs",
        column_name="object_key",
        column_class=Text,
        params=OPTIONAL,
    )
    manager.add_table("ProofObject", tablename="proof_objects")
    for name, column_class, params in (("key", Text, KEY), ("remove_at", Timestamptz, OPTIONAL)):
        manager.add_column(
            table_class_name="ProofObject",
            tablename="proof_objects",
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
