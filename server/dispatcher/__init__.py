"""A node's dispatcher: the lease, and while it is held here the matcher and the deadlines; searches on any node."""

from collections.abc import Awaitable, Callable

from server.contract.commit import Answer, Committed
from server.current_policy import Policies
from server.dispatch.model import SYSTEM, Actor
from server.dispatch.refusals import Refusal
from server.dispatcher.asking import Asking, Candidates, NobodyFound
from server.dispatcher.deadlines import Deadlines
from server.dispatcher.lease import Lease
from server.dispatcher.matcher import Matcher
from server.dispatcher.search import Finder
from server.dispatcher.timing import DatabaseTime
from server.redis.bus import Bus
from server.redis.index import Geo
from server.sockets.positions import Positions
from server.store.engine import Database
from server.write.executor import Executor

__all__ = ["Candidates", "Dispatcher", "NobodyFound"]


class Dispatcher:
    """What of a node makes offers and keeps deadlines. Built before the bus reads; `tasks` are to be supervised."""

    def __init__(
        self,
        *,
        node_id: str,
        database: Database,
        executor: Executor,
        bus: Bus,
        geo: Geo,
        policies: Policies,
        positions: Positions,
    ) -> None:
        self._clock = DatabaseTime()
        self._lease = Lease(node_id, database, bus)
        finder = Finder(database, bus, positions, self._clock)
        self._matcher = Matcher(
            database=database,
            executor=executor,
            policies=policies,
            lease=self._lease,
            finder=finder,
            clock=self._clock,
        )
        self._deadlines = Deadlines(
            database=database, executor=executor, policies=policies, lease=self._lease, clock=self._clock
        )
        self._asking = Asking(database=database, executor=executor, policies=policies, finder=finder)
        geo.placed.append(self._matcher.placed)

    @property
    def lease(self) -> Lease:
        """For other work that one node at a time does."""
        return self._lease

    @property
    def holds_lease(self) -> bool:
        """Whether this node dispatches now."""
        return self._lease.held

    def tasks(self) -> list[tuple[str, Callable[[], Awaitable[None]]]]:
        """The loops, by name."""
        return [
            ("lease", self._lease.keep),
            ("matcher", self._matcher.run),
            ("deadlines", self._deadlines.run),
            ("deadlines_scan", self._deadlines.scan),
        ]

    def wake(self) -> None:
        """Something may have become matchable that no commit on this node told of."""
        self._matcher.wake()

    def committed(self, commit: Committed) -> None:
        """What was just committed here. Called on the loop after each commit; only gathers."""
        self._clock.heard(commit.at)
        self._matcher.committed(commit)
        self._deadlines.committed(commit)
        if commit.policy is not None:
            self._matcher.wake()
            self._deadlines.look_now()

    async def search(
        self, delivery_id: str, actor: Actor = SYSTEM, *, early: bool = True
    ) -> Answer | NobodyFound | Refusal:
        """Search for this delivery now, on any node. See `Asking.search`."""
        return await self._asking.search(delivery_id, actor, early=early)

    async def candidates(self, delivery_id: str) -> Candidates | None:
        """Whom a search would take now and whom not; None if there is no such delivery."""
        return await self._asking.candidates(delivery_id)

    async def release(self) -> None:
        """Let another node dispatch, at once and for good."""
        await self._lease.release()
