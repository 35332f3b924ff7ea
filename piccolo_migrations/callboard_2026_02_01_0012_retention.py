"""Retention: how old rows are found, and how a delivery goes with all that is its own."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000012"

INDEXES = (
    # Events of no delivery: the others go with theirs.
    "CREATE INDEX events_apart ON events (at) WHERE delivery_id IS NULL",
    "CREATE INDEX notices_delivery ON notices (delivery_id) WHERE delivery_id IS NOT NULL",
    "CREATE INDEX webhook_deliveries_delivered ON webhook_deliveries (delivered_at) WHERE delivered_at IS NOT NULL",
    "CREATE INDEX webhook_deliveries_given_up ON webhook_deliveries (parked_at) WHERE parked_at IS NOT NULL",
    # A driver's messages go from the front of their stream. Summaries of a table whose pages are filled again tell less
    # and less.
    "DROP INDEX driver_messages_created",
)

# Finished deliveries, the oldest first, after one id and below another (ids are in order of time). The lock is the
# one that every command takes first; what a command holds is left for another time. Nothing can be added to a delivery
# that has ended, so what is deleted by later statements is all there is. A scalar subquery is always looked up, where
# EXISTS might be planned as a join that reads every event; and without bitmaps a walk along the ids ends after a batch,
# instead of first gathering all that is old.
REMOVE_DELIVERIES = """
CREATE FUNCTION remove_deliveries(
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
        WHERE d.id > after_id AND d.id < below_id AND d.status IN ('DELIVERED', 'CANCELLED')
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


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in (*INDEXES, REMOVE_DELIVERIES):
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="retention")
    manager.add_raw(run)
    return manager
