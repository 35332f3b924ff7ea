"""Notices, the attempts of webhooks, and what telling a webhook in order takes."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, BigSerial, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:000009"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

Columns = list[tuple[str, type, dict[str, Any]]]

NEW: dict[tuple[str, str], Columns] = {
    ("WebhookAttempt", "webhook_attempts"): [
        ("id", BigSerial, {"primary_key": True}),
        ("webhook_delivery_id", UUID, NEEDED),
        ("attempt", Integer, NEEDED),
        ("at", Timestamptz, NEEDED),
        ("status", Integer, OPTIONAL),
        ("ms", Integer, NEEDED),
        ("error", Text, OPTIONAL),
    ],
    ("Notice", "notices"): [
        ("id", UUID, KEY),
        ("kind", Text, NEEDED),
        ("severity", Text, NEEDED),
        ("zone", Text, NEEDED),
        ("delivery_id", UUID, OPTIONAL),
        ("alert_id", UUID, OPTIONAL),
        ("text", Text, NEEDED),
        ("link", Text, NEEDED),
        ("created_at", Timestamptz, NEEDED),
        ("acknowledged_by", Text, OPTIONAL),
        ("acknowledged_at", Timestamptz, OPTIONAL),
        ("channel", Text, OPTIONAL),
        ("attempts", Integer, {"default": 0}),
        ("next_attempt_at", Timestamptz, OPTIONAL),
        ("locked_until", Timestamptz, OPTIONAL),
        ("sent_at", Timestamptz, OPTIONAL),
        ("failed_at", Timestamptz, OPTIONAL),
        ("last_error", Text, OPTIONAL),
    ],
}
MORE: dict[tuple[str, str], Columns] = {
    ("Webhook", "webhooks"): [
        ("previous_secret", Text, OPTIONAL),
        ("previous_secret_until", Timestamptz, OPTIONAL),
        ("deleted_at", Timestamptz, OPTIONAL),
    ],
    ("WebhookDelivery", "webhook_deliveries"): [
        ("seq", BigSerial, {}),
        ("key", Text, {"default": ""}),
        ("retry_until", Timestamptz, OPTIONAL),
    ],
}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="notices")
    for class_name, tablename in NEW:
        manager.add_table(class_name, tablename=tablename)
    for (class_name, tablename), columns in (NEW | MORE).items():
        for name, column_class, params in columns:
            manager.add_column(
                table_class_name=class_name,
                tablename=tablename,
                column_name=name,
                column_class=column_class,
                params=dict(params),
            )
    return manager
