"""The write path locks rows and reads them in one round trip: a function of the schema runs both statements.

The function returns the columns that a release knows, so it never changes: a release that reads others has a migration
that makes a new one with its own number, and nodes of the release before go on with this one.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000049"

LOCK_AND_READ = """
CREATE FUNCTION lock_and_read_49(
    named_deliveries text, whole_deliveries text, named_drivers text, whole_drivers text, named_offers text,
    named_assignments text, seller_ids text[], seller_order_ids text[],
    OUT read_at timestamptz, OUT this_xid text, OUT has_webhooks boolean, OUT dead_nodes uuid[],
    OUT delivery_rows json, OUT offer_rows json, OUT assignment_rows json, OUT driver_rows json
) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    delivery_ids uuid[];
    driver_ids uuid[];
BEGIN
    SELECT l.deliveries, l.drivers INTO delivery_ids, driver_ids FROM lock_rows(
        string_to_array(named_deliveries, ',')::uuid[], string_to_array(whole_deliveries, ',')::uuid[],
        string_to_array(named_drivers, ',')::uuid[], string_to_array(whole_drivers, ',')::uuid[],
        string_to_array(named_offers, ',')::uuid[], string_to_array(named_assignments, ',')::uuid[],
        seller_ids, seller_order_ids) AS l;
    SELECT
date_trunc('milliseconds', clock_timestamp()), pg_current_xact_id()::text, EXISTS (SELECT FROM webhooks WHERE
    active),
(SELECT array_agg(DISTINCT d.session_node) FROM drivers d
 WHERE d.id = ANY(driver_ids) AND d.session_node IS NOT NULL
   AND (SELECT n.expires_at > clock_timestamp() FROM nodes n WHERE n.id = d.session_node) IS NOT TRUE),
(SELECT json_agg(json_build_array(d.id, d.seller_id, d.seller_order_id, d.store_name, d.zone, d.status,
    d.pickup_lat, d.pickup_lon, d.pickup_address, d.pickup_name, d.pickup_phone, d.pickup_notes, d.dropoff_lat,
    d.dropoff_lon, d.dropoff_address, d.dropoff_name, d.dropoff_phone, d.dropoff_notes, d.prep_seconds,
    d.dispatch_at, d.created_at, d.fingerprint, d.price_cents, d.driver_pay_cents, d.currency, d.notes,
    d.unassigned_since, d.current_offer_id, d.accepted_offer_id, d.offer_acceptance_count, d.widened_at,
    d.version, d.requirements, d.tip_cents, d.promised_at, d.ready_at, d.held_until, d.estimated_pickup_at,
    d.estimated_delivery_at, d.over_at, d.watch_at, d.risk_since, d.risk_level, d.risk_acknowledged_by, d.risks,
    d.details,
        (SELECT json_build_array(u.delivery_id, u.failure_reason, u.first_attempt_at, u.last_attempt_at,
        u.attempt_count, u.escalation_level, u.escalation_status, u.support_ticket_id, u.notification_sent_at,
        u.acknowledged_by, u.acknowledged_at, u.acknowledgement_note) FROM unassigned_orders u WHERE
        u.delivery_id = d.id)))
 FROM deliveries d WHERE d.id = ANY(delivery_ids)),
(SELECT json_agg(json_build_array(o.id, o.delivery_id, o.driver_id, o.status, o.attempt, o.offer_payload,
    o.created_at, o.expires_at, o.received_at, o.closed_at, o.closing_reason, o.auto_accepted,
    o.driver_response_time_ms, o.notification_sent_at, o.notification_method))
 FROM driver_offers o WHERE o.delivery_id = ANY(delivery_ids)),
(SELECT json_agg(json_build_array(a.id, a.delivery_id, a.driver_id, a.offer_id, a.status, a.source,
    a.created_at, a.picked_up_at, a.completed_at, a.ended_at, a.end_reason, a.ended_by, a.version, a.end_note,
    a.arrived_pickup_at, a.arrived_dropoff_at, a.failed_at, a.pickup_due_at, a.details)) FROM assignments a
    WHERE a.delivery_id = ANY(delivery_ids)),
(SELECT json_agg(json_build_array(d.id, d.name, d.zone, d.capacity, d.availability, d.last_availability_change,
    d.external_ref, d.phone, d.availability_until, d.availability_reason, d.availability_before, d.session_id,
    d.session_node, d.socket_lost_at, d.connected_since, d.expiries_in_a_row, d.stream_seq, d.open_offer_id,
    d.open_offer_delivery_id, d.active_count, d.vehicle, d.tags, d.active, d.shift_ends_at,
        (SELECT json_build_array(p.lat, p.lon, p.at, p.last_call_at) FROM driver_positions p WHERE p.driver_id =
        d.id)))
 FROM drivers d WHERE d.id = ANY(driver_ids))
    INTO read_at, this_xid, has_webhooks, dead_nodes, delivery_rows, offer_rows, assignment_rows, driver_rows;
END
$$
"""


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(LOCK_AND_READ)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="lock and read")
    manager.add_raw(run)
    return manager
