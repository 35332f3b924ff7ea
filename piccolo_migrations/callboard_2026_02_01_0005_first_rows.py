"""The rows that are always there: the first policy, and the dispatcher's lease, held by nobody."""

import msgspec
from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

from server.dispatch.events import camel
from server.dispatch.policy import ADDED, DEFAULT_POLICY

ID = "2026-02-01T00:00:00:000005"


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    known = msgspec.to_builtins(DEFAULT_POLICY)
    for name in ADDED:
        del known[camel(name)]  # the previous release could not read it
    document = msgspec.json.encode(known).decode().replace("'", "''")
    await engine.run_ddl(
        f"INSERT INTO policy (version, document, changed_by, reason) VALUES (1, '{document}', NULL, 'the defaults')"
    )
    await engine.run_ddl("INSERT INTO leases (name) VALUES ('dispatcher')")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="first rows")
    manager.add_raw(run)
    return manager
