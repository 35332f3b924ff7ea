"""The locks of the write path, in one order: deliveries by id, then drivers by id."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000003"

# Each statement sees what was committed before it began (READ COMMITTED, VOLATILE). What is looked up without a lock
# never changes (whose offer, whose assignment, which order), or is checked again by the rules once locks are held
# (a driver's open offer). A delivery's open offer and active assignment are read after the delivery is locked, and
# only who holds that lock changes them. What is open is known by its instants rather than its status: a plan made while
# the tables were small could otherwise read a whole partial index on that status, and keep doing so.
LOCK_ROWS = """
CREATE FUNCTION lock_rows(
    named_deliveries uuid[], whole_deliveries uuid[], named_drivers uuid[], whole_drivers uuid[],
    named_offers uuid[], named_assignments uuid[], seller_ids text[], seller_order_ids text[],
    OUT deliveries uuid[], OUT drivers uuid[]
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    wanted uuid[] := named_deliveries || whole_deliveries;
    people uuid[] := named_drivers || whole_drivers;
    found uuid[];
    theirs uuid[];
BEGIN
    IF cardinality(named_offers) > 0 THEN
        SELECT array_agg(o.delivery_id), array_agg(o.driver_id) INTO found, theirs
        FROM driver_offers o WHERE o.id = ANY (named_offers);
        wanted := wanted || found;
        people := people || theirs;
    END IF;
    IF cardinality(named_assignments) > 0 THEN
        SELECT array_agg(a.delivery_id), array_agg(a.driver_id) INTO found, theirs
        FROM assignments a WHERE a.id = ANY (named_assignments);
        wanted := wanted || found;
        people := people || theirs;
    END IF;
    IF cardinality(seller_order_ids) > 0 THEN
        SELECT array_agg(d.id) INTO found
        FROM unnest(seller_ids, seller_order_ids) AS k (seller_id, seller_order_id), LATERAL (
            SELECT e.id FROM deliveries e
            WHERE e.seller_order_id = k.seller_order_id AND e.seller_id = k.seller_id LIMIT 1) AS d;
        wanted := wanted || found;
    END IF;
    IF cardinality(whole_drivers) > 0 THEN
        SELECT array_agg(r.open_offer_delivery_id) INTO found
        FROM drivers r WHERE r.id = ANY (whole_drivers) AND r.open_offer_delivery_id IS NOT NULL;
        wanted := wanted || found;
    END IF;

    deliveries := '{}';
    IF cardinality(wanted) > 0 THEN
        SELECT coalesce(array_agg(l.id), '{}') INTO deliveries
        FROM (SELECT d.id FROM deliveries d WHERE d.id = ANY (wanted) ORDER BY d.id FOR NO KEY UPDATE) AS l;
    END IF;

    IF cardinality(whole_deliveries) > 0 THEN
        SELECT array_agg(o.driver_id) INTO found
        FROM driver_offers o WHERE o.delivery_id = ANY (whole_deliveries) AND o.closed_at IS NULL;
        SELECT array_agg(a.driver_id) INTO theirs
        FROM assignments a
        WHERE a.delivery_id = ANY (whole_deliveries) AND a.completed_at IS NULL AND a.ended_at IS NULL;
        people := people || found || theirs;
    END IF;

    drivers := '{}';
    IF cardinality(people) > 0 THEN
        SELECT coalesce(array_agg(l.id), '{}') INTO drivers
        FROM (SELECT r.id FROM drivers r WHERE r.id = ANY (people) ORDER BY r.id FOR NO KEY UPDATE) AS l;
    END IF;
END
$$
"""


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(LOCK_ROWS)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="lock_rows")
    manager.add_raw(run)
    return manager
