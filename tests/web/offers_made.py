"""Days of offers made up in the database, as many as wanted, always the same ones.

Of twenty offers fourteen are accepted, one is by silence, three are rejected, one runs out, one is withdrawn; each is
each of another delivery, of which one in twenty-five waited for six minutes.
"""

from typing import Final

import asyncpg

from tests.conftest import Node

DRIVER: Final = """
INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                     expiries_in_a_row, stream_seq, active_count)
VALUES ('01a20d95-bd15-7304-adfd-8e3a9c15409e', 'Dan', 'north', 1, now(), 'offline', now(), 0, 0, 0)"""
# $1 how many, $2 over how many seconds back from now.
MADE: Final = (
    """
    CREATE TABLE made AS
    SELECT n, n % 20 AS kind, uuidv7(-age) AS delivery_id, uuidv7(-age) AS offer_id,
           (ARRAY['north', 'south', 'east'])[1 + n % 3] AS zone,
           now() - age AS at, 2000 + (n::bigint * 7919 % 18000)::int AS ms
    FROM (SELECT n, make_interval(secs => $2::float8 * (n + 1) / $1::int - 1) AS age
          FROM generate_series(0, $1::int - 1) n) ORDER BY n DESC""",
    """
    INSERT INTO deliveries (id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon, dropoff_lat,
                            dropoff_lon, prep_seconds, currency, fingerprint, dispatch_at, created_at,
                            offer_acceptance_count, version)
    SELECT delivery_id, 'made-' || n, 'Pizza Roma', zone, CASE WHEN kind < 15 THEN 'DELIVERED' ELSE 'CANCELLED' END,
           0, 0, 0, 0, 0, 'EUR', 'f', created, created, 0, 1
    FROM (SELECT *, at - CASE WHEN n % 25 = 0 THEN interval '6 min' ELSE interval '5 s' END AS created FROM made)""",
    """
    INSERT INTO driver_offers (id, delivery_id, driver_id, status, attempt, offer_payload, created_at, expires_at,
                               closed_at, accepted_at, rejected_at, rejection_reason, driver_response_time_ms,
                               auto_accepted)
    SELECT offer_id, delivery_id, '01a20d95-bd15-7304-adfd-8e3a9c15409e',
           CASE WHEN kind < 14 THEN 'ACCEPTED' WHEN kind BETWEEN 15 AND 17 THEN 'REJECTED'
                WHEN kind = 19 THEN 'WITHDRAWN' ELSE 'EXPIRED' END,
           1, jsonb_build_object('estimatedDeliveryTime', closed + make_interval(secs => n * 37 % 900 - 600),
                                 'estimatedTripKm', 2), at, at + interval '30 s', closed,
           CASE WHEN kind < 14 THEN closed END, CASE WHEN kind BETWEEN 15 AND 17 THEN closed END,
           CASE kind WHEN 15 THEN 'too_far' WHEN 16 THEN '=1+1' END, CASE WHEN answers THEN ms END, kind = 14
    FROM (SELECT *, kind < 14 OR kind BETWEEN 15 AND 17 AS answers,
                 at + CASE WHEN kind < 14 OR kind BETWEEN 15 AND 17 THEN make_interval(secs => ms / 1000.0)
                           ELSE interval '30 s' END AS closed FROM made)""",
    """
    INSERT INTO assignments (id, delivery_id, driver_id, offer_id, status, source, created_at, completed_at,
                             picked_up_at, version)
    SELECT uuidv7(closed_at - now()), o.delivery_id, driver_id, o.id, 'COMPLETED',
           CASE WHEN auto_accepted THEN 'auto_accepted' ELSE 'accepted' END, closed_at, closed_at,
           closed_at - make_interval(secs => 900 - n * 17 % 300), 1
    FROM driver_offers o JOIN made m ON m.offer_id = o.id WHERE m.kind < 15""",
    """
    INSERT INTO events (at, type, actor_type, delivery_id, data)
    SELECT closed_at, CASE WHEN m.kind < 15 THEN 'delivery.assigned' ELSE 'delivery.cancelled' END, 'system',
           o.delivery_id, '{}'
    FROM driver_offers o JOIN made m ON m.offer_id = o.id""",
    "DROP TABLE made",
)


async def make_offers(node: Node, count: int, seconds: float) -> None:
    """So many offers, evenly over so many seconds that end now."""
    connection = await asyncpg.connect(node.settings.database_url)
    for query in (DRIVER, *MADE):
        await connection.execute(query, *([count, seconds] if "$1" in query else []))
    await connection.close()
