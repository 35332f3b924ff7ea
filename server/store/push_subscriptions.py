"""The push subscriptions of drivers' browsers, and the key that signs pushes."""

from datetime import datetime
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.devices import UNUSED_DAYS
from server.store.query import fetch_as, fetch_one_as
from server.store.tables import PushKey
from server.store.tables import PushSubscription as Row
from server.store.typed import NOW, ask, ask_one

KEY_NAME: Final = "vapid"
OF_A_DRIVER: Final = 8
"""The limit of subscriptions of a driver; a new one replaces the oldest."""
LONGEST_DAYS: Final = 400
LATEST: Final = 1e11
"""The latest Unix second that PostgreSQL can convert to an instant; tokens have no limit."""

_COLUMNS: Final = "id, driver_id, endpoint, created_at, expires_at, last_at, last_status, last_error"

# If a driver has too many, the new one is never deleted. A browser belongs to the driver who used it last.
ADD: Final = f"""
WITH added AS (
    INSERT INTO push_subscriptions AS s (id, driver_id, endpoint, p256dh, auth, created_at, expires_at, device_id)
    SELECT $1, $2, $3, $4, $5, clock_timestamp(),
           CASE WHEN $7::uuid IS NULL
                THEN least(to_timestamp($6::float8), clock_timestamp() + make_interval(days => {LONGEST_DAYS}))
                ELSE clock_timestamp() + make_interval(days => {UNUSED_DAYS}) END, $7
    WHERE $7::uuid IS NULL OR EXISTS (SELECT FROM driver_devices WHERE id = $7 AND ended_at IS NULL FOR SHARE)
    ON CONFLICT (endpoint) DO UPDATE SET
        id = CASE WHEN s.driver_id = excluded.driver_id THEN s.id ELSE excluded.id END,
        driver_id = excluded.driver_id, p256dh = excluded.p256dh, auth = excluded.auth,
        expires_at = excluded.expires_at, device_id = excluded.device_id
    RETURNING {_COLUMNS}),
surplus AS (
    DELETE FROM push_subscriptions WHERE id = ANY (ARRAY(
        SELECT id FROM push_subscriptions WHERE driver_id = $2 AND endpoint <> $3
        ORDER BY created_at DESC, id DESC OFFSET {OF_A_DRIVER - 1})))
SELECT {_COLUMNS} FROM added"""  # noqa: S608
OF_DRIVER: Final = f"""
SELECT {_COLUMNS} FROM push_subscriptions
WHERE driver_id = $1 AND expires_at > statement_timestamp() ORDER BY created_at DESC, id DESC"""  # noqa: S608


class Subscription(Struct, frozen=True):
    """A subscribed browser, without its keys, and the result of the last push."""

    id: str
    driver_id: str
    endpoint: str
    created_at: datetime
    expires_at: datetime
    last_at: datetime | None
    last_status: int | None
    last_error: str | None


async def kept_key(pool: Pool, new_key: str) -> str:
    """The private key of all nodes; stores `new_key` if there is none. Raises DatabaseAway."""
    ours = PushKey(name=KEY_NAME, private_key=new_key, created_at=NOW)
    await ask(pool, PushKey.insert(ours).on_conflict(action="DO NOTHING"))  # the first process stores the key
    (key,) = await ask_one(pool, PushKey.select(PushKey.private_key).where(PushKey.name == KEY_NAME))
    return str(key)


async def add_subscription(
    pool: Pool,
    new_id: str,
    driver_id: str,
    endpoint: str,
    p256dh: str,
    auth: str,
    expires_at: float,
    device_id: str | None = None,
) -> Subscription | None:
    """Create or update the driver's subscription at this endpoint; an existing one keeps its id. It expires at
    `expires_at` (Unix seconds); that of a device ends with the device. None if the device has ended. Raises
    DatabaseAway.
    """
    until = min(expires_at, LATEST)
    return await fetch_one_as(pool, Subscription, ADD, new_id, driver_id, endpoint, p256dh, auth, until, device_id)


async def read_subscriptions(pool: Pool, driver_id: str) -> list[Subscription]:
    """Valid subscriptions, newest first. Raises DatabaseAway."""
    return await fetch_as(pool, Subscription, OF_DRIVER, driver_id)


async def remove_subscription(pool: Pool, driver_id: str, subscription_id: str) -> bool:
    """Whether the driver had it. Raises DatabaseAway."""
    theirs = (Row.driver_id == driver_id) & (Row.id == subscription_id)
    return await ask_one(pool, Row.delete().where(theirs).returning(Row.id)) is not None
