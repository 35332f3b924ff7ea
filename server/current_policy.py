"""This node's copies of the current policy, zones and settings: its own changes apply at once, those of other nodes
within a second.
"""

import asyncio
from collections.abc import Callable, Mapping
from html import escape
from typing import Final, Literal

import structlog
from pydantic import ValidationError

from server.contract.commit import Committed
from server.dispatch.names import name_key, spelling
from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.dispatch.zones import NO_ZONES, Zone, Zones
from server.settings import ON_SCREEN, Settings
from server.store.company import SetValue, read_company_settings, write_company_settings
from server.store.connections import Pool
from server.store.policies import newest_policy
from server.store.zones import changed_zones, read_spelling, read_spellings
from server.tasks import repeat

POLL_SECONDS: Final = 0.9
SPELLINGS_LIMIT: Final = 20_000
"""The most spellings of zones read at start; others are read when they are used."""

Origin = Literal["environment", "screen", "default"]
"""Who set a setting: the environment or a file, an admin on the screen, or nobody."""

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


class CurrentSettings:
    """`current` has the settings of this node, with what admins set on the screen where the environment and the files
    set nothing. `on_change` is called with each new copy. `follow` is to be supervised.
    """

    def __init__(self, started_with: Settings) -> None:
        self.current = started_with
        self.on_change: list[Callable[[Settings], None]] = []
        self.on_screen: dict[str, SetValue] = {}
        self._started_with = started_with
        self._pool: Pool | None = None
        self._reading = asyncio.Lock()
        self._look = asyncio.Event()

    def look_now(self, _payload: bytes = b"") -> None:
        """Read the settings soon: another node may have changed them."""
        self._look.set()

    def origin(self, name: str) -> Origin:
        if name in self._started_with.model_fields_set:
            return "environment"
        return "screen" if name in self.on_screen else "default"

    async def refresh(self, pool: Pool | None = None) -> None:
        """Read them now; `pool` is for the first time. Raises DatabaseAway."""
        self._pool = pool or self._pool
        assert self._pool is not None, "the first refresh brings the pool"
        async with self._reading:
            self._take(await read_company_settings(self._pool))

    async def follow(self) -> None:
        """Keep up with other nodes, for ever."""
        await repeat(self.refresh, POLL_SECONDS, "settings_not_read", sooner=self._look)

    async def change(self, values: Mapping[str, str], by: str) -> None:
        """Set these on all nodes: here at once. The values must be good. Raises DatabaseAway."""
        assert self._pool is not None, "the first refresh brings the pool"
        async with self._reading:  # no read that is older replaces them
            await write_company_settings(self._pool, values, by)
            before = {name: found.value for name, found in self.on_screen.items()}
            new = {name: SetValue(value, by) for name, value in values.items() if before.get(name) != value}
            self._take(self.on_screen | new)

    def _take(self, found: dict[str, SetValue]) -> None:
        if found == self.on_screen:
            return
        self.on_screen = found
        self.current = with_values(self._started_with, found)
        for heard in self.on_change:
            heard(self.current)


def with_values(settings: Settings, found: Mapping[str, SetValue]) -> Settings:
    """The settings with what admins set on the screen, where nobody else set it."""
    for name, one in found.items():
        if name not in ON_SCREEN or name in settings.model_fields_set:
            continue
        # Maps show the attribution as HTML. Who sets it on the screen writes text.
        value = escape(one.value) if name == "map_attribution" else one.value
        try:
            settings = settings.with_changes(**{name: value})
        except ValidationError:  # another release wrote it
            log.warning("setting_not_understood", setting=name)
    return settings


def _with(zones: Zones, changed: dict[str, Zone | None]) -> Zones:
    for key, zone in changed.items():
        zones = zones.changed(zone) if zone is not None else zones.without(key)
    return zones
