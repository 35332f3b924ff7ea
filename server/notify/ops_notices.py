"""Sends notices to ops to a Slack-compatible incoming webhook, if one is set. The boards show all of them.

The result is stored with each notice.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import prometheus_client as p
import structlog

from server.contract.commit import Committed
from server.contract.notices import is_for_ops
from server.contract.views import to_json
from server.lease import Lease
from server.notify.call_rounds import retry_seconds
from server.notify.sender import Sender
from server.store.connections import Pool
from server.store.engine import DATABASE_ERRORS
from server.store.queues.ops_notices import ToSend, claim_notices, record_notice, show_notices
from server.tasks import wait_until_set

SLACK: Final = "slack"
AT_ONCE: Final = 10
LOCK_SECONDS: Final = 30.0
POLL_SECONDS: Final = 2.0
TRIES: Final = 12
"""About an hour; by then an ops notice is no news."""

SIGNS: Final = {"info": ":white_check_mark:", "warning": ":warning:", "critical": ":rotating_light:"}
NOTICES: Final = p.Counter(
    "callboard_notices_sent", "Calls to the incoming webhook for ops' notices, by outcome", ["outcome"]
)

log = structlog.get_logger(__name__)


class OpsNotices:
    """`run` is to be supervised. `url` is the incoming webhook, or empty; `board` the board's address for links, or
    empty."""

    def __init__(self, *, pool: Pool, lease: Lease, sender: Sender, url: str, board: Callable[[], str]) -> None:
        self._pool = pool
        self._lease = lease
        self._sender = sender
        self._url = url
        self._board = board
        self._something = asyncio.Event()

    def committed(self, commit: Committed) -> None:
        """Wake the sender: there may be a notice."""
        if any(is_for_ops(event) for event in commit.events):
            self._something.set()

    async def run(self) -> None:
        while True:
            if not self._lease.held:
                await self._lease.taken.wait()
            self._something.clear()
            try:
                more = await self._round()
            except DATABASE_ERRORS as error:
                log.warning("notices_not_read", reason=repr(error))
                more = False
            await wait_until_set(self._something, 0 if more else POLL_SECONDS)

    async def _round(self) -> bool:
        """Whether more notices may be due."""
        if not self._url:
            await show_notices(self._pool)
            return False
        due = await claim_notices(self._pool, SLACK, AT_ONCE, LOCK_SECONDS)
        await asyncio.gather(*(self._send(notice) for notice in due))
        return len(due) == AT_ONCE

    async def _send(self, notice: ToSend) -> None:
        board = self._board().rstrip("/")
        link = f" <{board}{notice.link}|Look>" if board else ""
        body = to_json({"text": f"{SIGNS[notice.severity]} {_escaped(notice.text)}{link}"})
        result = await self._sender.post(self._url, body.encode(), {"content-type": "application/json"})
        NOTICES.labels(result.outcome).inc()
        last = notice.attempt >= TRIES
        if result.error is not None:
            log.warning("notice_not_sent", noticeId=notice.id, attempt=notice.attempt, reason=result.error)
        again = max(retry_seconds(notice.attempt), result.retry_after or 0.0)
        await record_notice(self._pool, notice, result.error, None if last else again)


def _escaped(text: str) -> str:
    """Escaped for Slack: nothing in the text becomes a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
