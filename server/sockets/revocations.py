"""Revoked tokens, as this node knows them: those of deactivated drivers, and of devices that ended.

Every call and every socket is checked against two sets in memory, which costs no statement. The node knows its own
changes at once. It learns those of other nodes by a hint, or within a second by one statement a second.
"""

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from server.contract.commit import Committed
from server.dispatch.events import DriverDeactivated, DriverReactivated
from server.redis.bus import ACCESS, Bus
from server.sockets.hub import Hub
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.devices import Revoked, recently_changed, revoked, save_uses
from server.tasks import repeat

TOKEN_HOURS: Final = 12
"""The lifetime of a device's token; the device renews it."""
REVOKED_SECONDS: Final = TOKEN_HOURS * 3600.0 + 3600.0
"""How long a node remembers that a device ended: longer than the lifetime of its tokens."""
POLL_SECONDS: Final = 0.9
ALL_SECONDS: Final = 60.0
"""How often the node reads all revocations again, to find what it missed."""
USES_SECONDS: Final = 60.0
"""How often the uses of devices are saved; the time of each device changes at most every 4 min."""


class Revocations:
    """Run `follow` and `keep_uses` as supervised tasks."""

    def __init__(self, pool: Pool, hub: Hub, bus: Bus, clock: DatabaseClock) -> None:
        self._pool = pool
        self._hub = hub
        self._bus = bus
        self._clock = clock
        self._drivers: set[str] = set()
        self._devices: set[str] = set()
        self._used: set[str] = set()
        self._reading = asyncio.Lock()
        self._here: list[Revoked] = []
        """Changes on this node since the last read of the database: its answer may be older."""
        self._look = asyncio.Event()
        self._all_at = 0.0
        bus.on_reconnect.append(self.look_now)
        bus.subscribe(ACCESS, lambda _: self.look_now())

    def refuses(self, driver_id: str, device_id: str | None) -> bool:
        """Whether a token of this driver, for this device if any, is revoked."""
        return driver_id in self._drivers or (device_id is not None and device_id in self._devices)

    def used(self, device_id: str) -> None:
        """Remember that a call had a token of this device."""
        self._used.add(device_id)

    # Changes

    def committed(self, commit: Committed) -> None:
        """Learn what this node has committed."""
        for event in commit.events:
            kind = type(event)
            if (kind is DriverDeactivated or kind is DriverReactivated) and event.driver_id is not None:
                self._changed_here(Revoked("driver", event.driver_id, kind is DriverDeactivated))

    def device_ended(self, device_id: str) -> None:
        """Learn that this node has ended a device, and send a hint to the others."""
        self._changed_here(Revoked("device", device_id, True))

    def _changed_here(self, change: Revoked) -> None:
        self._here.append(change)
        self._learn([change])
        self._bus.hint(ACCESS)

    def _learn(self, changes: Iterable[Revoked]) -> None:
        """Add these changes to the sets, and close the sockets of revoked drivers and devices."""
        for change in changes:
            known = self._drivers if change.kind == "driver" else self._devices
            if not change.revoked:
                known.discard(change.id)
            elif change.id not in known:
                known.add(change.id)
                self._hub.revoke(change.id)

    # Changes of other nodes

    def look_now(self) -> None:
        """Read the changes of other nodes at once."""
        self._look.set()

    async def refresh(self) -> None:
        """Read the recent changes, and every ALL_SECONDS all revocations. Raises DatabaseAway."""
        async with self._reading:
            self._here.clear()
            whole = not self._all_at or time.monotonic() - self._all_at > ALL_SECONDS
            found = await (revoked(self._pool, REVOKED_SECONDS) if whole else recently_changed(self._pool))
            if whole:
                self._all_at = time.monotonic()
                self._drivers &= {change.id for change in found if change.kind == "driver"}
                self._devices &= {change.id for change in found if change.kind == "device"}
            newest = {(change.kind, change.id): change for change in (*found, *self._here)}
            self._learn(newest.values())

    async def follow(self) -> None:
        """Read the changes of other nodes every second, for ever."""
        await repeat(self.refresh, POLL_SECONDS, "revocations_not_read", sooner=self._look)

    async def keep_uses(self) -> None:
        """Save the uses of devices every minute, for ever."""
        await repeat(self.store_uses, USES_SECONDS, "device_uses_not_saved")

    async def store_uses(self) -> None:
        """Save which devices made a call since the last time, or have an open socket. Raises DatabaseAway."""
        connected = {socket.device_id for socket in self._hub.sockets.values() if socket.device_id is not None}
        used, self._used = self._used | connected, set()
        now = self._clock.now()
        try:
            await save_uses(self._pool, dict.fromkeys(used, now))
        except BaseException:
            self._used |= used
            raise
