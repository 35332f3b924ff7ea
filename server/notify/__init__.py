"""What goes out beside answers and sockets: webhooks, web push, notices for ops, and the watch that raises alerts."""

from collections.abc import Awaitable, Callable

from server.contract.commit import Committed
from server.current_policy import Policies
from server.dispatch.model import Actor
from server.dispatcher.lease import Lease
from server.notify.counts import count_commit
from server.notify.ops_notices import Notices
from server.notify.push import Push
from server.notify.sender import Sender
from server.notify.trial import try_out
from server.notify.watch import Watch
from server.notify.webhooks import Outbox
from server.redis.bus import Bus
from server.settings import Settings
from server.store.engine import Database
from server.write.executor import Executor

__all__ = ["Notify"]


class Notify:
    """A node's part in it. Built before the bus reads; `tasks` are to be supervised."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        lease: Lease,
        executor: Executor,
        policies: Policies,
        bus: Bus,
    ) -> None:
        pool = self._pool = database.pool
        self._senders = (Sender(allow_private=settings.webhooks_allow_private), Sender(allow_private=True))
        self.outbox = Outbox(database=database, lease=lease, bus=bus, sender=self._senders[0])
        self.push = Push(pool=pool, lease=lease, bus=bus, sender=self._senders[0], settings=settings)
        self.watch = Watch(pool=pool, lease=lease, executor=executor, policies=policies)
        # The operator's own word names this receiver: it may be anywhere.
        self.notices = Notices(
            pool=pool,
            lease=lease,
            sender=self._senders[1],
            url=settings.slack_webhook_url,
            board=settings.public_url,
        )

    async def try_webhook(self, webhook_id: str, actor: Actor) -> str | None:
        """Send a test now, and wait for what becomes of it: the id of its message. None if there is no such webhook.
        Raises DatabaseAway.
        """
        message_id, taken = await try_out(self._pool, self._senders[0], webhook_id, actor)
        if taken:
            # Whoever takes a test is there: what waits for them need not wait any longer.
            self.outbox.look(webhook_id)
        return message_id

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """The loops, by name."""
        return [
            ("outbox", self.outbox.run),
            ("push", self.push.run),
            ("watch", self.watch.run),
            ("notices", self.notices.run),
        ]

    def committed(self, commit: Committed) -> None:
        """What was just committed here."""
        count_commit(commit)
        self.outbox.committed(commit)
        self.push.committed(commit)
        self.watch.committed(commit)
        self.notices.committed(commit)

    async def close(self) -> None:
        """Let go of the connections, once the loops are over."""
        for sender in self._senders:
            await sender.close()
