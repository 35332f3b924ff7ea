"""Invitations and devices of drivers. Only additions: the previous release runs on this schema."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID, Text, Timestamptz

ID = "2026-02-01T00:00:00:000022"

KEY: dict[str, Any] = {"primary_key": True, "default": None}
NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

NEW: dict[tuple[str, str], list[tuple[str, type, dict[str, Any]]]] = {
    ("DriverInvitation", "driver_invitations"): [
        ("driver_id", UUID, KEY),
        ("code_hash", Text, NEEDED),
        ("created_by_type", Text, NEEDED),
        ("created_by", Text, OPTIONAL),
        ("created_at", Timestamptz, NEEDED),
        ("expires_at", Timestamptz, NEEDED),
    ],
    ("DriverDevice", "driver_devices"): [
        ("id", UUID, KEY),
        ("driver_id", UUID, NEEDED),
        ("name", Text, NEEDED),
        ("family_hash", Text, NEEDED),
        ("token_hash", Text, NEEDED),
        ("created_at", Timestamptz, NEEDED),
        ("last_used_at", Timestamptz, NEEDED),
        ("ended_at", Timestamptz, OPTIONAL),
        ("ended_by_type", Text, OPTIONAL),
        ("ended_by", Text, OPTIONAL),
        ("end_reason", Text, OPTIONAL),
    ],
}
ADDED: tuple[tuple[str, str, str, type], ...] = (
    ("Driver", "drivers", "active_changed_at", Timestamptz),
    ("PushSubscription", "push_subscriptions", "device_id", UUID),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="devices")
    for class_name, tablename in NEW:
        manager.add_table(class_name, tablename=tablename)
    columns = [
        (class_name, tablename, name, column_class, params)
        for (class_name, tablename), listed in NEW.items()
        for name, column_class, params in listed
    ]
    columns += [(*added, OPTIONAL) for added in ADDED]
    for class_name, tablename, name, column_class, params in columns:
        manager.add_column(
            table_class_name=class_name,
            tablename=tablename,
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
