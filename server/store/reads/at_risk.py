"""Reading the orders under way that may not arrive in time, the worst first."""

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from server.dispatch.model import Risk
from server.dispatch.risks import WORST_FIRST
from server.store.connections import Pool
from server.store.query import fetch

# An order that ended on a node of the previous release may have kept its risks: only those under way count.
AT_RISK: Final = """
SELECT d.id, d.seller_order_id, d.store_name, d.zone, a.driver_id, r.name, d.risks, d.risk_level,
       d.risk_acknowledged_by, worst.rank, d.risk_since
FROM deliveries d
JOIN assignments a ON a.delivery_id = d.id AND a.status = 'ACTIVE' JOIN drivers r ON r.id = a.driver_id
CROSS JOIN LATERAL (
    SELECT coalesce(min(array_position($1::text[], risk ->> 'code')), 0) AS rank
    FROM jsonb_array_elements(d.risks) AS risk) worst
WHERE d.risk_since IS NOT NULL AND d.status IN ('ASSIGNED', 'PICKED_UP', 'RETURNING')
  AND ($2::text IS NULL OR d.zone = $2)
  AND ($3::int IS NULL OR (worst.rank, d.risk_since, d.id) > ($3, $4::timestamptz, $5::uuid))
ORDER BY worst.rank, d.risk_since, d.id LIMIT $6"""

Rank = tuple[int, datetime, str]
"""The place of a row in the list: how bad its worst risk is (1 is the worst), since when it is at risk, its id."""


class AtRiskRow(Struct, frozen=True):
    """An order under way that is at risk, with its risks in the order in which they came."""

    delivery_id: str
    seller_order_id: str
    store_name: str
    zone: str
    driver_id: str
    driver_name: str
    risks: tuple[Risk, ...]
    risk_level: int
    acknowledged_by: str | None
    rank: int
    risk_since: datetime

    @property
    def place(self) -> Rank:
        return self.rank, self.risk_since, self.delivery_id

    def worst_first(self) -> list[Risk]:
        """Its risks, that which a dispatcher should see first at the front."""
        return sorted(self.risks, key=lambda risk: WORST_FIRST.index(risk.code))


async def read_at_risk(pool: Pool, zone: str | None, after: Rank | None, limit: int) -> list[AtRiskRow]:
    """The worst first, among the same risk the longest; those after the place `after`. Raises DatabaseAway."""
    place = after or (None, None, None)
    rows = await fetch(pool, AT_RISK, list(WORST_FIRST), zone, *place, limit)
    return [AtRiskRow(*(*row[:6], _risks(row[6]), *row[7:])) for row in rows]


_risks = msgspec.json.Decoder(tuple[Risk, ...]).decode
