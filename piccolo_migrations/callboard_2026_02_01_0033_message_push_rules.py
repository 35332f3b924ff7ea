"""Pushes about messages: one a message and subscription. Existing rows need no check: their kinds stay allowed."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000033"

STATEMENTS = (
    """ALTER TABLE driver_notices DROP CONSTRAINT driver_notices_kind_check,
       ADD CONSTRAINT driver_notices_kind_check CHECK (
           (kind IN ('offer.created', 'offer.closed') AND offer_id IS NOT NULL AND delivery_id IS NOT NULL
                AND message_id IS NULL)
           OR (kind = 'message' AND message_id IS NOT NULL AND offer_id IS NULL AND delivery_id IS NULL)) NOT VALID""",
    """CREATE UNIQUE INDEX driver_notices_of_message ON driver_notices (message_id, subscription_id)
       WHERE message_id IS NOT NULL""",
    "CREATE INDEX chat_messages_unseen_at ON chat_messages (at) WHERE seen_at IS NULL AND NOT by_driver",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="message push rules")
    manager.add_raw(run)
    return manager
