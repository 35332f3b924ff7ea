"""How far estimates were from the truth, counted once for each day."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import BigSerial, Boolean, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:000039"

NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

Columns = list[tuple[str, str, str, type, dict[str, Any]]]

ESTIMATES = ("InsightEstimate", "insight_estimates")
COLUMNS: Columns = [
    ("InsightDay", "insight_days", "estimates", Boolean, OPTIONAL),
    (*ESTIMATES, "id", BigSerial, {"primary_key": True}),
    (*ESTIMATES, "time_zone", Text, NEEDED),
    (*ESTIMATES, "since", Timestamptz, NEEDED),
    (*ESTIMATES, "zone", Text, NEEDED),
    (*ESTIMATES, "stage", Text, NEEDED),
    (*ESTIMATES, "seconds", Integer, NEEDED),
    (*ESTIMATES, "deliveries", Integer, NEEDED),
]


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="insight estimates")
    manager.add_table(ESTIMATES[0], tablename=ESTIMATES[1])
    for class_name, tablename, name, column_class, params in COLUMNS:
        manager.add_column(
            table_class_name=class_name,
            tablename=tablename,
            column_name=name,
            column_class=column_class,
            params=dict(params),
        )
    return manager
