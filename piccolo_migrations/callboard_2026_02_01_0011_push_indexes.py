"""Web push: one subscription an endpoint, one notice an offer and subscription, and how they are found."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:0000115"

STATEMENTS = (
    # A browser that another driver uses now is reached for that one alone.
    "ALTER TABLE push_subscriptions ADD CONSTRAINT push_subscriptions_endpoint_unique UNIQUE (endpoint)",
    "CREATE INDEX push_subscriptions_driver ON push_subscriptions (driver_id)",
    """ALTER TABLE driver_notices ADD CONSTRAINT driver_notices_once
       UNIQUE (offer_id, subscription_id, kind)""",
    """ALTER TABLE driver_notices ADD CONSTRAINT driver_notices_kind_check
       CHECK (kind IN ('offer.created', 'offer.closed'))""",
    "CREATE INDEX driver_notices_unsent ON driver_notices (next_attempt_at) WHERE next_attempt_at IS NOT NULL",
    # Those of offers that could still run.
    "CREATE INDEX driver_notices_expires ON driver_notices (expires_at)",
    # The record of notices, newest first; and what is old enough to go.
    "CREATE INDEX driver_notices_created ON driver_notices (created_at, id)",
    "CREATE INDEX driver_notices_delivery ON driver_notices (delivery_id)",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="push indexes")
    manager.add_raw(run)
    return manager
