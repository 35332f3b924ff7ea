"""A session is a user's, and goes with them."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000007"

STATEMENTS = (
    """ALTER TABLE sessions ADD CONSTRAINT sessions_user_id_exists
       FOREIGN KEY (user_id) REFERENCES users ON DELETE CASCADE""",
    "CREATE INDEX sessions_user ON sessions (user_id)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="sessions of users")
    manager.add_raw(run)
    return manager
