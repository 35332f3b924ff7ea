"""The same rules as before, with constants of the columns' types: they cost every statement less.

PostgreSQL prepares each rule of a table anew for every statement that writes the table. A list of texts and a number of
another type are computed anew too, which takes longer than the rest.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000047"

AVAILABILITY = "'{available,on_break,paused,shift_ended,offline}'::text[]"
DELIVERY = "'{SCHEDULED,READY,ASSIGNED,PICKED_UP,DELIVERED,CANCELLED,FAILED,RETURNING,RETURNED}'::text[]"
LAT, LON = "BETWEEN '-90'::float8 AND '90'::float8", "BETWEEN '-180'::float8 AND '180'::float8"

CHECKS = {
    "drivers": {
        "availability": f"availability = ANY ({AVAILABILITY})",
        "availability_before": f"availability_before = ANY ({AVAILABILITY})",
    },
    "deliveries": {
        "status": f"status = ANY ({DELIVERY})",
        "accepted": "accepted_offer_id IS NULL OR status <> ALL ('{SCHEDULED,READY}'::text[])",
        "over": "over_at IS NULL OR status = ANY ('{DELIVERED,CANCELLED,FAILED,RETURNED}'::text[])",
        "pickup": f"pickup_lat {LAT} AND pickup_lon {LON}",
        "dropoff": f"dropoff_lat {LAT} AND dropoff_lon {LON}",
    },
    "unassigned_orders": {"escalation_status": "escalation_status = ANY ('{PENDING,ASSIGNED,CANCELLED}'::text[])"},
    "driver_offers": {"status": "status = ANY ('{PENDING,ACCEPTED,REJECTED,EXPIRED,WITHDRAWN}'::text[])"},
    "assignments": {
        "status": "status = ANY ('{ACTIVE,COMPLETED,REASSIGNED,CANCELLED,RELEASED,FAILED,RETURNED}'::text[])",
        "source": "source = ANY ('{accepted,auto_accepted,manual}'::text[])",
        "ended": "(status = ANY ('{REASSIGNED,CANCELLED,RELEASED,FAILED,RETURNED}'::text[])) = (ended_at IS NOT NULL)",
    },
    "events": {"actor_type": "actor_type = ANY ('{driver,admin,ops,service,system}'::text[])"},
}


def statements() -> list[str]:
    """In the order they run."""
    found = []
    for table, rules in CHECKS.items():
        drops = [f"DROP CONSTRAINT {table}_{name}_check" for name in rules]
        adds = [f"ADD CONSTRAINT {table}_{name}_check CHECK ({rule})" for name, rule in rules.items()]
        found.append(f"ALTER TABLE {table} {', '.join([*drops, *adds])}")
    return found


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements():
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="typed checks")
    manager.add_raw(run)
    return manager
