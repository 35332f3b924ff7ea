"""The schema refuses what must never be, from any writer: each rule broken once, by its name."""

from collections.abc import AsyncIterator
from typing import Any, Final

import asyncpg
import pytest

from server.ids import new_id
from server.store.engine import Database
from tests.builders import CAKE, DAN, DORA, SOUP, id_of

OFFER, ASSIGNMENT, TICKET = id_of("offer"), id_of("assignment"), id_of("ticket")
WEBHOOK, PHONE = id_of("webhook"), id_of("phone")

# Soup is offered to Dan, who is on his socket. Cake is Dora's.
DRIVER: Final = (
    "INSERT INTO drivers (id, name, external_ref, zone, capacity, created_at, availability, last_availability_change,"
    " expiries_in_a_row, stream_seq, active_count)"
    " VALUES ('{id}', 'Dan', '{ref}', 'default', 1, now(), 'available', now(), 0, 0, {active})"
)
DELIVERY: Final = (
    "INSERT INTO deliveries (id, seller_id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon,"
    " dropoff_lat, dropoff_lon, prep_seconds, currency, fingerprint, dispatch_at, created_at, unassigned_since,"
    " offer_acceptance_count, version) VALUES ('{id}', 'shop', '{order}', 'Green Bowl', 'default', '{status}', 52.5,"
    " 13.4, 52.6, 13.5, 0, 'USD', 'f', now(), now(), {since}, 0, 1)"
)
OFFERED: Final = (
    "INSERT INTO driver_offers (id, delivery_id, driver_id, status, attempt, offer_payload, created_at, expires_at,"
    " auto_accepted) VALUES ('{id}', '{delivery}', '{driver}', 'PENDING', 1, '{{}}', now(), now() + interval '30 s',"
    " false)"
)
ASSIGNED: Final = (
    "INSERT INTO assignments (id, delivery_id, driver_id, status, source, created_at, version)"
    " VALUES ('{id}', '{delivery}', '{driver}', 'ACTIVE', 'manual', now(), 1)"
)
WAIT: Final = (
    "INSERT INTO unassigned_orders (delivery_id, failure_reason, first_attempt_at, last_attempt_at, attempt_count,"
    " escalation_level, escalation_status) VALUES ('{id}', 'searching', now(), now(), 0, 0, 'PENDING')"
)
A_TICKET: Final = (
    "INSERT INTO support_tickets (id, type, priority, title, description, delivery_id, zone, action_url, status,"
    " created_at) VALUES ('{id}', 't', 'high', 't', 'd', '{delivery}', 'default', '/', 'open', now())"
)
HISTORY: Final = (
    "INSERT INTO driver_availability_history (id, driver_id, from_state, to_state, actor_type, timestamp)"
    " VALUES ('{id}', '{driver}', 'offline', 'available', 'driver', now())"
)
EVENT: Final = "INSERT INTO events (at, type, actor_type, data) VALUES (now(), 'offer.created', 'system', '{}')"
MESSAGE: Final = "INSERT INTO driver_messages (driver_id, seq, body, created_at) VALUES ('{driver}', {seq}, '', now())"
POSITION: Final = "INSERT INTO driver_positions (driver_id, lat, lon, at) VALUES ('{driver}', 52.5, 13.4, now())"
ALERT: Final = (
    "INSERT INTO alerts (id, kind, zone, value, threshold, raised_at)"
    " VALUES ('{id}', 'rejected', 'default', 1, 0, now())"
)
USER: Final = "INSERT INTO users (id, name, password_hash, role) VALUES ('{id}', '{name}', 'x', 'ops')"
SESSION: Final = (
    "INSERT INTO sessions (token_hash, user_id, created_at, seen_at, expires_at)"
    " VALUES ('hash', '{user}', now(), now(), now())"
)
INVITATION: Final = (
    "INSERT INTO driver_invitations (driver_id, code_hash, created_by_type, created_at, expires_at)"
    " VALUES ('{driver}', 'hash', 'ops', now(), now())"
)
DEVICE: Final = (
    "INSERT INTO driver_devices (id, driver_id, name, family_hash, token_hash, created_at, last_used_at)"
    " VALUES ('{id}', '{driver}', 'Phone', 'family', 'token', now(), now())"
)
DAY: Final = "INSERT INTO insight_days (time_zone, since, until) VALUES ('UTC', '2026-02-01Z', '2026-02-02Z')"
COUNTS: Final = (
    "INSERT INTO insight_counts (time_zone, since, part, zone, accepted, auto_accepted, rejected, expired, answered,"
    " ms, wanted, late) VALUES ('UTC', '{since}Z', 'hour', 'default', 0, 0, 0, 0, 0, 0, 0, 0)"
)
KEY: Final = "INSERT INTO api_keys (id, name, key_hash, prefix) VALUES ('{id}', 'shop', 'hash', 'cb_1')"
HOOK: Final = "INSERT INTO webhooks (id, url, events, secret) VALUES ('{id}', 'https://shop', '{{}}', 's')"
POST: Final = "INSERT INTO webhook_deliveries (id, webhook_id, type, body) VALUES ('{id}', '{hook}', 't', '')"
TRY: Final = "INSERT INTO webhook_attempts (webhook_delivery_id, attempt, at, ms) VALUES ('{post}', 1, now(), 5)"
NOTICE: Final = (
    "INSERT INTO notices (id, kind, severity, zone, text, link, created_at)"
    " VALUES ('{id}', 'alert.raised', 'warning', 'default', 'Wake up', '/board', now())"
)
SUBSCRIPTION: Final = (
    "INSERT INTO push_subscriptions (id, driver_id, endpoint, p256dh, auth, created_at, expires_at)"
    " VALUES ('{id}', '{driver}', 'https://push/1', 'k', 'a', now(), now())"
)
PUSH: Final = (
    "INSERT INTO driver_notices (id, kind, driver_id, delivery_id, offer_id, subscription_id, created_at, expires_at)"
    f" VALUES ('{{id}}', 'offer.created', '{DAN}', '{SOUP}', '{OFFER}', '{PHONE}', now(), now())"
)
PUSHED_TEXT: Final = (
    "INSERT INTO driver_notices (id, kind, driver_id, message_id, subscription_id, created_at, expires_at)"
    f" VALUES ('{{id}}', 'message', '{DAN}', '{SOUP}', '{PHONE}', now(), now())"
)
STREAM_NOTICE: Final = (
    "INSERT INTO stream_notices (id, kind, driver_id, seq, text, created_at)"
    f" VALUES ('{{id}}', 'driver.availability_changed', '{DAN}', 1, 'Now paused.', now())"
)

WHOLE: Final = (
    DRIVER.format(id=DAN, ref="d1", active=0),
    DRIVER.format(id=DORA, ref="d2", active=1),
    DELIVERY.format(id=SOUP, order="A-1", status="READY", since="now()"),
    DELIVERY.format(id=CAKE, order="A-2", status="ASSIGNED", since="NULL"),
    WAIT.format(id=SOUP),
    OFFERED.format(id=OFFER, delivery=SOUP, driver=DAN),
    f"UPDATE deliveries SET current_offer_id = '{OFFER}' WHERE id = '{SOUP}'",
    f"UPDATE drivers SET open_offer_id = '{OFFER}', open_offer_delivery_id = '{SOUP}' WHERE id = '{DAN}'",
    f"UPDATE drivers SET session_id = '{new_id()}', session_node = '{new_id()}' WHERE id = '{DAN}'",
    ASSIGNED.format(id=ASSIGNMENT, delivery=CAKE, driver=DORA),
    A_TICKET.format(id=TICKET, delivery=SOUP),
    HISTORY.format(id=new_id(), driver=DAN),
    "INSERT INTO zones (key, spelling, name, helped_by, version) VALUES ('mitte', 'Mitte', 'Mitte', '{}', 1)",
    EVENT,
    MESSAGE.format(driver=DAN, seq=1),
    POSITION.format(driver=DAN),
    ALERT.format(id=new_id()),
    DAY,
    COUNTS.format(since="2026-02-01"),
    USER.format(id=new_id(), name="alice"),
    KEY.format(id=new_id()),
    HOOK.format(id=WEBHOOK),
    POST.format(id=new_id(), hook=WEBHOOK),
    NOTICE.format(id=new_id()),
    SUBSCRIPTION.format(id=PHONE, driver=DAN),
    PUSH.format(id=new_id()),
    PUSHED_TEXT.format(id=new_id()),
    STREAM_NOTICE.format(id=new_id()),
    INVITATION.format(driver=DAN),
    DEVICE.format(id=new_id(), driver=DAN),
)

BREAKING: Final[dict[str, str]] = {
    "events_pkey": (
        "INSERT INTO events (id, xid, at, type, actor_type, data)"
        " SELECT id, xid, at, type, actor_type, data FROM events LIMIT 1"
    ),
    "driver_messages_pkey": MESSAGE.format(driver=DAN, seq=1),
    "deliveries_seller_key": DELIVERY.format(id=new_id(), order="A-1", status="READY", since="now()"),
    "driver_offers_one_pending_a_delivery": OFFERED.format(id=new_id(), delivery=SOUP, driver=DORA),
    "driver_offers_one_pending_a_driver": OFFERED.format(id=new_id(), delivery=CAKE, driver=DAN),
    "assignments_one_active_a_delivery": ASSIGNED.format(id=new_id(), delivery=CAKE, driver=DAN),
    "drivers_external_ref": DRIVER.format(id=new_id(), ref="d1", active=0),
    "alerts_one_unresolved": ALERT.format(id=new_id()),
    "users_name": USER.format(id=new_id(), name="Alice"),
    "api_keys_key_hash": KEY.format(id=new_id()),
    "push_subscriptions_endpoint_unique": SUBSCRIPTION.format(id=new_id(), driver=DORA),
    "driver_notices_once": PUSH.format(id=new_id()),
    "driver_notices_of_message": PUSHED_TEXT.format(id=new_id()),
    "driver_notices_kind_check": "UPDATE driver_notices SET kind = 'offer.praised'",
    "stream_notices_kind_check": "UPDATE stream_notices SET kind = 'offer.created'",
    "unassigned_orders_delivery_id_exists": WAIT.format(id=new_id()),
    "sessions_user_id_exists": SESSION.format(user=new_id()),
    "driver_offers_delivery_id_exists": OFFERED.format(id=new_id(), delivery=new_id(), driver=DORA),
    "driver_offers_driver_id_exists": OFFERED.format(id=new_id(), delivery=CAKE, driver=new_id()),
    "assignments_delivery_id_exists": ASSIGNED.format(id=new_id(), delivery=new_id(), driver=DORA),
    "assignments_driver_id_exists": ASSIGNED.format(id=new_id(), delivery=SOUP, driver=new_id()),
    "support_tickets_delivery_id_exists": A_TICKET.format(id=new_id(), delivery=new_id()),
    "driver_positions_driver_id_exists": POSITION.format(driver=new_id()),
    "drivers_availability_check": "UPDATE drivers SET availability = 'busy'",
    "drivers_availability_before_check": "UPDATE drivers SET availability_before = 'busy'",
    "drivers_capacity_check": f"UPDATE drivers SET capacity = 0 WHERE id = '{DAN}'",
    "drivers_load_check": f"UPDATE drivers SET active_count = 3 WHERE id = '{DORA}'",
    "driver_runs_driver": f"INSERT INTO driver_runs (driver_id, stops) VALUES ('{new_id()}', '[]')",
    "drivers_expiries_check": "UPDATE drivers SET expiries_in_a_row = -1",
    "drivers_stream_check": "UPDATE drivers SET stream_seq = -1",
    "drivers_offer_check": f"UPDATE drivers SET open_offer_id = NULL WHERE id = '{DAN}'",
    "drivers_session_check": f"UPDATE drivers SET session_id = NULL WHERE id = '{DAN}'",
    "drivers_presence_check": f"UPDATE drivers SET socket_lost_at = now() WHERE id = '{DAN}'",
    "driver_positions_lat_check": "UPDATE driver_positions SET lat = 90.1",
    "driver_positions_lon_check": "UPDATE driver_positions SET lon = 'NaN'",
    "driver_positions_whole_check": "UPDATE driver_positions SET at = NULL",
    "driver_messages_seq_check": MESSAGE.format(driver=DAN, seq=0),
    "driver_availability_history_from_state_check": "UPDATE driver_availability_history SET from_state = 'busy'",
    "driver_availability_history_to_state_check": "UPDATE driver_availability_history SET to_state = 'busy'",
    "driver_availability_history_actor_type_check": "UPDATE driver_availability_history SET actor_type = 'viewer'",
    "deliveries_status_check": f"UPDATE deliveries SET status = 'LOST' WHERE id = '{CAKE}'",
    "deliveries_waiting_check": f"UPDATE deliveries SET unassigned_since = now() WHERE id = '{CAKE}'",
    "deliveries_offered_check": f"UPDATE deliveries SET current_offer_id = '{OFFER}' WHERE id = '{CAKE}'",
    "deliveries_accepted_check": f"UPDATE deliveries SET accepted_offer_id = '{OFFER}' WHERE id = '{SOUP}'",
    "deliveries_pickup_check": "UPDATE deliveries SET pickup_lon = 180.5",
    "deliveries_dropoff_check": "UPDATE deliveries SET dropoff_lat = -90.5",
    "deliveries_prep_seconds_check": "UPDATE deliveries SET prep_seconds = -1",
    "deliveries_money_check": "UPDATE deliveries SET price_cents = -1",
    "deliveries_currency_check": "UPDATE deliveries SET currency = 'usd'",
    "deliveries_over_check": f"UPDATE deliveries SET over_at = now() WHERE id = '{CAKE}'",
    "deliveries_risk_check": "UPDATE deliveries SET risk_since = now()",
    "deliveries_counts_check": "UPDATE deliveries SET version = 0",
    "unassigned_orders_escalation_status_check": "UPDATE unassigned_orders SET escalation_status = 'LOST'",
    "unassigned_orders_escalation_level_check": "UPDATE unassigned_orders SET escalation_level = 11",
    "unassigned_orders_attempt_count_check": "UPDATE unassigned_orders SET attempt_count = -1",
    "driver_offers_status_check": "UPDATE driver_offers SET status = 'LOST', closed_at = now()",
    "driver_offers_open_check": "UPDATE driver_offers SET closed_at = now()",
    "driver_offers_accepted_check": "UPDATE driver_offers SET status = 'ACCEPTED', closed_at = now()",
    "driver_offers_rejected_check": "UPDATE driver_offers SET status = 'REJECTED', closed_at = now()",
    "driver_offers_auto_accepted_check": "UPDATE driver_offers SET auto_accepted = true",
    "driver_offers_attempt_check": "UPDATE driver_offers SET attempt = 0",
    "driver_offers_deadline_check": "UPDATE driver_offers SET expires_at = created_at",
    "assignments_status_check": "UPDATE assignments SET status = 'LOST'",
    "assignments_source_check": f"UPDATE assignments SET source = 'guessed', offer_id = '{OFFER}'",
    "assignments_offer_check": "UPDATE assignments SET source = 'accepted'",
    "assignments_completed_check": "UPDATE assignments SET status = 'COMPLETED'",
    "assignments_ended_check": "UPDATE assignments SET status = 'REASSIGNED'",
    "assignments_version_check": "UPDATE assignments SET version = 0",
    "support_tickets_status_check": "UPDATE support_tickets SET status = 'lost'",
    "support_tickets_priority_check": "UPDATE support_tickets SET priority = 'very high'",
    "events_actor_type_check": "UPDATE events SET actor_type = 'viewer'",
    "delivery_search_delivery": (
        f"INSERT INTO delivery_search (delivery_id, seller_id, store, words) VALUES ('{new_id()}', 's', 's', 's')"
    ),
    "chat_messages_driver": (
        f"INSERT INTO chat_messages (id, driver_id, by_driver, author, at) VALUES ('{new_id()}', '{new_id()}', false,"
        " 'alice', now())"
    ),
    "proofs_delivery": (
        f"INSERT INTO proofs (id, delivery_id, assignment_id, kind, media_type, content, created_at)"
        f" VALUES ('{new_id()}', '{new_id()}', '{ASSIGNMENT}', 'photo', 'image/png', '', now())"
    ),
    "driver_invitations_driver_id_fkey": INVITATION.format(driver=new_id()).replace("'hash'", "'another hash'"),
    "driver_invitations_code_hash": INVITATION.format(driver=DORA),
    "driver_devices_driver_id_fkey": DEVICE.format(id=new_id(), driver=new_id()).replace("'family'", "'another'"),
    "driver_devices_family_hash": DEVICE.format(id=new_id(), driver=DORA),
    "driver_devices_ended_check": "UPDATE driver_devices SET ended_at = now()",
    "zones_described_check": "UPDATE zones SET name = NULL",
    "webhook_deliveries_attempts_check": "UPDATE webhook_deliveries SET attempts = -1",
    "webhook_deliveries_over_check": "UPDATE webhook_deliveries SET delivered_at = now(), parked_at = now()",
    "notices_severity_check": "UPDATE notices SET severity = 'loud'",
    "insight_days_once": DAY,
    "insight_counts_day_exists": COUNTS.format(since="2026-02-03"),
    "insight_estimates_day_exists": (
        "INSERT INTO insight_estimates (time_zone, since, zone, stage, seconds, deliveries)"
        " VALUES ('UTC', '2026-02-03Z', 'default', 'pickup', 30, 1)"
    ),
    "policy_version_check": "UPDATE policy SET version = 0",
    "users_role_check": "UPDATE users SET role = 'driver'",
    "users_name_check": "UPDATE users SET name = ''",
}

# Of the constraints that the catalog knows, those that are not simply a table's key or NOT NULL.
RULES: Final = """
SELECT conname FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND (contype IN ('c', 'f') OR contype = 'p' AND cardinality(conkey) > 1)
UNION ALL
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE c.relnamespace = 'public'::regnamespace AND i.indisunique AND NOT i.indisprimary
"""


@pytest.fixture
async def whole(database_url: str) -> AsyncIterator[Any]:
    """A connection to a database in which everything is as it should be."""
    connection = await Database(database_url).get_new_connection()
    for statement in WHOLE:
        await connection.execute(statement)
    yield connection
    await connection.close()


async def test_every_rule_of_the_schema_is_broken_here(whole: Any) -> None:
    assert {row[0] for row in await whole.fetch(RULES)} == set(BREAKING)


async def test_every_rule_of_the_schema_is_kept(whole: Any) -> None:
    for rule, statement in BREAKING.items():
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await whole.execute(statement)
        assert refused.value.constraint_name == rule, statement


async def test_rows_that_are_closed_leave_room_for_the_next(whole: Any) -> None:
    await whole.execute("UPDATE driver_offers SET status = 'WITHDRAWN', closed_at = now()")
    await whole.execute(OFFERED.format(id=new_id(), delivery=SOUP, driver=DAN))
    await whole.execute("UPDATE assignments SET status = 'REASSIGNED', ended_at = now()")
    await whole.execute(ASSIGNED.format(id=new_id(), delivery=CAKE, driver=DAN))
    await whole.execute("UPDATE alerts SET resolved_at = now()")
    await whole.execute(ALERT.format(id=new_id()))


async def test_drivers_without_a_reference_do_not_collide(whole: Any) -> None:
    for _ in range(2):
        await whole.execute(DRIVER.format(id=new_id(), ref="", active=0).replace("''", "NULL"))
