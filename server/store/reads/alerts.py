"""Reads alerts, open or resolved; for the screens with the text of their notice."""

from typing import Final

from server.dispatch.model import Alert
from server.store.connections import Pool
from server.store.query import fetch_as, fetch_one_as
from server.store.rows import ALERT_COLUMNS

_ALERT: Final = f"SELECT {ALERT_COLUMNS} FROM alerts"  # noqa: S608
ALERT: Final = f"{_ALERT} WHERE id = $1"
ALERTS: Final = f"""{_ALERT} WHERE ($1::text IS NULL OR zone = $1) AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3"""
_TEXTS: Final = f"""
SELECT {ALERT_COLUMNS},
       (SELECT n.text FROM notices n WHERE n.alert_id = a.id AND n.kind = 'alert.raised' ORDER BY n.id LIMIT 1)
FROM alerts a"""  # noqa: S608
WITH_TEXT: Final = f"{_TEXTS} WHERE a.id = $1"
OPEN_ALERTS: Final = f"{_TEXTS} WHERE a.resolved_at IS NULL ORDER BY a.acknowledged_at IS NOT NULL, a.id DESC LIMIT 100"
PAST_ALERTS: Final = f"""{_TEXTS}
WHERE a.resolved_at IS NOT NULL AND ($1::uuid IS NULL OR a.id < $1) ORDER BY a.id DESC LIMIT $2"""


class AlertWithText(Alert):
    text: str | None = None


async def read_alert(pool: Pool, alert_id: str) -> Alert | None:
    return await fetch_one_as(pool, Alert, ALERT, alert_id)


async def read_alerts(pool: Pool, zone: str | None, before: str | None, limit: int) -> list[Alert]:
    """Newest first, those before the alert `before`."""
    return await fetch_as(pool, Alert, ALERTS, zone, before, limit)


async def read_open_alerts(pool: Pool) -> list[AlertWithText]:
    """Open alerts; unacknowledged first, then newest first. Raises DatabaseAway."""
    return await fetch_as(pool, AlertWithText, OPEN_ALERTS)


async def read_past_alerts(pool: Pool, before: str | None, limit: int) -> list[AlertWithText]:
    """Resolved alerts before the alert `before`, newest first. Raises DatabaseAway."""
    return await fetch_as(pool, AlertWithText, PAST_ALERTS, before, limit)


async def read_alert_with_text(pool: Pool, alert_id: str) -> AlertWithText | None:
    """One of them. Raises DatabaseAway."""
    return await fetch_one_as(pool, AlertWithText, WITH_TEXT, alert_id)
