"""This node's copies of the current policy and zones: its own commits change them at once, those of other nodes within
a second.
"""

import asyncio
from typing import Final

from server.contract.commit import Committed
from server.dispatch.names import name_key, spelling
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.dispatch.zones import NO_ZONES, Zone, Zones
from server.store.connections import Pool
from server.store.policies import newest_policy
from server.store.zones import changed_zones, read_spelling, read_spellings
from server.tasks import repeat

POLL_SECONDS: Final = 0.9
SPELLINGS_LIMIT: Final = 20_000
"""The most spellings of zones read at start; others are read when they are used."""


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
        await repeat(self.refresh, POLL_SECONDS, "policy_not_read", sooner=self._look)

    def _set(self, policy: Policy) -> None:
        if policy.version > self._version:
            self._version = policy.version
            self.current = policy


class KnownZones:
    """`current` has the zones with a description. `follow` is to be supervised."""

    def __init__(self, pool: Pool) -> None:
        self.current = NO_ZONES
        self._pool = pool
        self._look = asyncio.Event()
        self._version = 0
        self._spellings: dict[str, str] = {}

    def look_now(self, _payload: bytes = b"") -> None:
        """Read the zones soon: another node may have changed them."""
        self._look.set()

    def committed(self, commit: Committed) -> None:
        """Take the zones of this node's commit, and the spellings, which no other commit can change any more."""
        for key, known in commit.spellings.items():
            if len(self._spellings) < 2 * SPELLINGS_LIMIT:
                self._spellings.setdefault(key, known)
        if commit.zones is not None:
            self.current = commit.zones
            self._look.set()

    async def refresh(self) -> None:
        """Read the changes now. Raises DatabaseAway."""
        if not self._spellings:
            self._spellings = await read_spellings(self._pool, SPELLINGS_LIMIT)
        version, changed = await changed_zones(self._pool, self._version)
        if changed:
            before = self.current
            after = await asyncio.to_thread(_with, before, changed)
            if self.current is not before:  # a commit of this node may be newer than the read
                self._look.set()
                return
            self.current = after
        self._version = version

    async def follow(self) -> None:
        """Keep up with other nodes, for ever."""
        await repeat(self.refresh, POLL_SECONDS, "zones_not_read", sooner=self._look)

    def spelled_before(self, name: str) -> str | None:
        """The spelling of a zone, which is the first that was used on any node; None if this node does not know it."""
        return self._spellings.get(name_key(name))

    async def spelling_of(self, name: str) -> str:
        """The spelling of a zone that any node has used, or else this one. Raises DatabaseAway."""
        return self.spelled_before(name) or await read_spelling(self._pool, name_key(name)) or spelling(name)


def _with(zones: Zones, changed: dict[str, Zone | None]) -> Zones:
    for key, zone in changed.items():
        zones = zones.changed(zone) if zone is not None else zones.without(key)
    return zones
