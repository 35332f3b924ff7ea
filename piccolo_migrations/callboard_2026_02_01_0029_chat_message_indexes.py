"""How messages between dispatch and drivers are found: by driver, unseen ones, by time, and those not erased yet."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000029"

STATEMENTS = (
    "ALTER TABLE chat_messages ADD CONSTRAINT chat_messages_driver FOREIGN KEY (driver_id) REFERENCES drivers (id)",
    "CREATE INDEX chat_messages_of_driver ON chat_messages (driver_id, at)",
    "CREATE INDEX chat_messages_unseen ON chat_messages (driver_id) WHERE seen_at IS NULL AND NOT by_driver",
    "CREATE INDEX chat_messages_at ON chat_messages (at)",
    "CREATE INDEX chat_messages_personal ON chat_messages (at) WHERE text IS NOT NULL",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="chat message indexes")
    manager.add_raw(run)
    return manager
