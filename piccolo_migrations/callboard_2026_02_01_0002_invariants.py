"""What no bug of ours may break: keys, references, and the values and combinations that a row may have."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000002"

AVAILABILITY = "('available', 'on_break', 'paused', 'shift_ended', 'offline')"
ACTORS = "('driver', 'admin', 'ops', 'service', 'system')"

UNIQUE = (
    # A driver's stream has one message a number.
    "ALTER TABLE driver_messages DROP CONSTRAINT driver_messages_pkey, ADD PRIMARY KEY (driver_id, seq)",
    # Events are read in an order that a reader can trust: a lower number may be committed after a higher one was read.
    "ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (xid, id)",
    # Led by the order's id: ops look orders up by it alone.
    "CREATE UNIQUE INDEX deliveries_seller_key ON deliveries (seller_order_id, seller_id)",
    "CREATE UNIQUE INDEX driver_offers_one_pending_a_delivery ON driver_offers (delivery_id) WHERE status = 'PENDING'",
    "CREATE UNIQUE INDEX driver_offers_one_pending_a_driver ON driver_offers (driver_id) WHERE status = 'PENDING'",
    "CREATE UNIQUE INDEX assignments_one_active_a_delivery ON assignments (delivery_id) WHERE status = 'ACTIVE'",
    "CREATE UNIQUE INDEX drivers_external_ref ON drivers (external_ref)",
    "CREATE UNIQUE INDEX alerts_one_unresolved ON alerts (kind, zone) WHERE resolved_at IS NULL",
    "CREATE UNIQUE INDEX users_name ON users (lower(name))",
    "CREATE UNIQUE INDEX api_keys_key_hash ON api_keys (key_hash)",
    "CREATE UNIQUE INDEX webhook_deliveries_once ON webhook_deliveries (webhook_id, event_id)",
)

# (table, column, referenced table). The write path holds the locks on the rows referred to, so that checking these
# takes no lock that it does not have; events refer to nothing, since they name rows that nobody locked.
REFERENCES = (
    ("unassigned_orders", "delivery_id", "deliveries"),
    ("driver_offers", "delivery_id", "deliveries"),
    ("driver_offers", "driver_id", "drivers"),
    ("assignments", "delivery_id", "deliveries"),
    ("assignments", "driver_id", "drivers"),
    ("support_tickets", "delivery_id", "deliveries"),
    ("driver_positions", "driver_id", "drivers"),
    ("webhook_deliveries", "webhook_id", "webhooks"),
)

CHECKS = {
    "drivers": {
        "availability": f"availability IN {AVAILABILITY}",
        "availability_before": f"availability_before IN {AVAILABILITY}",
        "capacity": "capacity >= 1",
        "load": "active_count BETWEEN 0 AND capacity",
        "expiries": "expiries_in_a_row >= 0",
        "stream": "stream_seq >= 0",
        "offer": "(open_offer_id IS NULL) = (open_offer_delivery_id IS NULL)",
        "session": "(session_id IS NULL) = (session_node IS NULL)",
        "presence": "session_id IS NULL OR socket_lost_at IS NULL",
    },
    "driver_positions": {
        "lat": "lat BETWEEN -90 AND 90",
        "lon": "lon BETWEEN -180 AND 180",
        "whole": "(lat IS NULL) = (lon IS NULL) AND (lat IS NULL) = (at IS NULL)",
    },
    "driver_messages": {"seq": "seq >= 1"},
    "driver_availability_history": {
        "from_state": f"from_state IN {AVAILABILITY}",
        "to_state": f"to_state IN {AVAILABILITY}",
        "actor_type": f"actor_type IN {ACTORS}",
    },
    "deliveries": {
        "status": "status IN ('SCHEDULED', 'READY', 'ASSIGNED', 'PICKED_UP', 'DELIVERED', 'CANCELLED')",
        "waiting": "(status = 'READY') = (unassigned_since IS NOT NULL)",
        "offered": "current_offer_id IS NULL OR status = 'READY'",
        "accepted": "accepted_offer_id IS NULL OR status NOT IN ('SCHEDULED', 'READY')",
        "pickup": "pickup_lat BETWEEN -90 AND 90 AND pickup_lon BETWEEN -180 AND 180",
        "dropoff": "dropoff_lat BETWEEN -90 AND 90 AND dropoff_lon BETWEEN -180 AND 180",
        "prep_seconds": "prep_seconds >= 0",
        "money": "price_cents >= 0 AND driver_pay_cents >= 0",
        "currency": "currency ~ '^[A-Z]{3}$'",
        "counts": "offer_acceptance_count >= 0 AND version >= 1",
    },
    "unassigned_orders": {
        "escalation_status": "escalation_status IN ('PENDING', 'ASSIGNED', 'CANCELLED')",
        "escalation_level": "escalation_level BETWEEN 0 AND 10",
        "attempt_count": "attempt_count >= 0",
    },
    "driver_offers": {
        "status": "status IN ('PENDING', 'ACCEPTED', 'REJECTED', 'EXPIRED', 'WITHDRAWN')",
        "open": "(status = 'PENDING') = (closed_at IS NULL)",
        "accepted": "(status = 'ACCEPTED') = (accepted_at IS NOT NULL)",
        "rejected": "(status = 'REJECTED') = (rejected_at IS NOT NULL)",
        "auto_accepted": "NOT auto_accepted OR status = 'EXPIRED'",
        "attempt": "attempt >= 1",
        "deadline": "expires_at > created_at",
    },
    "assignments": {
        "status": "status IN ('ACTIVE', 'COMPLETED', 'REASSIGNED', 'CANCELLED')",
        "source": "source IN ('accepted', 'auto_accepted', 'manual')",
        "offer": "(source = 'manual') = (offer_id IS NULL)",
        "completed": "(status = 'COMPLETED') = (completed_at IS NOT NULL)",
        "ended": "(status IN ('REASSIGNED', 'CANCELLED')) = (ended_at IS NOT NULL)",
        "version": "version >= 1",
    },
    "support_tickets": {
        "status": "status IN ('open', 'closed')",
        "priority": "priority IN ('low', 'normal', 'high', 'critical')",
    },
    "events": {"actor_type": f"actor_type IN {ACTORS}"},
    "webhook_deliveries": {"attempts": "attempts >= 0", "over": "delivered_at IS NULL OR parked_at IS NULL"},
    "policy": {"version": "version >= 1"},
    "users": {"role": "role IN ('viewer', 'ops', 'admin')", "name": "name <> ''"},
}


def statements() -> list[str]:
    """In the order they run."""
    references = [
        f"ALTER TABLE {table} ADD CONSTRAINT {table}_{column}_exists FOREIGN KEY ({column}) REFERENCES {target}"
        for table, column, target in REFERENCES
    ]
    checks = [
        f"ALTER TABLE {table} "
        + ", ".join(f"ADD CONSTRAINT {table}_{name}_check CHECK ({rule})" for name, rule in rules.items())
        for table, rules in CHECKS.items()
    ]
    return [*UNIQUE, *references, *checks]


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements():
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="invariants")
    manager.add_raw(run)
    return manager
