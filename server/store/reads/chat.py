"""Reads messages between dispatch and drivers, and the drivers that a message to all of them is for."""

from datetime import datetime, timedelta
from typing import Final

from msgspec import Struct

from server.dispatch.model import ChatMessage
from server.ids import first_id_at
from server.store.connections import Pool
from server.store.query import fetch, fetch_as

CHAT: Final = """
SELECT id, driver_id, by_driver, author, text, at, seen_at FROM chat_messages
WHERE driver_id = $1 AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3::uuid))
ORDER BY at DESC, id DESC LIMIT $4"""
UNANSWERED_HOURS: Final = 12
"""How long the board shows a message of a driver that nobody answered."""
# The last message between dispatch and each driver, if the driver wrote it and nobody marked its notice as seen. The
# ids of notices are in order of time.
UNANSWERED: Final = f"""
SELECT m.driver_id::text, m.text, m.at
FROM (SELECT DISTINCT ON (driver_id) driver_id, by_driver, text, at FROM chat_messages
      WHERE at > statement_timestamp() - make_interval(hours => {UNANSWERED_HOURS})
      ORDER BY driver_id, at DESC, id DESC) m
WHERE m.by_driver AND m.text IS NOT NULL AND NOT EXISTS (
    SELECT FROM notices n
    WHERE n.id >= $1 AND n.kind = 'driver.message_sent' AND n.link = '/board/drivers/' || m.driver_id
      AND n.created_at >= m.at AND n.acknowledged_at IS NOT NULL)"""  # noqa: S608 - constants
AT_WORK: Final = """
SELECT id FROM drivers
WHERE active AND availability NOT IN ('shift_ended', 'offline') AND ($1::text IS NULL OR zone = $1) ORDER BY id"""


async def read_chat(pool: Pool, driver_id: str, before: tuple[datetime, str] | None, limit: int) -> list[ChatMessage]:
    """The messages to and from a driver before (at, id), newest first. Raises DatabaseAway."""
    at, message_id = before if before is not None else (None, None)
    return await fetch_as(pool, ChatMessage, CHAT, driver_id, at, message_id, limit)


class Unanswered(Struct, frozen=True):
    """The words of a driver to dispatch that wait for an answer."""

    text: str
    at: datetime


async def unanswered(pool: Pool, now: datetime) -> dict[str, Unanswered]:
    """The last message of each driver who waits for an answer, by the driver's id. Raises DatabaseAway."""
    since = first_id_at(now - timedelta(hours=UNANSWERED_HOURS + 1))
    return {row[0]: Unanswered(row[1], row[2]) for row in await fetch(pool, UNANSWERED, since)}


async def ids_at_work(pool: Pool, zone: str | None) -> list[str]:
    """The ids of all drivers on shift, in a zone if given. Raises DatabaseAway."""
    return await fetch_as(pool, str, AT_WORK, zone)
