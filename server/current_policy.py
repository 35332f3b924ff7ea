"""This node's copy of the current policy: its own commits change it at once, those of other nodes within a second."""

import asyncio
from typing import Final

import structlog

from server.contract.commit import Committed
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.store.connections import Pool
from server.store.policies import newest_policy
from server.tasks import wait_until_set

POLL_SECONDS: Final = 0.9


log = structlog.get_logger(__name__)


class Policies:
    """`current` is the policy in force. `follow` is to be supervised."""

    def __init__(self, pool: Pool) -> None:
        self.current = DEFAULT_POLICY
        self._pool = pool
        self._look = asyncio.Event()
        self._version = 0

    def look_now(self, _payload: bytes = b"") -> None:
        """Another node may have changed the policy."""
        self._look.set()

    def committed(self, commit: Committed) -> None:
        """It was changed here."""
        if commit.policy is not None:
            self._set(commit.policy)

    async def refresh(self) -> None:
        """Read it now. Raises what `newest_policy` raises."""
        newer = await newest_policy(self._pool, self._version)
        if newer is not None:
            self._set(newer)

    async def follow(self) -> None:
        """Follow the changes of other nodes."""
        while True:
            await wait_until_set(self._look, POLL_SECONDS)
            try:
                await self.refresh()
            except Exception as error:
                log.warning("policy_not_read", reason=repr(error))

    def _set(self, policy: Policy) -> None:
        if policy.version > self._version:
            self._version = policy.version
            self.current = policy
