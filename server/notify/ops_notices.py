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
from server.notify.call_rounds import Calls, retry_seconds
from server.notify.sender import Sender, without_answer
from server.store.connections import Pool
from server.store.queues.ops_notices import ToSend, claim_notices, record_notice, show_notices

SLACK: Final = "slack"
AT_ONCE: Final = 10
LOCK_SECONDS: Final = 30.0
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
        self._sender = sender
        self._url = url
        self._board = board
        self._calls = Calls("notices", lease, self._round, spacing_seconds=0.0)

    def committed(self, commit: Committed) -> None:
        """Wake the sender: there may be a notice."""
        if any(is_for_ops(event) for event in commit.events):
            self._calls.wake()

    async def run(self) -> None:
        """Send due notices, round after round."""
        await self._calls.run()

    async def _round(self) -> None:
        if not self._url:
            await show_notices(self._pool)
            return
        due = await claim_notices(self._pool, SLACK, AT_ONCE, LOCK_SECONDS)
        await asyncio.gather(*(self._send(notice) for notice in due))
        if len(due) == AT_ONCE:
            self._calls.wake()

    async def _send(self, notice: ToSend) -> None:
        board = self._board().rstrip("/")
        link = f" <{board}{notice.link}|Look>" if board else ""
        body = to_json({"text": f"{SIGNS[notice.severity]} {_escaped(notice.text)}{link}"})
        result = await self._sender.post(self._url, body.encode(), {"content-type": "application/json"})
        NOTICES.labels(result.outcome).inc()
        last = notice.attempt >= TRIES
        if result.error is not None:
            log.warning(
                "notice_not_sent", noticeId=notice.id, attempt=notice.attempt, reason=without_answer(result.error)
            )
        again = max(retry_seconds(notice.attempt), result.retry_after or 0.0)
        await record_notice(self._pool, notice, result.error, None if last else again)


def _escaped(text: str) -> str:
    """Escaped for Slack: nothing in the text becomes a link or a mention."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
