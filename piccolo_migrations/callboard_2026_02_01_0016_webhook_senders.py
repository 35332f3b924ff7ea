"""Who sends a webhook's messages, until when; and no more of what nobody filled in or locks any longer."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Text, Timestamptz

ID = "2026-02-01T00:00:00:000016"

OPTIONAL = {"default": None, "null": True}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="webhook senders")
    for name, column_class in (("sender", Text), ("sender_until", Timestamptz)):
        manager.add_column(
            table_class_name="Webhook",
            tablename="webhooks",
            column_name=name,
            column_class=column_class,
            params=dict(OPTIONAL),
        )
    # With the first of them goes a unique index that held one entry for every message and no value.
    for name in ("event_id", "locked_until"):
        manager.drop_column(table_class_name="WebhookDelivery", tablename="webhook_deliveries", column_name=name)
    return manager
