"""The line of a webhook's messages, in the order in which it is read; and no foreign keys where many rows are added.

Each of them is looked up and locked anew for every message and every attempt. Webhooks are only ever marked as removed,
and the job that removes old messages removes their attempts with them.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:0000165"

OPEN = "delivered_at IS NULL AND parked_at IS NULL"

STATEMENTS = (
    "ALTER TABLE webhook_deliveries DROP CONSTRAINT webhook_deliveries_webhook_id_exists",
    "ALTER TABLE webhook_attempts DROP CONSTRAINT webhook_attempts_webhook_delivery_id_exists",
    f"CREATE INDEX webhook_deliveries_line ON webhook_deliveries (webhook_id, next_attempt_at, seq) WHERE {OPEN}",
    "DROP INDEX webhook_deliveries_open",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="webhook senders indexes")
    manager.add_raw(run)
    return manager
