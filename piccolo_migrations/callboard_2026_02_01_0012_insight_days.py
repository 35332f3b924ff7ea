"""Finished days, counted once for the insights."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import BigSerial, DoublePrecision, Integer, Text, Timestamptz

ID = "2026-02-01T00:00:00:0000122"

NEEDED: dict[str, Any] = {"default": None, "null": False}
OPTIONAL: dict[str, Any] = {"default": None, "null": True}

Columns = list[tuple[str, type, dict[str, Any]]]

TABLES: dict[tuple[str, str], Columns] = {
    ("InsightDay", "insight_days"): [
        ("id", BigSerial, {"primary_key": True}),
        ("time_zone", Text, NEEDED),
        ("since", Timestamptz, NEEDED),
        ("until", Timestamptz, NEEDED),
    ],
    ("InsightCount", "insight_counts"): [
        ("id", BigSerial, {"primary_key": True}),
        ("time_zone", Text, NEEDED),
        ("since", Timestamptz, NEEDED),
        ("part", Text, NEEDED),
        ("zone", Text, NEEDED),
        ("hour", Timestamptz, OPTIONAL),
        ("second", Integer, OPTIONAL),
        ("reason", Text, OPTIONAL),
        ("accepted", Integer, NEEDED),
        ("auto_accepted", Integer, NEEDED),
        ("rejected", Integer, NEEDED),
        ("expired", Integer, NEEDED),
        ("answered", Integer, NEEDED),
        ("ms", DoublePrecision, NEEDED),
        ("wanted", Integer, NEEDED),
        ("late", Integer, NEEDED),
    ],
}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="insight days")
    for (class_name, tablename), columns in TABLES.items():
        manager.add_table(class_name, tablename=tablename)
        for name, column_class, params in columns:
            manager.add_column(
                table_class_name=class_name,
                tablename=tablename,
                column_name=name,
                column_class=column_class,
                params=dict(params),
            )
    return manager
