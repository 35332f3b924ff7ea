"""Reading what alerts are judged by: each zone's numbers now and over a window, and the alerts that stand."""

from typing import Any, Final

from msgspec import Struct

from server.dispatch.alerts import ZoneNumbers
from server.store.reads import fetch
from server.store.reads_admin import LONGEST_OFFER

# An offer that ended in the window was made at most the longest offer before it: a range of the table's end.
NUMBERS: Final = """
WITH ended AS (
    SELECT d.zone,
           count(*) FILTER (WHERE o.status = 'ACCEPTED') AS accepted,
           count(*) FILTER (WHERE o.auto_accepted) AS auto_accepted,
           count(*) FILTER (WHERE o.status = 'REJECTED') AS rejected,
           count(*) FILTER (WHERE o.status = 'EXPIRED' AND NOT o.auto_accepted) AS expired,
           avg(o.driver_response_time_ms)::float8 AS response_ms
    FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id
    WHERE o.created_at >= statement_timestamp() - make_interval(mins => $1, secs => $2)
      AND o.closed_at >= statement_timestamp() - make_interval(mins => $1)
    GROUP BY d.zone),
waiting AS (
    SELECT zone, count(*) AS waiting,
           count(*) FILTER (WHERE unassigned_since < statement_timestamp() - interval '5 minutes') AS long
    FROM deliveries WHERE status = 'READY' GROUP BY zone)
SELECT coalesce(e.zone, w.zone), coalesce(w.waiting, 0), coalesce(w.long, 0), coalesce(e.accepted, 0),
       coalesce(e.auto_accepted, 0), coalesce(e.rejected, 0), coalesce(e.expired, 0), e.response_ms
FROM ended e FULL JOIN waiting w ON w.zone = e.zone"""
STANDING: Final = "SELECT id, kind, zone, acknowledged_by IS NOT NULL FROM alerts WHERE resolved_at IS NULL"


class ZoneRow(Struct, frozen=True):
    """A zone's numbers: those without a driver now, of them for over five minutes; offers that ended in the window."""

    zone: str
    unassigned: int
    over_five_minutes: int
    accepted: int
    auto_accepted: int
    rejected: int
    expired: int
    response_ms: float | None

    @property
    def answered(self) -> int:
        """Offers that ended other than by being taken back."""
        return self.accepted + self.auto_accepted + self.rejected + self.expired

    @property
    def numbers(self) -> ZoneNumbers:
        """What of it alerts are judged by."""
        return ZoneNumbers(self.zone, self.unassigned, self.rejected, self.answered)


class Standing(Struct, frozen=True):
    """An alert that is not over."""

    id: str
    kind: str
    zone: str
    acknowledged: bool


async def read_zones(pool: Any, window_minutes: int) -> list[ZoneRow]:
    """Every zone in which anything waits or ended in the window. Raises DatabaseAway."""
    rows = await fetch(pool, NUMBERS, window_minutes, LONGEST_OFFER.total_seconds())
    return [ZoneRow(*row) for row in rows]


async def read_standing(pool: Any) -> list[Standing]:
    """The alerts that stand. Raises DatabaseAway."""
    return [Standing(*row) for row in await fetch(pool, STANDING)]
