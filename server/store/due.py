"""What the clock has to do next, read without locks: every deadline that is a column, soonest first."""

from collections import Counter
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from server.dispatch.policy import Policy
from server.dispatch.positions import AT_STOP_KM, MOVED_KM
from server.store.connections import Pool
from server.store.positions import nearer_than
from server.store.query import QUERY_TIMEOUT_SECONDS

DeadlineKind = Literal[
    "offer", "break", "dispatch", "hold", "escalation", "presence", "session", "pickup_late", "delivery_late",
    "driver_gone", "gone_release", "driver_back", "in_time", "pickup_in_time", "risk", "stalled", "moving",
]  # fmt: skip

_STILL: Final = nearer_than(MOVED_KM, "p.still_lat", "p.still_lon", "p.lat", "p.lon")
_STOPS: Final = " OR ".join(
    nearer_than(AT_STOP_KM, "p.lat", "p.lon", lat, lon)
    for lat, lon in (
        ("x.pickup_lat", "x.pickup_lon"),
        ("x.dropoff_lat", "x.dropoff_lon"),
        ("(x.details #>> '{store,lat}')::float8", "(x.details #>> '{store,lon}')::float8"),
    )
)

# Each part only filters: it finds every thing whose deadline the rule would accept. The rule of the same name in
# `server.dispatch` decides again, under lock. `away` is `driver_actions.without_contact_since`, `standing` is
# `risks.still_since`, whose distances it measures on a plane: the same to a few millimetres.
#
# The nodes that sessions name are walked along their index: there are few of them, and many sessions.
DUE: Final = f"""
WITH away AS (
    SELECT a.id, a.delivery_id, a.picked_up_at, greatest(r.socket_lost_at, p.last_call_at, a.created_at) AS since
    FROM assignments a JOIN drivers r ON r.id = a.driver_id LEFT JOIN driver_positions p ON p.driver_id = r.id
    WHERE a.status = 'ACTIVE' AND r.session_id IS NULL),
standing AS (
    SELECT a.delivery_id, greatest(p.still_since, a.created_at, a.picked_up_at, a.failed_at) AS since
    FROM assignments a JOIN driver_positions p ON p.driver_id = a.driver_id
    WHERE a.status = 'ACTIVE' AND p.still_since <= statement_timestamp() - make_interval(secs => $10) AND {_STILL}
      AND CASE WHEN a.picked_up_at IS NULL THEN a.arrived_pickup_at
               WHEN a.failed_at IS NULL THEN a.arrived_dropoff_at END IS NULL
      AND NOT EXISTS (SELECT FROM assignments o JOIN deliveries x ON x.id = o.delivery_id
                      WHERE o.driver_id = a.driver_id AND o.status = 'ACTIVE' AND ({_STOPS})))
(SELECT 'offer' AS kind, id::text, NULL::text AS session_id, expires_at AS due_at
 FROM driver_offers WHERE status = 'PENDING' AND expires_at <= statement_timestamp() + make_interval(secs => $1)
 ORDER BY expires_at LIMIT $2)
UNION ALL
(SELECT 'break', id::text, NULL, availability_until
 FROM drivers
 WHERE availability = 'on_break' AND availability_until <= statement_timestamp() + make_interval(secs => $1)
 ORDER BY availability_until LIMIT $2)
UNION ALL
(SELECT 'dispatch', id::text, NULL, dispatch_at
 FROM deliveries WHERE status = 'SCHEDULED' AND dispatch_at <= statement_timestamp() + make_interval(secs => $1)
 ORDER BY dispatch_at LIMIT $2)
UNION ALL
(SELECT 'hold', id::text, NULL, held_until
 FROM deliveries WHERE status = 'READY' AND held_until <= statement_timestamp() + make_interval(secs => $1)
 ORDER BY held_until LIMIT $2)
UNION ALL
(SELECT 'escalation', d.id::text, NULL, d.unassigned_since + make_interval(secs => next.after)
 FROM deliveries d JOIN unassigned_orders u ON u.delivery_id = d.id
 CROSS JOIN LATERAL (
     SELECT min(rung.after) AS after FROM unnest($3::int[], $4::float8[]) AS rung (level, after)
     WHERE rung.level > u.escalation_level) next
 WHERE d.status = 'READY'
   AND d.unassigned_since <= statement_timestamp() + make_interval(secs => $1 - next.after)
 ORDER BY 4 LIMIT $2)
UNION ALL
(SELECT 'presence', id, NULL, due_at
 FROM (SELECT d.id::text, greatest(
           d.socket_lost_at + make_interval(secs => $5), p.last_call_at + make_interval(secs => $6),
           d.last_availability_change + make_interval(secs => $5)) AS due_at
       FROM drivers d LEFT JOIN driver_positions p ON p.driver_id = d.id
       WHERE d.session_id IS NULL AND d.availability IN ('available', 'on_break', 'paused')) absent
 WHERE due_at <= statement_timestamp() + make_interval(secs => $1)
 ORDER BY due_at LIMIT $2)
UNION ALL
(WITH RECURSIVE named AS (
     (SELECT session_node FROM drivers WHERE session_node IS NOT NULL ORDER BY session_node LIMIT 1)
     UNION ALL
     SELECT (SELECT d.session_node FROM drivers d WHERE d.session_node > named.session_node
             ORDER BY d.session_node LIMIT 1)
     FROM named WHERE named.session_node IS NOT NULL)
 SELECT 'session', d.id::text, d.session_id::text, n.expires_at
 FROM named LEFT JOIN nodes n ON n.id = named.session_node JOIN drivers d ON d.session_node = named.session_node
 WHERE n.id IS NULL OR n.expires_at <= statement_timestamp()
 LIMIT $2)
UNION ALL
(SELECT CASE WHEN a.picked_up_at IS NULL
                  AND (a.pickup_due_at = d.watch_at
                       OR d.estimated_pickup_at > a.pickup_due_at + make_interval(secs => $7))
                  AND NOT coalesce(d.risks @> '[{{"code": "pickup_late"}}]', false)
             THEN 'pickup_late' ELSE 'delivery_late' END, d.id::text, NULL, d.watch_at + make_interval(secs => $7)
 FROM deliveries d JOIN assignments a ON a.delivery_id = d.id AND a.status = 'ACTIVE'
 WHERE d.watch_at <= statement_timestamp() + make_interval(secs => $1 - $7)
 ORDER BY d.watch_at LIMIT $2)
UNION ALL
(SELECT 'driver_gone', d.id::text, NULL, away.since + make_interval(secs => $8)
 FROM away JOIN deliveries d ON d.id = away.delivery_id
 WHERE away.since <= statement_timestamp() + make_interval(secs => $1 - $8)
   AND NOT coalesce(d.risks @> '[{{"code": "driver_gone"}}]', false)
 ORDER BY away.since LIMIT $2)
UNION ALL
(SELECT 'gone_release', away.id::text, NULL, away.since + make_interval(secs => $9)
 FROM away WHERE away.picked_up_at IS NULL AND away.since <= statement_timestamp() + make_interval(secs => $1 - $9)
 ORDER BY away.since LIMIT $2)
UNION ALL
(SELECT 'driver_back', d.id::text, NULL, NULL
 FROM deliveries d
 WHERE d.risk_since IS NOT NULL AND d.status IN ('ASSIGNED', 'PICKED_UP', 'RETURNING')
   AND d.risks @> '[{{"code": "driver_gone"}}]'
   AND NOT EXISTS (SELECT FROM away WHERE away.delivery_id = d.id
                   AND away.since <= statement_timestamp() - make_interval(secs => $8))
 LIMIT $2)
UNION ALL
(SELECT 'in_time', d.id::text, NULL, NULL
 FROM deliveries d
 WHERE d.risk_since IS NOT NULL AND d.status IN ('ASSIGNED', 'PICKED_UP', 'RETURNING')
   AND d.risks @> '[{{"code": "delivery_late"}}]'
   AND (d.promised_at IS NULL
        OR least(d.promised_at, d.promised_at - d.estimated_delivery_at + statement_timestamp())
           > statement_timestamp() - make_interval(secs => $7))
 LIMIT $2)
UNION ALL
(SELECT 'pickup_in_time', d.id::text, NULL, NULL
 FROM deliveries d JOIN assignments a ON a.delivery_id = d.id AND a.status = 'ACTIVE'
 WHERE d.risk_since IS NOT NULL AND d.status = 'ASSIGNED' AND d.risks @> '[{{"code": "pickup_late"}}]'
   AND least(a.pickup_due_at, a.pickup_due_at - d.estimated_pickup_at + statement_timestamp())
       > statement_timestamp() - make_interval(secs => $7)
 LIMIT $2)
UNION ALL
(SELECT 'stalled', d.id::text, NULL, standing.since + make_interval(secs => $10)
 FROM standing JOIN deliveries d ON d.id = standing.delivery_id
 WHERE standing.since <= statement_timestamp() - make_interval(secs => $10)
   AND NOT coalesce(d.risks @> '[{{"code": "stalled"}}]', false)
 ORDER BY standing.since LIMIT $2)
UNION ALL
(SELECT 'moving', d.id::text, NULL, NULL
 FROM deliveries d
 WHERE d.risk_since IS NOT NULL AND d.status IN ('ASSIGNED', 'PICKED_UP', 'RETURNING')
   AND d.risks @> '[{{"code": "stalled"}}]'
   AND NOT EXISTS (SELECT FROM standing WHERE standing.delivery_id = d.id
                   AND standing.since <= statement_timestamp() - make_interval(secs => $10))
 LIMIT $2)
UNION ALL
(SELECT 'risk', d.id::text, NULL, d.risk_since + make_interval(secs => next.after)
 FROM deliveries d
 CROSS JOIN LATERAL (
     SELECT min(rung.after) AS after FROM unnest($3::int[], $4::float8[]) AS rung (level, after)
     WHERE rung.level > d.risk_level) next
 WHERE d.risk_since <= statement_timestamp() + make_interval(secs => $1 - next.after)
   AND d.status IN ('ASSIGNED', 'PICKED_UP', 'RETURNING')
 ORDER BY 4 LIMIT $2)
UNION ALL
SELECT 'clock', NULL, NULL, clock_timestamp()
"""  # noqa: S608 - all of it is here


class Due(Struct, frozen=True):
    """A deadline at `due_at` (now for None), by the database's clock, about an offer, a delivery, a driver or an
    assignment, depending on `kind`. For a `session`, `due_at` is when its node died; None if the node is unknown.
    """

    kind: DeadlineKind
    id: str
    due_at: datetime | None
    session_id: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """The key that identifies a due deadline."""
        return self.kind, self.session_id or self.id


async def read_due(
    pool: Pool, policy: Policy, *, within_seconds: float, limit: int
) -> tuple[datetime, list[Due], bool]:
    """The database's time, the deadlines until `within_seconds` later, at most `limit` of a kind, and whether there may
    be more.
    """
    rows = await pool.fetch(
        DUE,
        within_seconds,
        limit,
        [rung.level for rung in policy.escalation],
        [float(rung.after_seconds) for rung in policy.escalation],
        float(policy.presence_lapse_seconds),
        float(policy.call_presence_seconds),
        policy.watch.late_minutes * 60.0,
        float(policy.watch.gone_seconds),
        float(policy.watch.release_gone_seconds) if policy.watch.release_gone_seconds is not None else None,
        policy.watch.stalled_minutes * 60.0,
        timeout=QUERY_TIMEOUT_SECONDS,
    )
    now: datetime | None = None
    due = []
    for kind, about, session_id, due_at in rows:
        if kind == "clock":
            now = due_at
        else:
            due.append(Due(kind, about, due_at, session_id))
    assert now is not None
    return now, due, limit in Counter(found.kind for found in due).values()
