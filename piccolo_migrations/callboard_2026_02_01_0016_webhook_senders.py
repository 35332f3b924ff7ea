"""Who sends a webhook's messages, until when; and no more of a column that nobody filled in.

`webhook_deliveries.locked_until` is not used any more. It stays until no node of the release before can still run.
"""

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
    # With it goes a unique index that held one entry for every message and no value.
    manager.drop_column(table_class_name="WebhookDelivery", tablename="webhook_deliveries", column_name="event_id")
    return manager
