"""A push can also be about a message of dispatch: then it has no offer and no delivery."""

from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import UUID

ID = "2026-02-01T00:00:00:000032"

OPTIONAL: dict[str, Any] = {"default": None, "null": True}


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="message pushes")
    for name in ("delivery_id", "offer_id"):
        manager.alter_column(
            table_class_name="DriverNotice",
            tablename="driver_notices",
            column_name=name,
            db_column_name=name,
            params={"null": True},
            old_params={"null": False},
            column_class=UUID,
            old_column_class=UUID,
        )
    manager.add_column(
        table_class_name="DriverNotice",
        tablename="driver_notices",
        column_name="message_id",
        column_class=UUID,
        params=OPTIONAL,
    )
    return manager
