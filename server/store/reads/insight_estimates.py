"""Reads how far estimates were from the truth: of each delivery that was handed over, when a driver was expected to do
that, as estimated at the assignment and at the pickup.

Finished days were counted once (insight_days.py) and are added up; the rest is counted now.
"""

from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.store.connections import Pool
from server.store.reads.insights import read_counts
from server.store.reads.pay import IS_REAL

Stage = Literal["assignment", "pickup"]

# $1 the start, $2 the end, $3 the zone or NULL, $4 the time zone whose days are meant. At the assignment the estimate
# is the time of the offer, or that of an assignment by ops. At the pickup it is the pickup time plus the ride: the trip
# of the offer by the policy that made it, or for an add-on the time that its run had between the two stops. Errors are
# rounded to half a minute, and at most an hour; positive ones are late. The index has no erased deliveries.
ESTIMATED: Final = f"""
SELECT d.zone, date_trunc('day', coalesce(d.over_at, d.created_at), $4) AS day, stage,
       greatest(-120, least(120, round(extract(epoch FROM a.completed_at - estimate) / 30)))::int * 30 AS seconds,
       count(*) AS deliveries
FROM deliveries d
JOIN assignments a ON a.delivery_id = d.id AND a.status = 'COMPLETED'
LEFT JOIN driver_offers o ON o.id = a.offer_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN o.id IS NOT NULL THEN (o.offer_payload ->> 'estimatedDeliveryTime')::timestamptz ELSE (
               SELECT (e.data ->> 'estimatedDeliveryAt')::timestamptz FROM events e
               WHERE e.delivery_id = d.id AND e.assignment_id = a.id AND e.type = 'delivery.assigned' LIMIT 1)
           END AS agreed_at) AS g
CROSS JOIN LATERAL (
    SELECT CASE WHEN o.id IS NULL OR o.offer_payload ? 'addOn' OR NOT o.offer_payload ? 'estimatedTripKm'
                THEN agreed_at - a.pickup_due_at
                ELSE (SELECT make_interval(secs =>
                          (o.offer_payload ->> 'estimatedTripKm')::float8 * 3600
                          / coalesce((p.document ->> 'averageSpeedKmh')::float8, 25)
                          + coalesce((p.document ->> 'handoverSeconds')::float8, 600))
                      FROM policy p WHERE p.version = 1 OR p.created_at <= o.created_at ORDER BY p.version DESC LIMIT 1)
           END AS ride) AS r
CROSS JOIN LATERAL (VALUES ('assignment', agreed_at), ('pickup', a.picked_up_at + ride)) AS s (stage, estimate)
WHERE d.status = 'DELIVERED' AND d.fingerprint <> 'erased' AND {IS_REAL} AND ($3::text IS NULL OR d.zone = $3)
  AND coalesce(d.over_at, d.created_at) >= $1 AND coalesce(d.over_at, d.created_at) < $2 AND estimate IS NOT NULL
GROUP BY 1, 2, 3, 4"""  # noqa: S608

# $1 the time zone whose days they are, $2 from when on.
DAYS: Final = "SELECT since, until FROM insight_days WHERE time_zone = $1 AND since >= $2 AND estimates ORDER BY since"
# $1 the time zone, $2 the beginnings of the days, $3 the zone or NULL.
ADDED_UP: Final = """
SELECT zone, since, stage, seconds, sum(deliveries)
FROM insight_estimates WHERE time_zone = $1 AND since = ANY ($2::timestamptz[]) AND ($3::text IS NULL OR zone = $3)
GROUP BY GROUPING SETS ((stage, since, seconds), (stage, zone, seconds))"""


class ErrorGroup(Struct, frozen=True):
    """Deliveries of a zone on a day whose estimate at this stage had the same error. A group is of all zones on a day
    (`zone` None), or of a zone on all days (`day` None), or of both.
    """

    zone: str | None
    day: datetime | None
    stage: Stage
    seconds: int
    deliveries: int


async def read_errors(
    pool: Pool, since: datetime, until: datetime, zone: str | None, time_zone: str
) -> list[ErrorGroup]:
    """All groups between the two times. A group may appear more than once: add them up. Raises DatabaseAway."""
    return await read_counts(pool, ErrorGroup, (DAYS, ADDED_UP, ESTIMATED), since, until, zone, time_zone)
