"""Web push: where drivers' browsers can be reached, what was sent there, and the key that signs it."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:000011"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

NEW: dict[tuple[str, str], list[tuple[str, type, dict[str, Any]]]] = {
    ("PushKey", "push_keys"): [
        ("name", Text, KEY),
        ("private_key", Text, NEEDED),
        ("created_at", Timestamptz, NEEDED),
    ],
    ("PushSubscription", "push_subscriptions"): [
        ("id", UUID, KEY),
        ("driver_id", UUID, NEEDED),
        ("endpoint", Text, NEEDED),
        ("p256dh", Text, NEEDED),
        ("auth", Text, NEEDED),
        ("created_at", Timestamptz, NEEDED),
        ("expires_at", Timestamptz, NEEDED),
        ("last_at", Timestamptz, OPTIONAL),
        ("last_status", Integer, OPTIONAL),
        ("last_error", Text, OPTIONAL),
    ],
    ("DriverNotice", "driver_notices"): [
        ("id", UUID, KEY),
        ("kind", Text, NEEDED),
        ("driver_id", UUID, NEEDED),
        ("delivery_id", UUID, NEEDED),
        ("offer_id", UUID, NEEDED),
        ("subscription_id", UUID, NEEDED),
        ("created_at", Timestamptz, NEEDED),
        ("expires_at", Timestamptz, NEEDED),
        ("attempts", Integer, {"default": 0}),
        ("next_attempt_at", Timestamptz, OPTIONAL),
        ("locked_until", Timestamptz, OPTIONAL),
        ("sent_at", Timestamptz, OPTIONAL),
        ("received_at", Timestamptz, OPTIONAL),
        ("failed_at", Timestamptz, OPTIONAL),
        ("last_status", Integer, OPTIONAL),
        ("last_error", Text, OPTIONAL),
    ],
}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="web push")
    for class_name, tablename in NEW:
        manager.add_table(class_name, tablename=tablename)
    for (class_name, tablename), columns in NEW.items():
        for name, column_class, params in columns:
            manager.add_column(
                table_class_name=class_name,
                tablename=tablename,
                column_name=name,
                column_class=column_class,
                params=dict(params),
            )
    return manager
