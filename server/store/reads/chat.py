"""Reads messages between dispatch and drivers, and the drivers that a message to all of them is for."""

from datetime import datetime
from typing import Final

from server.dispatch.model import ChatMessage
from server.store.connections import Pool
from server.store.query import fetch_as

CHAT: Final = """
SELECT id, driver_id, by_driver, author, text, at, seen_at FROM chat_messages
WHERE driver_id = $1 AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3::uuid))
ORDER BY at DESC, id DESC LIMIT $4"""
AT_WORK: Final = """
SELECT id FROM drivers
WHERE active AND availability NOT IN ('shift_ended', 'offline') AND ($1::text IS NULL OR zone = $1) ORDER BY id"""


async def read_chat(pool: Pool, driver_id: str, before: tuple[datetime, str] | None, limit: int) -> list[ChatMessage]:
    """The messages to and from a driver before (at, id), newest first. Raises DatabaseAway."""
    at, message_id = before if before is not None else (None, None)
    return await fetch_as(pool, ChatMessage, CHAT, driver_id, at, message_id, limit)


async def ids_at_work(pool: Pool, zone: str | None) -> list[str]:
    """The ids of all drivers on shift, in a zone if given. Raises DatabaseAway."""
    return await fetch_as(pool, str, AT_WORK, zone)
