"""Indexes of invitations and devices, and triggers that end them with their driver and write their events.

A trigger ends them in the same transaction, whichever release or user deactivates the driver. Other updates of drivers
cost nothing more, because they do not set `active`. The triggers have the rights of their owner, so a connection that
changes devices needs no right to write events, and the write path needs none to write devices.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000023"

STATEMENTS = (
    """
ALTER TABLE driver_invitations
    ADD CONSTRAINT driver_invitations_driver_id_fkey FOREIGN KEY (driver_id) REFERENCES drivers (id) ON DELETE CASCADE
""",
    """
ALTER TABLE driver_devices
    ADD CONSTRAINT driver_devices_driver_id_fkey FOREIGN KEY (driver_id) REFERENCES drivers (id) ON DELETE CASCADE,
    ADD CONSTRAINT driver_devices_ended_check CHECK ((ended_at IS NULL) = (end_reason IS NULL))
""",
    "CREATE UNIQUE INDEX driver_invitations_code_hash ON driver_invitations (code_hash)",
    "CREATE UNIQUE INDEX driver_devices_family_hash ON driver_devices (family_hash)",
    "CREATE INDEX driver_devices_driver ON driver_devices (driver_id, id)",
    "CREATE INDEX driver_devices_ended ON driver_devices (ended_at) WHERE ended_at IS NOT NULL",
    "CREATE INDEX push_subscriptions_device ON push_subscriptions (device_id) WHERE device_id IS NOT NULL",
    "CREATE INDEX drivers_inactive ON drivers (id) WHERE NOT active",
    "CREATE INDEX drivers_active_changed ON drivers (active_changed_at) WHERE active_changed_at IS NOT NULL",
    """
CREATE FUNCTION driver_active_changed() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    NEW.active_changed_at := clock_timestamp();
    IF NOT NEW.active THEN
        UPDATE driver_devices SET ended_at = NEW.active_changed_at, end_reason = 'deactivated'
        WHERE driver_id = NEW.id AND ended_at IS NULL;
        DELETE FROM driver_invitations WHERE driver_id = NEW.id;
        DELETE FROM push_subscriptions WHERE driver_id = NEW.id;
    END IF;
    RETURN NEW;
END
$$
""",
    """
CREATE TRIGGER drivers_active BEFORE UPDATE OF active ON drivers FOR EACH ROW
WHEN (OLD.active IS DISTINCT FROM NEW.active) EXECUTE FUNCTION driver_active_changed()
""",
    """
CREATE FUNCTION record_invitation() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    INSERT INTO events (at, type, actor_type, actor_id, driver_id, data)
    VALUES (NEW.created_at, 'driver.invited', NEW.created_by_type, NEW.created_by, NEW.driver_id, '{}');
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER driver_invitations_recorded AFTER INSERT OR UPDATE OF code_hash ON driver_invitations
FOR EACH ROW EXECUTE FUNCTION record_invitation()
""",
    """
CREATE FUNCTION record_device() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.ended_at IS NULL THEN
        INSERT INTO events (at, type, actor_type, actor_id, driver_id, data)
        VALUES (NEW.created_at, 'driver.signed_in', 'driver', NEW.driver_id::text, NEW.driver_id,
            jsonb_build_object('deviceId', NEW.id));
    ELSE
        INSERT INTO events (at, type, actor_type, actor_id, driver_id, data)
        VALUES (NEW.ended_at, 'driver.device_ended', coalesce(NEW.ended_by_type, 'system'), NEW.ended_by, NEW.driver_id,
            jsonb_build_object('deviceId', NEW.id, 'reason', NEW.end_reason));
    END IF;
    RETURN NULL;
END
$$
""",
    """
CREATE TRIGGER driver_devices_signed_in AFTER INSERT ON driver_devices FOR EACH ROW EXECUTE FUNCTION record_device()
""",
    # A deactivation has its own event, which covers all devices that it ends.
    """
CREATE TRIGGER driver_devices_ended AFTER UPDATE OF ended_at ON driver_devices FOR EACH ROW
WHEN (OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL AND NEW.end_reason <> 'deactivated')
EXECUTE FUNCTION record_device()
""",
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="device rules")
    manager.add_raw(run)
    return manager
