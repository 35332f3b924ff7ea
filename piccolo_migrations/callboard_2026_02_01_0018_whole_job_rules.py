"""What rows of the new states may be, and how those at risk are found. Every rule allows what it allowed before."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000018"

CHECKS = {
    "deliveries": {
        "status": (
            "status IN ('SCHEDULED', 'READY', 'ASSIGNED', 'PICKED_UP', 'DELIVERED', 'CANCELLED', 'FAILED', 'RETURNING',"
            " 'RETURNED')"
        ),
        # What is held is READY, and does not wait yet.
        "waiting": "(status = 'READY') = (unassigned_since IS NOT NULL OR held_until IS NOT NULL)",
        "money": "price_cents >= 0 AND driver_pay_cents >= 0 AND tip_cents >= 0",
        "over": "over_at IS NULL OR status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')",
        "risk": "(risk_since IS NULL) = (risks IS NULL) AND risk_level BETWEEN 0 AND 10",
    },
    "assignments": {
        "status": ("status IN ('ACTIVE', 'COMPLETED', 'REASSIGNED', 'CANCELLED', 'RELEASED', 'FAILED', 'RETURNED')"),
        "ended": ("(status IN ('REASSIGNED', 'CANCELLED', 'RELEASED', 'FAILED', 'RETURNED')) = (ended_at IS NOT NULL)"),
    },
}
WIDER = {"deliveries": ("status", "waiting", "money"), "assignments": ("status", "ended")}
"""Those that replace a narrower rule of the same name."""

REMOVE_DELIVERIES = """
CREATE OR REPLACE FUNCTION remove_deliveries(
    after_id uuid, below_id uuid, before timestamptz, most integer,
    OUT last_id uuid, OUT deliveries bigint, OUT unassigned_orders bigint, OUT driver_offers bigint,
    OUT assignments bigint, OUT support_tickets bigint, OUT notices bigint, OUT events bigint
) LANGUAGE plpgsql VOLATILE
SET lock_timeout = '200ms' SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    over uuid[];
BEGIN
    SELECT array_agg(f.id ORDER BY f.id) INTO over FROM (
        SELECT d.id FROM deliveries d
        WHERE d.id > after_id AND d.id < below_id AND d.status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')
          AND d.created_at < before AND d.dispatch_at < before
          AND coalesce((SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id) < before, true)
        ORDER BY d.id LIMIT most) AS f;
    last_id := over[cardinality(over)];
    SELECT array_agg(l.id) INTO over FROM (
        SELECT d.id FROM deliveries d WHERE d.id = ANY (over) ORDER BY d.id FOR UPDATE SKIP LOCKED) AS l;
    DELETE FROM notices n WHERE n.delivery_id = ANY (over);
    GET DIAGNOSTICS notices = ROW_COUNT;
    DELETE FROM support_tickets t WHERE t.delivery_id = ANY (over);
    GET DIAGNOSTICS support_tickets = ROW_COUNT;
    DELETE FROM unassigned_orders u WHERE u.delivery_id = ANY (over);
    GET DIAGNOSTICS unassigned_orders = ROW_COUNT;
    DELETE FROM assignments a WHERE a.delivery_id = ANY (over);
    GET DIAGNOSTICS assignments = ROW_COUNT;
    DELETE FROM driver_offers o WHERE o.delivery_id = ANY (over);
    GET DIAGNOSTICS driver_offers = ROW_COUNT;
    DELETE FROM events e WHERE e.delivery_id = ANY (over);
    GET DIAGNOSTICS events = ROW_COUNT;
    DELETE FROM deliveries d WHERE d.id = ANY (over);
    GET DIAGNOSTICS deliveries = ROW_COUNT;
END
$$
"""
"""As before, and also those that came to nothing."""

KINDS = """
ALTER TABLE stream_notices DROP CONSTRAINT stream_notices_kind_check,
    ADD CONSTRAINT stream_notices_kind_check CHECK (kind IN (
        'delivery.assigned', 'delivery.reassigned', 'delivery.cancelled', 'driver.availability_changed',
        'delivery.changed', 'delivery.released'))"""

INDEXES = (
    "DROP INDEX deliveries_open",
    """CREATE INDEX deliveries_open ON deliveries (status, id)
       WHERE status IN ('SCHEDULED', 'READY', 'ASSIGNED', 'PICKED_UP', 'RETURNING')""",
    "CREATE INDEX deliveries_watched ON deliveries (watch_at) WHERE watch_at IS NOT NULL",
    "CREATE INDEX deliveries_at_risk ON deliveries (risk_since) WHERE risk_since IS NOT NULL",
)


def statements() -> list[str]:
    """In the order they run."""
    found = []
    for table, rules in CHECKS.items():
        drops = [f"DROP CONSTRAINT {table}_{name}_check" for name in WIDER[table]]
        adds = [f"ADD CONSTRAINT {table}_{name}_check CHECK ({rule})" for name, rule in rules.items()]
        found.append(f"ALTER TABLE {table} {', '.join([*drops, *adds])}")
    return [*found, KINDS, REMOVE_DELIVERIES, *INDEXES]


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements():
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="whole job rules")
    manager.add_raw(run)
    return manager
