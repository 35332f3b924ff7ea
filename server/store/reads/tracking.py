"""Reading deliveries as their customers see them, each with its driver."""

from collections.abc import Sequence
from typing import Final

import msgspec

from server.contract.tracking import Carrier
from server.dispatch.model import Delivery, Position, RunStop
from server.store.connections import Pool
from server.store.query import fetch
from server.store.reads.deliveries import JOINS, WHOLE, whole_delivery

CARRIER_WIDTH: Final = 6
TRACKED: Final = f"""{WHOLE}, r.name, r.active_count, p.lat, p.lon, p.at,
    (SELECT v.stops::text FROM driver_runs v WHERE v.driver_id = r.id)
FROM deliveries d{JOINS}
LEFT JOIN drivers r ON r.id = a.driver_id AND a.status = 'ACTIVE'
LEFT JOIN driver_positions p ON p.driver_id = r.id
WHERE d.id = ANY($1::text[]::uuid[])"""  # noqa: S608 - constants

_stops = msgspec.json.Decoder(tuple[RunStop, ...]).decode


async def read_tracked(pool: Pool, delivery_ids: Sequence[str]) -> dict[str, tuple[Delivery, Carrier | None]]:
    """The existing ones of these deliveries by id, with the driver of each that is under way. Raises DatabaseAway."""
    found = {}
    for row in await fetch(pool, TRACKED, list(delivery_ids)):
        name, active_count, lat, lon, at, stops = row[-CARRIER_WIDTH:]
        carrier = None
        if name is not None:
            position = Position(lat, lon, at) if at is not None else None
            carrier = Carrier(name, active_count, position, _stops(stops) if stops is not None else ())
        delivery = whole_delivery(row)
        found[delivery.id] = (delivery, carrier)
    return found
