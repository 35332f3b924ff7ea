"""What goes out beside answers and sockets: webhooks, notices for ops, and the watch that raises alerts."""

from collections.abc import Awaitable, Callable

from server.dispatcher.lease import Lease
from server.execute import Committed, Executor
from server.notify.counts import count_commit
from server.notify.notices import Notices
from server.notify.outbox import Outbox
from server.notify.sender import Sender
from server.notify.watch import Watch
from server.policies import Policies
from server.realtime.bus import Bus
from server.settings import Settings
from server.store.engine import Database

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
        pool = database.pool
        self._senders = (Sender(allow_private=settings.webhooks_allow_private), Sender(allow_private=True))
        self.outbox = Outbox(pool=pool, lease=lease, bus=bus, sender=self._senders[0])
        self.watch = Watch(pool=pool, lease=lease, executor=executor, policies=policies)
        # The operator's own word names this receiver: it may be anywhere.
        self.notices = Notices(
            pool=pool,
            lease=lease,
            sender=self._senders[1],
            url=settings.slack_webhook_url,
            board=settings.public_url,
        )

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """The loops, by name."""
        return [("outbox", self.outbox.run), ("watch", self.watch.run), ("notices", self.notices.run)]

    def committed(self, commit: Committed) -> None:
        """What was just committed here."""
        count_commit(commit)
        self.outbox.committed(commit)
        self.watch.committed(commit)
        self.notices.committed(commit)

    async def close(self) -> None:
        """Let go of the connections, once the loops are over."""
        for sender in self._senders:
            await sender.close()
