"""An object whose proof is deleted, by whatever, has to be deleted in the store too."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000035"

STATEMENTS = (
    """
    CREATE FUNCTION remove_proof_object() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE proof_objects SET remove_at = clock_timestamp() WHERE key = OLD.object_key;
        RETURN NULL;
    END
    $$
    """,
    """
    CREATE TRIGGER remove_proof_object AFTER DELETE ON proofs FOR EACH ROW
    WHEN (OLD.object_key IS NOT NULL) EXECUTE FUNCTION remove_proof_object()
    """,
    "CREATE INDEX proof_objects_to_remove ON proof_objects (remove_at) WHERE remove_at IS NOT NULL",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="proof object rules")
    manager.add_raw(run)
    return manager
