"""Deliveries are removed only if they are still over once they are locked.

Between the look and the lock, a failed one may have been tried again.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000048"

OVER = """d.status IN ('DELIVERED', 'CANCELLED', 'FAILED', 'RETURNED')
          AND d.created_at < before AND d.dispatch_at < before
          AND coalesce((SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id) < before, true)"""

# The third look sees what was committed before the lock: each statement sees the state as it begins.
REMOVE_DELIVERIES = f"""
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
        WHERE d.id > after_id AND d.id < below_id AND {OVER}
        ORDER BY d.id LIMIT most) AS f;
    last_id := over[cardinality(over)];
    SELECT array_agg(l.id) INTO over FROM (
        SELECT d.id FROM deliveries d WHERE d.id = ANY (over) ORDER BY d.id FOR UPDATE SKIP LOCKED) AS l;
    SELECT array_agg(d.id) INTO over FROM deliveries d WHERE d.id = ANY (over) AND {OVER};
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


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(REMOVE_DELIVERIES)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="remove only what is over")
    manager.add_raw(run)
    return manager
