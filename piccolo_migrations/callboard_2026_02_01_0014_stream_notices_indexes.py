"""Stream notices: which kinds there are, those not received yet by time, those of a delivery."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:0000145"

STATEMENTS = (
    """ALTER TABLE stream_notices ADD CONSTRAINT stream_notices_kind_check CHECK (kind IN (
       'delivery.assigned', 'delivery.reassigned', 'delivery.cancelled', 'driver.availability_changed'))""",
    "CREATE INDEX stream_notices_unheard ON stream_notices (created_at) WHERE received_at IS NULL",
    "CREATE INDEX stream_notices_delivery ON stream_notices (delivery_id) WHERE delivery_id IS NOT NULL",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="stream notices indexes")
    manager.add_raw(run)
    return manager
