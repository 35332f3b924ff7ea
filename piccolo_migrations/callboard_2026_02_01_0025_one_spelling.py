"""Every zone has one spelling, the one that most drivers have: other drivers, orders and tickets get it too."""

import unicodedata
from collections import defaultdict
from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder
from piccolo.querystring import QueryString

ID = "2026-02-01T00:00:00:000025"

# A step from zone to zone in the index of orders; DISTINCT would read every order.
FOUND = """
WITH RECURSIVE z AS (
    (SELECT zone FROM deliveries ORDER BY zone LIMIT 1)
    UNION ALL
    SELECT (SELECT d.zone FROM deliveries d WHERE d.zone > z.zone ORDER BY d.zone LIMIT 1) FROM z
    WHERE z.zone IS NOT NULL
)
SELECT zone, max(drivers) AS drivers FROM (
    SELECT zone, 0 AS drivers FROM z WHERE zone IS NOT NULL
    UNION ALL
    SELECT zone, count(*) FROM drivers GROUP BY zone) AS named
GROUP BY zone ORDER BY 2 DESC, 1
"""
CHECKS = (
    """ALTER TABLE zones ADD CONSTRAINT zones_described_check
       CHECK (name IS NOT NULL OR (shape IS NULL AND helped_by IS NULL))""",
    "CREATE INDEX zones_version ON zones (version)",
)
IN_ONE_SPELLING = ("drivers", "deliveries", "support_tickets")


def spelling(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())


def key(name: str) -> str:
    return spelling(unicodedata.normalize("NFC", name).casefold())


async def run() -> None:
    engine: Any = engine_finder()
    assert engine is not None
    spellings: dict[str, list[str]] = defaultdict(list)
    for row in await engine.run_querystring(QueryString(FOUND)):
        spellings[key(row["zone"])].append(row["zone"])
    spellings.setdefault("default", ["default"])
    for of, found in spellings.items():
        chosen = spelling(found[0])
        await engine.run_querystring(
            QueryString("INSERT INTO zones (key, spelling, version) VALUES ({}, {}, 0)", of, chosen)
        )
        for other in found:
            if other != chosen:
                for table in IN_ONE_SPELLING:
                    update = f"UPDATE {table} SET zone = {{}} WHERE zone = {{}}"
                    await engine.run_querystring(QueryString(update, chosen, other))
    for statement in CHECKS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="one spelling")
    manager.add_raw(run)
    return manager
