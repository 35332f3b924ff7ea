"""Notices to people, found by time, by delivery, by alert; the attempts of a webhook, newest first."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:0000135"

# Messages that are notices too: the customer's, and those by which others in ops may hear.
NOTICES = "type IN ('delivery.assigned', 'delivery.escalated', 'ticket.created', 'alert.raised', 'alert.resolved')"

STATEMENTS = (
    """UPDATE webhook_attempts a SET webhook_id = d.webhook_id
       FROM webhook_deliveries d WHERE d.id = a.webhook_delivery_id""",
    "CREATE INDEX webhook_attempts_webhook ON webhook_attempts (webhook_id, id)",
    f"CREATE INDEX webhook_deliveries_notices ON webhook_deliveries (created_at, id) WHERE {NOTICES}",
    f"CREATE INDEX webhook_deliveries_notices_key ON webhook_deliveries (key) WHERE {NOTICES}",
    "CREATE INDEX notices_alert ON notices (alert_id) WHERE alert_id IS NOT NULL",
    # What was raised when, of all zones and of one.
    "CREATE INDEX alerts_zone ON alerts (zone, id)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="told indexes")
    manager.add_raw(run)
    return manager
