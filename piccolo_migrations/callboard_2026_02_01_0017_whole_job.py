"""The whole life of a job: people at both ends, what is asked for at the door, failing, returning, and what is at risk.

Only additions: code of the release before runs on this schema.
"""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import JSONB, Array, Boolean, DoublePrecision, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:000017"

OPTIONAL: dict[str, Any] = {"default": None, "null": True}
TEXTS: dict[str, Any] = {"base_column": Text(), "default": None, "null": True}
NONE_YET: dict[str, Any] = {"default": 0, "null": False}

COLUMNS: tuple[tuple[str, str, str, type, dict[str, Any]], ...] = (
    ("Driver", "drivers", "vehicle", Text, OPTIONAL),
    ("Driver", "drivers", "tags", Array, TEXTS),
    ("Driver", "drivers", "active", Boolean, {"default": True, "null": False}),
    ("Driver", "drivers", "shift_ends_at", Timestamptz, OPTIONAL),
    ("DriverPosition", "driver_positions", "still_lat", DoublePrecision, OPTIONAL),
    ("DriverPosition", "driver_positions", "still_lon", DoublePrecision, OPTIONAL),
    ("DriverPosition", "driver_positions", "still_since", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "pickup_name", Text, OPTIONAL),
    ("Delivery", "deliveries", "pickup_phone", Text, OPTIONAL),
    ("Delivery", "deliveries", "pickup_notes", Text, OPTIONAL),
    ("Delivery", "deliveries", "dropoff_name", Text, OPTIONAL),
    ("Delivery", "deliveries", "dropoff_phone", Text, OPTIONAL),
    ("Delivery", "deliveries", "dropoff_notes", Text, OPTIONAL),
    ("Delivery", "deliveries", "requirements", Array, TEXTS),
    ("Delivery", "deliveries", "tip_cents", Integer, OPTIONAL),
    ("Delivery", "deliveries", "promised_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "ready_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "held_until", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "estimated_pickup_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "estimated_delivery_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "over_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "watch_at", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "risk_since", Timestamptz, OPTIONAL),
    ("Delivery", "deliveries", "risk_level", Integer, NONE_YET),
    ("Delivery", "deliveries", "risk_acknowledged_by", Text, OPTIONAL),
    ("Delivery", "deliveries", "risks", JSONB, OPTIONAL),
    ("Delivery", "deliveries", "details", JSONB, OPTIONAL),
    ("Delivery", "deliveries", "posted", JSONB, OPTIONAL),
    ("Assignment", "assignments", "end_note", Text, OPTIONAL),
    ("Assignment", "assignments", "arrived_pickup_at", Timestamptz, OPTIONAL),
    ("Assignment", "assignments", "arrived_dropoff_at", Timestamptz, OPTIONAL),
    ("Assignment", "assignments", "failed_at", Timestamptz, OPTIONAL),
    ("Assignment", "assignments", "pickup_due_at", Timestamptz, OPTIONAL),
    ("Assignment", "assignments", "details", JSONB, OPTIONAL),
    ("Node", "nodes", "words", Integer, NONE_YET),
)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="whole job")
    for table_class_name, tablename, name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name=table_class_name,
            tablename=tablename,
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
