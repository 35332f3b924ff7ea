"""A proof belongs to its delivery and goes with it. JPEG and PNG do not get smaller by compression."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000031"

STATEMENTS = (
    """
    ALTER TABLE proofs ADD CONSTRAINT proofs_delivery
        FOREIGN KEY (delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
    """,
    "CREATE INDEX proofs_of_delivery ON proofs (delivery_id)",
    "CREATE INDEX proofs_of_assignment ON proofs (assignment_id)",
    "ALTER TABLE proofs ALTER COLUMN content SET STORAGE EXTERNAL",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="proof rules")
    manager.add_raw(run)
    return manager
