"""Months of a city's work made up in the database: deliveries with their offers, assignments, waits and events, and
the drivers' streams and histories, set by set and in order of time, as the write path would have left them.
"""

from collections.abc import Callable
from typing import Any, Final

OFFERS_A_DELIVERY: Final = 1.44
"""What the attempts below come to on average."""
STREAM_DAYS: Final = 7
"""For how long messages are there."""

_START: Final = (
    """
    CREATE TEMP TABLE made_zones AS
    SELECT zone, number, sum(weight) OVER (ORDER BY number) - weight AS low, sum(weight) OVER (ORDER BY number) AS high
    FROM unnest(ARRAY['centre', 'north', 'south', 'harbour', 'east', 'west', 'campus', 'airport'],
                ARRAY[0.28, 0.17, 0.15, 0.12, 0.11, 0.09, 0.05, 0.03]) WITH ORDINALITY AS z (zone, weight, number)""",
    # How busy each hour of a day is: lunch, and more so the evening.
    """
    CREATE TEMP TABLE made_hours AS
    SELECT hour - 1 AS hour, weight / sum(weight) OVER () AS weight,
           (sum(weight) OVER (ORDER BY hour) - weight) / sum(weight) OVER () AS low,
           sum(weight) OVER (ORDER BY hour) / sum(weight) OVER () AS high
    FROM unnest(ARRAY[6, 3, 2, 1, 1, 2, 6, 12, 18, 22, 32, 60, 82, 66, 34, 28, 36, 62, 94, 100, 76, 46, 24, 12]::real[])
         WITH ORDINALITY AS h (weight, hour)""",
    """
    INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                         expiries_in_a_row, stream_seq, active_count)
    SELECT uuidv7(make_interval(days => -$2::int)), 'Driver ' || n, z.zone, 1 + (n % 5 = 0)::int,
           now() - make_interval(days => $2::int), 'offline', now() - interval '1 day' * random(), 0, 0, 0
    FROM generate_series(1, $1::int) AS n JOIN made_zones z ON (n - 0.5) / $1 >= z.low AND (n - 0.5) / $1 < z.high""",
    """
    INSERT INTO driver_positions (driver_id, lat, lon, at, last_call_at)
    SELECT id, 52.4 + 0.2 * random(), 13.2 + 0.4 * random(), last_availability_change, last_availability_change
    FROM drivers ON CONFLICT DO NOTHING""",
    "CREATE TEMP TABLE made_crews AS SELECT zone, array_agg(id) AS ids FROM drivers GROUP BY zone",
)
_CLEAR: Final = ("DROP TABLE IF EXISTS made_deliveries", "DROP TABLE IF EXISTS made_offers")
# $1 how many, $2 how many days ago, of $3 days. What would lie in the future is left out, or happens now.
_DAY: Final = (
    """
    CREATE TEMP TABLE made_deliveries AS
    SELECT uuidv7(created_at - clock_timestamp()) AS id, zone, created_at, attempts, late, fate,
           52.4 + 0.2 * random() AS lat, 13.2 + 0.4 * random() AS lon
    FROM (
        SELECT z.zone, date_trunc('day', now()) - make_interval(days => $2::int)
                       + make_interval(secs => 3600 * (h.hour + (q - h.low) / h.weight)) AS created_at,
               CASE WHEN a < 0.725 THEN 1 WHEN a < 0.885 THEN 2 WHEN a < 0.955 THEN 3 WHEN a < 0.985 THEN 4
                    ELSE 5 END AS attempts,
               CASE WHEN w < 0.04 THEN 300 + 900 * f WHEN w < 0.1 THEN 20 + 200 * f ELSE 0.4 + 2 * f END AS late,
               CASE WHEN f < 0.93 THEN 'ACCEPTED' WHEN f < 0.98 THEN 'SILENCE' ELSE 'CANCELLED' END AS fate
        FROM (SELECT (n - 0.5) / $1::int AS q, random() AS a, random() AS w, random() AS f, random() AS z
              FROM generate_series(1, $1) AS n) AS n
        JOIN made_hours h ON q >= h.low AND q < h.high JOIN made_zones z ON n.z >= z.low AND n.z < z.high) AS d
    WHERE created_at < now() - interval '1 minute' AND created_at >= now() - make_interval(days => $3::int)
    ORDER BY created_at""",
    """
    CREATE TEMP TABLE made_offers AS
    SELECT uuidv7(begun_at - clock_timestamp()) AS id, o.*,
           least(begun_at + make_interval(secs => lasted), now()) AS closed_at,
           c.ids[1 + floor(random() * cardinality(c.ids))::int] AS driver_id,
           (ARRAY['too far', 'too_busy', 'wrong_direction', 'vehicle problem', NULL])[1 + floor(5 * random())::int]
               AS reason
    FROM (
        SELECT *, least(now(), created_at + make_interval(secs => late + coalesce(sum(lasted + 0.2) OVER (
                      PARTITION BY delivery_id ORDER BY attempt ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)))
                      AS begun_at
        FROM (
            SELECT delivery_id, zone, created_at, late, attempt, last, outcome,
                   CASE WHEN outcome IN ('EXPIRED', 'SILENCE') THEN 30
                        ELSE round((1.2 + 27 * power(random(), 2.4))::numeric, 3) END AS lasted
            FROM (
                SELECT d.id AS delivery_id, d.zone, d.created_at, d.late, attempt, attempt = d.attempts AS last,
                       CASE WHEN attempt = d.attempts AND d.fate <> 'CANCELLED' THEN d.fate
                            WHEN random() < 0.58 THEN 'REJECTED' WHEN random() < 0.75 THEN 'EXPIRED'
                            ELSE 'WITHDRAWN' END AS outcome
                FROM made_deliveries d CROSS JOIN generate_series(1, d.attempts) AS attempt) AS o) AS o) AS o
    JOIN made_crews c ON c.zone = o.zone
    ORDER BY begun_at""",
    """
    INSERT INTO deliveries (id, seller_id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon,
                            pickup_address, dropoff_lat, dropoff_lon, dropoff_address, prep_seconds, price_cents,
                            driver_pay_cents, currency, fingerprint, dispatch_at, created_at, accepted_offer_id,
                            offer_acceptance_count, version)
    SELECT d.id, 'shop', 'M-' || right(d.id::text, 17), 'Pizza Roma', d.zone,
           CASE WHEN fate = 'CANCELLED' THEN 'CANCELLED' ELSE 'DELIVERED' END, lat, lon, '12 Market Street',
           lat + 0.01, lon + 0.01, '47 Station Road, second floor', 600, 2490, 520, 'EUR', md5(d.id::text),
           d.created_at, d.created_at, CASE WHEN fate <> 'CANCELLED' THEN o.id END, (fate = 'ACCEPTED')::int,
           4 + d.attempts
    FROM made_deliveries d JOIN made_offers o ON o.delivery_id = d.id AND o.last ORDER BY d.created_at""",
    """
    INSERT INTO unassigned_orders (delivery_id, failure_reason, first_attempt_at, last_attempt_at, attempt_count,
                                   escalation_level, escalation_status)
    SELECT id, 'searching', created_at, created_at + make_interval(secs => late), attempts, (late > 300)::int,
           CASE WHEN fate = 'CANCELLED' THEN 'CANCELLED' ELSE 'ASSIGNED' END
    FROM made_deliveries ORDER BY created_at""",
    """
    INSERT INTO support_tickets (id, type, priority, title, description, delivery_id, zone, action_url, status,
                                 created_at)
    SELECT uuidv7(at - clock_timestamp()), 'unassigned_order', 'high', 'No driver', 'Five minutes without a driver',
           id, zone, '/board/deliveries/' || id, 'open', at
    FROM (SELECT *, created_at + interval '5 minutes' AS at FROM made_deliveries WHERE late > 300) d ORDER BY at""",
    """
    INSERT INTO driver_offers (id, delivery_id, driver_id, status, attempt, offer_payload, created_at, expires_at,
                               received_at, closed_at, closing_reason, accepted_at, rejected_at, rejection_reason,
                               notification_sent_at, notification_method, driver_response_time_ms, auto_accepted)
    SELECT id, delivery_id, driver_id, CASE outcome WHEN 'SILENCE' THEN 'EXPIRED' ELSE outcome END, attempt,
           '{"pickupLocation": {"lat": 52.52, "lon": 13.405, "address": "12 Market Street"},
             "pickupStoreName": "Pizza Roma", "dropoffLocation": {"lat": 52.53, "lon": 13.415,
             "address": "47 Station Road, second floor"}, "estimatedPickupTimeMin": 12, "estimatedDistanceKm": 2.4,
             "estimatedTripKm": 1.7, "estimatedEarningCents": 520, "currency": "EUR"}'::jsonb
           || jsonb_build_object('estimatedDeliveryTime', begun_at + make_interval(secs => 1000 + 1000 * random())),
           begun_at, begun_at + interval '30 s', begun_at + interval '0.2 s', closed_at,
           CASE outcome WHEN 'REJECTED' THEN reason WHEN 'WITHDRAWN' THEN 'driver_break' END,
           CASE WHEN outcome = 'ACCEPTED' THEN closed_at END, CASE WHEN outcome = 'REJECTED' THEN closed_at END,
           CASE WHEN outcome = 'REJECTED' THEN reason END, begun_at, 'websocket',
           CASE WHEN outcome IN ('ACCEPTED', 'REJECTED') THEN (1000 * lasted)::int END, outcome = 'SILENCE'
    FROM made_offers ORDER BY begun_at""",
    """
    INSERT INTO assignments (id, delivery_id, driver_id, offer_id, status, source, created_at, picked_up_at,
                             completed_at, version)
    SELECT uuidv7(closed_at - clock_timestamp()), delivery_id, driver_id, id, 'COMPLETED',
           CASE outcome WHEN 'SILENCE' THEN 'auto_accepted' ELSE 'accepted' END, closed_at,
           least(closed_at + interval '11 min', now()), least(closed_at + interval '24 min', now()), 3
    FROM made_offers WHERE outcome IN ('ACCEPTED', 'SILENCE') ORDER BY closed_at""",
    """
    INSERT INTO events (at, type, actor_type, actor_id, delivery_id, driver_id, offer_id, assignment_id, data)
    SELECT * FROM (
        SELECT created_at AS at, 'delivery.created' AS type, 'service' AS actor_type, 'shop' AS actor_id,
               id AS delivery_id, NULL::uuid AS driver_id, NULL::uuid AS offer_id, NULL::uuid AS assignment_id,
               jsonb_build_object('zone', zone, 'storeName', 'Pizza Roma', 'sellerOrderId', left(id::text, 18)) AS data
        FROM made_deliveries
        UNION ALL
        SELECT created_at, 'delivery.ready', 'service', 'shop', id, NULL, NULL, NULL, '{}' FROM made_deliveries
        UNION ALL
        SELECT begun_at, 'offer.created', 'system', NULL, o.delivery_id, o.driver_id, o.id, NULL,
               jsonb_build_object('attempt', o.attempt, 'expiresAt', begun_at, 'payload', d.offer_payload)
        FROM made_offers o JOIN driver_offers d ON d.id = o.id
        UNION ALL
        SELECT closed_at, 'offer.' || CASE outcome WHEN 'SILENCE' THEN 'expired' ELSE lower(outcome) END,
               CASE WHEN outcome IN ('ACCEPTED', 'REJECTED') THEN 'driver' ELSE 'system' END, NULL, delivery_id,
               driver_id, id, NULL, '{"responseTimeMs": 4100}' FROM made_offers
        UNION ALL
        SELECT CASE kind WHEN 'delivery.assigned' THEN a.created_at WHEN 'delivery.picked_up' THEN a.picked_up_at
                         ELSE a.completed_at END,
               kind, CASE kind WHEN 'delivery.assigned' THEN 'system' ELSE 'driver' END, NULL, a.delivery_id,
               a.driver_id, a.offer_id, a.id, '{"source": "accepted"}'
        FROM made_offers o JOIN assignments a ON a.delivery_id = o.delivery_id
        CROSS JOIN unnest(ARRAY['delivery.assigned', 'delivery.picked_up', 'delivery.delivered']) AS kind WHERE o.last
        UNION ALL
        SELECT o.closed_at, 'delivery.cancelled', 'ops', 'alice', d.id, NULL, NULL, NULL, '{"reason": "nobody came"}'
        FROM made_deliveries d JOIN made_offers o ON o.delivery_id = d.id AND o.last WHERE d.fate = 'CANCELLED') AS e
    ORDER BY at""",
    """
    WITH changes AS (
        INSERT INTO driver_availability_history (id, driver_id, from_state, to_state, reason, actor_id, actor_type,
                                                 timestamp)
        SELECT gen_random_uuid(), d.id, h.was, h.became, h.reason, d.id::text, 'driver', at
        FROM drivers d CROSS JOIN (VALUES (9, 'shift_ended', 'available', 'resumed'),
                                          (12, 'available', 'on_break', 'lunch'),
                                          (13, 'on_break', 'available', 'break_expired'),
                                          (22, 'available', 'shift_ended', 'shift_ended'))
                                          AS h (hour, was, became, reason)
        CROSS JOIN LATERAL (SELECT date_trunc('day', now()) - make_interval(days => $2::int)
                                   + make_interval(hours => h.hour) + interval '1 hour' * (hashtext(d.id::text) % 100)
                                   / 100.0 AS at) AS t
        WHERE at < now() AND $1::int > 0 ORDER BY at RETURNING *)
    INSERT INTO events (at, type, actor_type, actor_id, driver_id, data)
    SELECT timestamp, 'driver.availability_changed', actor_type, actor_id, driver_id,
           jsonb_build_object('from', from_state, 'to', to_state, 'reason', reason) FROM changes ORDER BY timestamp""",
)
# $1 for how many days back. An offer is three messages: made, closed, and what became of the work.
_STREAMS: Final = (
    """
    INSERT INTO driver_messages (driver_id, seq, body, created_at)
    SELECT driver_id, row_number() OVER (PARTITION BY driver_id ORDER BY at, kind),
           json_build_object('type', kind, 'seq', 0, 'offerId', id, 'padding', repeat('x', 300)), at
    FROM (SELECT id, driver_id, kind, CASE kind WHEN 1 THEN created_at ELSE closed_at END AS at
          FROM driver_offers CROSS JOIN generate_series(1, 3) AS kind
          WHERE created_at >= now() - make_interval(days => $1::int)) AS m
    ORDER BY at""",
    """
    UPDATE drivers d SET stream_seq = m.seq
    FROM (SELECT driver_id, max(seq) AS seq FROM driver_messages GROUP BY driver_id) AS m WHERE m.driver_id = d.id""",
    """
    INSERT INTO webhooks (id, url, events, secret, active)
    VALUES (gen_random_uuid(), 'https://shop.example/heard', '{delivery.assigned}', 'no longer used', false)""",
    """
    WITH sent AS (
        INSERT INTO webhook_deliveries (id, webhook_id, key, type, body, created_at, attempts, delivered_at)
        SELECT gen_random_uuid(), w.id, a.delivery_id, 'delivery.assigned', repeat('x', 600), a.created_at, 1,
               a.created_at + interval '0.3 s'
        FROM assignments a CROSS JOIN webhooks w WHERE a.created_at >= now() - make_interval(days => $1::int)
        ORDER BY a.created_at RETURNING id, created_at)
    INSERT INTO webhook_attempts (webhook_delivery_id, attempt, at, status, ms)
    SELECT id, 1, created_at, 200, 120 FROM sent ORDER BY created_at""",
    """
    INSERT INTO notices (id, kind, severity, zone, delivery_id, text, link, created_at, channel, attempts, sent_at)
    SELECT uuidv7(created_at - clock_timestamp()), 'delivery.escalated', 'warning', zone, delivery_id, title,
           action_url, created_at, 'board', 1, created_at
    FROM support_tickets ORDER BY created_at""",
    """
    INSERT INTO stream_notices (id, kind, driver_id, seq, delivery_id, text, created_at, sent_at, received_at)
    SELECT uuidv7(created_at - clock_timestamp()), 'delivery.assigned', driver_id, n, delivery_id, 'Given order.',
           created_at, created_at, CASE WHEN n % 10 > 0 THEN created_at END
    FROM (SELECT *, row_number() OVER (ORDER BY created_at) AS n FROM assignments) a ORDER BY created_at""",
)
# $1 how many wait since a few minutes; the drivers are at work, but busy elsewhere.
_EVENING: Final = (
    """
    INSERT INTO deliveries (id, seller_id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon,
                            pickup_address, dropoff_lat, dropoff_lon, prep_seconds, currency, fingerprint, dispatch_at,
                            created_at, unassigned_since, offer_acceptance_count, version)
    SELECT uuidv7(-age), 'shop', 'W-' || n, 'Pizza Roma', d.zone, 'READY', 52.4 + 0.2 * random(),
           13.2 + 0.4 * random(), '12 Market Street', 52.5, 13.4, 600, 'EUR', n, now() - age, now() - age, now() - age,
           0, 2
    FROM (SELECT n, make_interval(secs => 240 * random()) AS age FROM generate_series(1, $1::int) n) AS n
    JOIN (SELECT zone, row_number() OVER (ORDER BY id) AS number FROM drivers) AS d
      ON d.number = 1 + n % (SELECT count(*) FROM drivers)
    ON CONFLICT DO NOTHING""",
    """
    INSERT INTO unassigned_orders (delivery_id, failure_reason, first_attempt_at, last_attempt_at, attempt_count,
                                   escalation_level, escalation_status)
    SELECT id, 'no_driver_near', created_at, now(), 1, 0, 'PENDING' FROM deliveries WHERE status = 'READY'
    ON CONFLICT DO NOTHING""",
    """
    UPDATE drivers SET availability = (ARRAY['available', 'on_break', 'paused', 'shift_ended'])[1 + n % 4],
           availability_until = CASE n % 4 WHEN 1 THEN now() + interval '1 hour' END,
           last_availability_change = now() - make_interval(mins => n::int % 300)
    FROM (SELECT id AS driver_id, row_number() OVER (ORDER BY id) AS n FROM drivers) AS d WHERE id = driver_id""",
    """
    UPDATE driver_positions SET at = now() - interval '6 minutes', last_call_at = now() - interval '5 s'""",
)


async def make_history(
    connection: Any,
    *,
    offers: int,
    days: int,
    drivers: int,
    said: Callable[[str], None] = lambda _: None,
) -> None:
    """So many offers, about, over so many days till now, to so many drivers. `connection` has no statement timeout."""
    await connection.execute("SELECT setseed(0.5)")
    for statement in _START:
        await _run(connection, statement, drivers, days)
    a_day = max(1, round(offers / OFFERS_A_DELIVERY / days))
    for ago in range(days, -1, -1):
        for statement in (*_CLEAR, *_DAY):
            await _run(connection, statement, a_day, ago, days)
        said(f"{days - ago} of {days} days")
    for statement in (*_CLEAR, *_STREAMS, "DROP TABLE made_zones, made_hours, made_crews"):
        await _run(connection, statement, min(days, STREAM_DAYS))


async def _run(connection: Any, statement: str, *arguments: int) -> None:
    """With as many of the arguments as it names."""
    named = max((number for number in range(1, len(arguments) + 1) if f"${number}" in statement), default=0)
    await connection.execute(statement, *arguments[:named])


async def make_evening(connection: Any, waiting: int) -> None:
    """So many deliveries wait, and the drivers there are have come to work; none of them is dispatchable."""
    for statement in _EVENING:
        await _run(connection, statement, waiting)
