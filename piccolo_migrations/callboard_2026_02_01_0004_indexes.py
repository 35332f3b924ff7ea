"""How rows are found and where their new versions go.

Rows of the hot tables are updated several times in their short lives. Pages keep room for that, and no index names
a column that changes with every update (an open offer, a sequence number, a position), so that most new versions
stay on their page and touch no index.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000004"

INDEXES = (
    # Loading: by delivery. The partial unique indexes find open offers and active assignments.
    "CREATE INDEX driver_offers_delivery ON driver_offers (delivery_id)",
    "CREATE INDEX assignments_delivery ON assignments (delivery_id)",
    "CREATE INDEX assignments_active_of_driver ON assignments (driver_id) WHERE status = 'ACTIVE'",
    # Deadlines.
    "CREATE INDEX driver_offers_deadline ON driver_offers (expires_at) WHERE status = 'PENDING'",
    "CREATE INDEX deliveries_waiting ON deliveries (unassigned_since) WHERE status = 'READY'",
    "CREATE INDEX deliveries_scheduled ON deliveries (dispatch_at) WHERE status = 'SCHEDULED'",
    "CREATE INDEX drivers_on_break ON drivers (availability_until) WHERE availability = 'on_break'",
    """CREATE INDEX drivers_without_socket ON drivers (socket_lost_at)
       WHERE session_id IS NULL AND availability IN ('available', 'on_break', 'paused')""",
    "CREATE INDEX drivers_session_node ON drivers (session_node) WHERE session_node IS NOT NULL",
    # Matching in SQL.
    "CREATE INDEX drivers_available ON drivers (zone) WHERE availability = 'available'",
    # Lists, newest first.
    """CREATE INDEX deliveries_open ON deliveries (status, id)
       WHERE status IN ('SCHEDULED', 'READY', 'ASSIGNED', 'PICKED_UP')""",
    "CREATE INDEX deliveries_zone ON deliveries (zone, id)",
    "CREATE INDEX driver_availability_history_driver ON driver_availability_history (driver_id, timestamp, id)",
    "CREATE INDEX support_tickets_delivery ON support_tickets (delivery_id)",
    # The story of a delivery, and the offers made to a driver.
    "CREATE INDEX events_delivery ON events (delivery_id, id) WHERE delivery_id IS NOT NULL",
    "CREATE INDEX events_offers_of_driver ON events (driver_id, id) WHERE type = 'offer.created'",
    # Windows of time over tables that grow at their end.
    "CREATE INDEX driver_offers_created ON driver_offers USING brin (created_at) WITH (autosummarize = on)",
    "CREATE INDEX deliveries_created ON deliveries USING brin (created_at) WITH (autosummarize = on)",
    "CREATE INDEX driver_messages_created ON driver_messages USING brin (created_at) WITH (autosummarize = on)",
    # The outbox.
    """CREATE INDEX webhook_deliveries_due ON webhook_deliveries (next_attempt_at)
       WHERE delivered_at IS NULL AND parked_at IS NULL""",
)

# Percent of a page filled by inserts.
FILL = {
    "drivers": 70,
    "driver_positions": 50,
    "deliveries": 80,
    "unassigned_orders": 80,
    "driver_offers": 85,
    "assignments": 80,
    "nodes": 50,
    "leases": 50,
}

# Where dead versions gather fast, clean up early, and know early that a young table has grown.
VACUUM = (
    "autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 500,"
    " autovacuum_analyze_scale_factor = 0.05, autovacuum_analyze_threshold = 200"
)


def statements() -> list[str]:
    """In the order they run."""
    storage = [f"ALTER TABLE {table} SET (fillfactor = {percent}, {VACUUM})" for table, percent in FILL.items()]
    return [*INDEXES, *storage]


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements():
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="indexes")
    manager.add_raw(run)
    return manager
