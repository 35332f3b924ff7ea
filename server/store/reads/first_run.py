"""What a new installation has already."""

from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch_one

STARTED: Final = """
SELECT (SELECT count(*) FROM (SELECT FROM users WHERE active LIMIT 2) AS people),
       EXISTS (SELECT FROM drivers WHERE active), EXISTS (SELECT FROM driver_devices WHERE ended_at IS NULL),
       EXISTS (SELECT FROM deliveries), EXISTS (SELECT FROM webhooks WHERE active),
       EXISTS (SELECT FROM api_keys WHERE revoked_at IS NULL)"""


class Started(Struct, frozen=True):
    """How many people can log in (2 are enough to know), and whether there is any driver, device of a driver, delivery,
    active webhook and API key.
    """

    people: int
    driver: bool
    device: bool
    delivery: bool
    webhook: bool
    key: bool


async def read_started(pool: Pool) -> Started:
    """What there is. Raises DatabaseAway."""
    return Started(*await fetch_one(pool, STARTED))
