"""The outbox in order: how what is due is found, and what stands before it."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000010"

OPEN = "delivered_at IS NULL AND parked_at IS NULL"

STATEMENTS = (
    """ALTER TABLE webhook_attempts ADD CONSTRAINT webhook_attempts_webhook_delivery_id_exists
       FOREIGN KEY (webhook_delivery_id) REFERENCES webhook_deliveries ON DELETE CASCADE""",
    "CREATE INDEX webhook_attempts_delivery ON webhook_attempts (webhook_delivery_id, id)",
    # Sent one after another: a message waits for those of its webhook and key before it.
    f"CREATE INDEX webhook_deliveries_order ON webhook_deliveries (webhook_id, key, seq) WHERE {OPEN}",
    f"CREATE INDEX webhook_deliveries_open ON webhook_deliveries (webhook_id, next_attempt_at) WHERE {OPEN}",
    "CREATE INDEX webhook_deliveries_parked ON webhook_deliveries (webhook_id) WHERE parked_at IS NOT NULL",
    # In its place.
    "DROP INDEX webhook_deliveries_due",
    # The log of a webhook, newest first.
    "CREATE INDEX webhook_deliveries_log ON webhook_deliveries (webhook_id, seq DESC)",
    "CREATE INDEX notices_unsent ON notices (next_attempt_at) WHERE next_attempt_at IS NOT NULL",
    """ALTER TABLE notices ADD CONSTRAINT notices_severity_check
       CHECK (severity IN ('info', 'warning', 'critical'))""",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="outbox")
    manager.add_raw(run)
    return manager
