"""Reads the numbers of a window of time, from its start until now: of offers, and of deliveries."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_one
from server.store.reads.pay import IS_REAL, IS_REAL_OFFER

LONGEST_OFFER: Final = timedelta(minutes=11)
"""No offer is open longer: an offer that ended in a time window was created at most this long before it."""

# $1 the start of the window, $2 the zone or NULL, $3 the earliest an offer was made that can have ended in it.
OFFER_NUMBERS: Final = f"""
WITH o AS MATERIALIZED (
    SELECT status, auto_accepted, driver_response_time_ms AS ms, rejection_reason,
           created_at >= $1 AS sent, closed_at >= $1 AS ended
    FROM driver_offers o
    WHERE created_at >= $3 AND {IS_REAL_OFFER}
      AND ($2::text IS NULL OR (SELECT zone FROM deliveries d WHERE d.id = o.delivery_id) = $2)
)
SELECT count(*) FILTER (WHERE sent),
       count(*) FILTER (WHERE ended AND status = 'ACCEPTED'),
       count(*) FILTER (WHERE ended AND auto_accepted),
       count(*) FILTER (WHERE ended AND status = 'REJECTED'),
       count(*) FILTER (WHERE ended AND status = 'EXPIRED' AND NOT auto_accepted),
       count(*) FILTER (WHERE ended AND status = 'WITHDRAWN'),
       avg(ms) FILTER (WHERE ended)::float8,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ended),
       percentile_cont(0.95) WITHIN GROUP (ORDER BY ms) FILTER (WHERE ended),
       ARRAY(SELECT coalesce(nullif(rejection_reason, ''), 'none_given') FROM o WHERE ended AND status = 'REJECTED'
             GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 50),
       ARRAY(SELECT count(*) FROM o WHERE ended AND status = 'REJECTED'
             GROUP BY coalesce(nullif(rejection_reason, ''), 'none_given')
             ORDER BY count(*) DESC, coalesce(nullif(rejection_reason, ''), 'none_given') LIMIT 50)
FROM o"""  # noqa: S608
DELIVERY_NUMBERS: Final = f"""
WITH d AS MATERIALIZED (
    SELECT status, greatest(created_at, least(dispatch_at, clock_timestamp()), CASE WHEN prep_seconds > 0 THEN (
               SELECT max(e.at) FROM events e WHERE e.delivery_id = d.id AND e.type = 'delivery.hold_ended') END,
               CASE WHEN held_until IS NOT NULL THEN clock_timestamp() END) AS wanted_at,
           coalesce((SELECT min(a.created_at) FROM assignments a WHERE a.delivery_id = d.id),
                    CASE WHEN status = 'CANCELLED' THEN (
                        SELECT min(e.at) FROM events e
                        WHERE e.delivery_id = d.id AND e.type = 'delivery.cancelled') END) AS settled_at
    FROM deliveries d WHERE created_at >= $1 AND ($2::text IS NULL OR zone = $2) AND {IS_REAL}
)
SELECT count(*),
       count(*) FILTER (WHERE status = 'DELIVERED'),
       count(*) FILTER (WHERE status = 'CANCELLED'),
       count(*) FILTER (WHERE status <> 'SCHEDULED'),
       count(*) FILTER (WHERE status <> 'SCHEDULED'
                          AND coalesce(settled_at, clock_timestamp()) - wanted_at > interval '5 minutes'),
       (SELECT count(*) FROM deliveries
        WHERE status = 'READY' AND held_until IS NULL AND ($2::text IS NULL OR zone = $2))
FROM d"""  # noqa: S608


class OfferNumbers(Struct, frozen=True):
    """Offers sent in a time window, the outcomes of those that ended in it, and the milliseconds of drivers'
    answers.
    """

    sent: int
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    withdrawn: int
    response_ms_avg: float | None
    response_ms_p50: float | None
    response_ms_p95: float | None
    rejection_reasons: dict[str, int]

    @property
    def acceptance_rate(self) -> float | None:
        """The share that drivers accepted themselves, of the offers that ended and were not withdrawn."""
        return _share(self.accepted, self._answered)

    @property
    def rejected_share(self) -> float | None:
        """Of the same offers."""
        return _share(self.rejected, self._answered)

    @property
    def _answered(self) -> int:
        return self.accepted + self.auto_accepted + self.rejected + self.expired


class DeliveryNumbers(Struct, frozen=True):
    """Deliveries created in a time window: their outcomes, how many waited for a driver, and how many for more than
    five minutes.
    """

    created: int
    delivered: int
    cancelled: int
    wanted: int
    waited_over5_min: int
    unassigned_now: int

    @property
    def late_share(self) -> float | None:
        """The share that waited for more than five minutes, of those that wanted a driver."""
        return _share(self.waited_over5_min, self.wanted)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


async def read_offer_numbers(pool: Pool, since: datetime, zone: str | None) -> OfferNumbers:
    """The numbers from `since` until now. Raises DatabaseAway."""
    row = await fetch_one(pool, OFFER_NUMBERS, since, zone, since - LONGEST_OFFER)
    return OfferNumbers(*(*row[:9], dict(zip(row[9], row[10], strict=True))))


async def read_delivery_numbers(pool: Pool, since: datetime, zone: str | None) -> DeliveryNumbers:
    """The numbers from `since` until now. Raises DatabaseAway."""
    return DeliveryNumbers(*await fetch_one(pool, DELIVERY_NUMBERS, since, zone))
