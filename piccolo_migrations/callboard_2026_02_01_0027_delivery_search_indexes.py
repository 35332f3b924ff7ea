"""How orders are found by parts of words, by store, by seller and by driver.

A row of `delivery_search` goes with its order and changes with its texts, from any writer. Without the extension
pg_trgm parts of words are found all the same, by reading every row.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000027"

TEXTS = (
    "seller_order_id", "store_name", "pickup_address", "dropoff_address", "pickup_name", "dropoff_name",
    "pickup_phone", "dropoff_phone", "notes", "pickup_notes", "dropoff_notes",
)  # fmt: skip
PHONES = ("pickup_phone", "dropoff_phone")
CHANGED = ", ".join(TEXTS)
OLD, NEW = (", ".join(f"{row}.{name}" for name in TEXTS) for row in ("OLD", "NEW"))

STATEMENTS = (
    f"""
    CREATE FUNCTION delivery_words(d deliveries) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT lower(concat_ws(E'\\n', {", ".join(f"d.{name}" for name in TEXTS)},
        {", ".join(f"nullif(regexp_replace(d.{name}, '[^0-9]', '', 'g'), '')" for name in PHONES)}))
    $$
    """,
    """
    CREATE FUNCTION delivery_store(d deliveries) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT lower(regexp_replace(btrim(d.store_name), '\\s+', ' ', 'g'))
    $$
    """,
    """
    CREATE FUNCTION search_delivery_anew() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE delivery_search SET words = delivery_words(NEW), store = delivery_store(NEW)
        WHERE delivery_id = NEW.id;
        RETURN NULL;
    END
    $$
    """,
    f"""
    CREATE TRIGGER search_delivery_anew AFTER UPDATE OF {CHANGED} ON deliveries FOR EACH ROW
    WHEN (({OLD}) IS DISTINCT FROM ({NEW}))
    EXECUTE FUNCTION search_delivery_anew()
    """,
    """
    ALTER TABLE delivery_search ADD CONSTRAINT delivery_search_delivery
        FOREIGN KEY (delivery_id) REFERENCES deliveries (id) ON DELETE CASCADE
    """,
    # One entry for each accept; the orders that a driver has or had.
    "CREATE INDEX events_assigned_to_driver ON events (driver_id, delivery_id) WHERE type = 'delivery.assigned'",
    "CREATE INDEX delivery_search_seller ON delivery_search (seller_id, delivery_id)",
    "CREATE INDEX delivery_search_store ON delivery_search (store, delivery_id)",
    """
    DO $$
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm;
        CREATE INDEX delivery_search_words ON delivery_search USING gin (words gin_trgm_ops);
    EXCEPTION WHEN undefined_file OR feature_not_supported OR insufficient_privilege OR undefined_object THEN
        RAISE NOTICE 'pg_trgm is not available';
    END
    $$
    """,
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="delivery search indexes")
    manager.add_raw(run)
    return manager
