"""The index that Callboard publishes in Redis: places of dispatchable drivers, states of drivers, open offers.

It also sends hints to other nodes. All of it is derived after commits, written in batches, and repaired from
PostgreSQL, which alone is the truth. Moves of drivers already in the index are written by `sockets/positions.py`.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import structlog
from msgspec import structs
from redis.exceptions import RedisError

from server.contract.commit import Committed
from server.contract.views import instant, to_json
from server.dispatch.events import (
    DriverChanged,
    DriverConnected,
    Event,
    OfferAccepted,
    OfferCreated,
    OfferExpired,
    OfferRejected,
    OfferWithdrawn,
)
from server.dispatch.model import Delivery, Driver, Position
from server.dispatch.offers import dispatchable
from server.dispatch.policy import Policy
from server.redis.bus import BOARD, DISPATCH, Bus, node_channel
from server.redis.hints import FleetHint, NodeHint, write_fleet_hint, write_hint
from server.redis.pipe import RedisCommand
from server.store.connections import Pool
from server.store.engine import DATABASE_ERRORS
from server.store.reads.index import all_dispatchable, driver_statuses, open_offers
from server.store.reads.waiting import dispatchable_among
from server.tasks import wait_until_set

RECONCILE_SECONDS = 5.0
REDIS_TIMEOUT_SECONDS = 10.0
SLICE = 500
"""So many drivers or offers are read, compared or written at a time, so that the loop is never stopped for long."""
BOARD_SPACING_SECONDS = 0.1
GEO_LATITUDE = 85.05
"""Redis cannot index positions nearer to a pole; drivers there are found in the database."""

log = structlog.get_logger(__name__)


Change = TypeVar("Change")
SeenPlace = tuple[float, float, datetime]
"""Latitude, longitude, and since when a driver is there."""

_CLOSING = (OfferAccepted, OfferRejected, OfferExpired, OfferWithdrawn)


class DriverIndex:
    """Collects the changes of commits until the bus writes its next pipeline; the last state of each thing counts.

    `latest` returns the newest position known on this node. `holds_lease` and `alone` say when a hint need not leave
    this process. `after_urgent` delays the hint of a new delivery until the drivers that this node just heard of are
    stored: the node with the lease would be refused the offer, and would offer it to somebody farther away.
    """

    def __init__(
        self,
        bus: Bus,
        pool: Pool,
        *,
        node_id: str,
        policy: Callable[[], Policy],
        latest: Callable[[str], Position | None],
        alone: Callable[[], bool],
    ) -> None:
        self.holds_lease: Callable[[], bool] = lambda: False
        self.after_urgent: Callable[[Callable[[], None]], bool] = lambda _: False
        self._bus = bus
        self._pool = pool
        self._node_id = node_id
        self._policy = policy
        self._latest = latest
        self._alone = alone
        self._places: dict[str, dict[str, SeenPlace | None]] = defaultdict(dict)
        self._statuses: dict[str, str] = {}
        self._offers: dict[str, tuple[float, str] | None] = {}
        self._messages: dict[str, NodeHint] = {}
        self._drivers: dict[str, tuple[datetime, Driver]] = {}
        self._waiting: set[str] = set()
        self._board_at = 0.0
        self._board_later: asyncio.TimerHandle | None = None
        self._may_be_empty = False
        """Whether Redis was away, and the index was not written again since: a matter of the node with the lease."""
        self._has_gaps = False
        """Whether something that this node wanted to write may be missing."""
        self._meanwhile: set[str] | None = None
        """While everything is read: the drivers and offers of commits since."""
        bus.sources.append(self._commands)
        bus.on_dropped.append(self._dropped)

    def committed(self, commit: Committed) -> None:
        """What was just committed here. Called on the loop after each commit; only gathers."""
        for event in commit.events:
            self._note_event(event, commit.at)
        policy = self._policy()
        rezoned = self._leave_zones(commit.events)
        for driver in commit.drivers:
            self._statuses[driver.id] = "busy" if driver.busy else driver.availability
            self._places[driver.zone][driver.id] = self._place(driver, commit.at, policy)
            node = driver.session_node
            if driver.id in rezoned and node is not None and node != self._node_id:
                self._for_node(node).zones.append((driver.id, driver.zone))
        for message in commit.messages:
            node = message.session_node
            if node is not None and node != self._node_id:
                self._for_node(node).messages.append((message.driver_id, message.seq, message.body))
        if self._meanwhile is not None:
            self._meanwhile.update(driver.id for driver in commit.drivers)
            self._meanwhile.update(event.offer_id for event in commit.events if event.offer_id is not None)
        if not self._alone():
            if not self.holds_lease():
                self._drivers.update((driver.id, (commit.at, driver)) for driver in commit.drivers)
                waiting = [delivery.id for delivery in commit.deliveries if _waits(delivery)]
                if not waiting or not self.after_urgent(partial(self._hint_waiting, waiting)):
                    self._waiting.update(waiting)
            self._hint_board()
        self._bus.wake()

    def _dropped(self) -> None:
        self._has_gaps = True

    def _hint_waiting(self, waiting: Iterable[str]) -> None:
        self._waiting.update(waiting)
        self._bus.wake()

    def _leave_zones(self, events: Iterable[Event]) -> set[str]:
        """Remove drivers from the zones that they leave. Returns who changed zone."""
        rezoned = set()
        for event in events:
            if isinstance(event, DriverChanged) and "zone" in event.changes and event.driver_id is not None:
                left, _ = event.changes["zone"]
                rezoned.add(event.driver_id)
                self._places[left][event.driver_id] = None
        return rezoned

    def _note_event(self, event: Event, now: datetime) -> None:
        kind = type(event)
        if kind is OfferCreated:
            offer = event.offer  # type: ignore[attr-defined]
            left = (offer.expires_at - now).total_seconds()
            self._offers[offer.id] = (left, _offer_json(offer.id, offer.delivery_id, offer.driver_id, offer.expires_at))
        elif kind in _CLOSING and event.offer_id is not None:
            self._offers[event.offer_id] = None
        elif isinstance(event, DriverConnected) and event.superseded is not None:
            node = event.superseded_node
            if node is not None and node != self._node_id and event.driver_id is not None:
                self._for_node(node).superseded.append((event.driver_id, event.superseded))

    def _as_hint(self, driver: Driver) -> Driver:
        """Without personal data, where this node last saw them."""
        stored, local = driver.position, self._latest(driver.id)
        newest = local if local is not None and (stored is None or local.at > stored.at) else stored
        return structs.replace(driver, name="", phone=None, position=newest)

    def _place(self, driver: Driver, now: datetime, policy: Policy) -> SeenPlace | None:
        stored, local = driver.position, self._latest(driver.id)
        if local is not None and (stored is None or local.at > stored.at):
            driver = structs.replace(driver, position=local)
        where = driver.position
        if where is None or dispatchable(driver, now, policy) is not None:
            return None
        return where.lat, where.lon, where.at

    def _for_node(self, node_id: str) -> NodeHint:
        hint = self._messages.get(node_id)
        if hint is None:
            hint = self._messages[node_id] = NodeHint([], [], [])
        return hint

    def _hint_board(self) -> None:
        """Make boards of other nodes refresh, at most ten times a second, and always after the last change."""
        wait = self._board_at + BOARD_SPACING_SECONDS - time.monotonic()
        if wait <= 0:
            self._send_board_hint()
        elif self._board_later is None:
            self._board_later = asyncio.get_running_loop().call_later(wait, self._send_board_hint)

    def _send_board_hint(self) -> None:
        self._board_at = time.monotonic()
        self._board_later = None
        self._bus.hint(BOARD)

    def _commands(self) -> Iterable[RedisCommand]:
        """The collected changes in as few commands as possible; keys before hints, without repeats. Of more than
        `SLICE` of a kind the oldest first; the others follow with the next pipeline.
        """
        commands: list[RedisCommand] = []
        room = SLICE
        for zone in list(self._places):
            places = _first(self._places[zone], room)
            room -= len(places)
            commands.extend(self._geo_commands(zone, places))
            if not self._places[zone]:
                del self._places[zone]
            if room <= 0:
                break
        statuses, offers = _first(self._statuses, SLICE), _first(self._offers, SLICE)
        if statuses:
            commands.append(("HSET", self._bus.status_key, *(x for pair in statuses.items() for x in pair)))
        over = [self._bus.offer_key(offer_id) for offer_id, shown in offers.items() if shown is None]
        if over:
            commands.append(("DEL", *over))
        for offer_id, shown in offers.items():
            if shown is not None and shown[0] > 0:
                commands.append(("PSETEX", self._bus.offer_key(offer_id), max(1, round(shown[0] * 1000)), shown[1]))
        for node_id, hint in self._messages.items():
            commands.append(("PUBLISH", self._bus.prefix + node_channel(node_id), write_hint(hint)))
        if self._drivers or self._waiting:
            drivers = [(at, self._as_hint(driver)) for at, driver in self._drivers.values()]
            news = FleetHint(drivers, list(self._waiting))
            commands.append(("PUBLISH", self._bus.prefix + DISPATCH, write_fleet_hint(news)))
            self._drivers.clear()
            self._waiting.clear()
        self._messages.clear()
        if self.writes:
            self._bus.wake()
        return commands

    def _geo_commands(self, zone: str, places: Mapping[str, SeenPlace | None]) -> Iterable[RedisCommand]:
        """Who moved since then is where they are now: the command that moves those who are in the index comes first."""
        here: list[Any] = []
        gone: list[str] = []
        for driver_id, place in places.items():
            if place is None or abs(place[0]) > GEO_LATITUDE:
                gone.append(driver_id)
                continue
            lat, lon, at = place
            newest = self._latest(driver_id)
            if newest is not None and newest.at > at and abs(newest.lat) <= GEO_LATITUDE:
                lat, lon = newest.lat, newest.lon
            here += (lon, lat, driver_id)
        if here:
            yield ("GEOADD", self._bus.geo_key(zone), *here)
        if gone:
            yield ("ZREM", self._bus.geo_key(zone), *gone)

    @property
    def writes(self) -> bool:
        """Whether changes are left for the next pipeline."""
        return bool(self._places or self._statuses or self._offers)

    async def add_dispatchable(self, driver_ids: Iterable[str]) -> None:
        """Add the dispatchable ones to the index at their stored positions."""
        rows = await dispatchable_among(self._pool, self._policy(), list(driver_ids))
        for driver_id, zone, lat, lon, at in rows:
            self._places[zone][driver_id] = (lat, lon, at)
        if rows:
            self._bus.wake()

    async def reconcile(self) -> int:
        """Compare every zone's index with PostgreSQL, add missing drivers and remove wrong ones. Returns how many
        differed.

        Drivers who differ are checked a second time before any change, because commits happen meanwhile. Raises what
        the database or Redis raise.
        """
        policy = self._policy()
        true = await all_dispatchable(self._pool, policy, GEO_LATITUDE)
        differed = 0
        for zone in sorted(true.keys() | await self._zones_shown()):
            shown: set[str] = set()
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                async for some in self._shown(zone):
                    shown.update(some)
            doubtful = list(true.get(zone, set()) ^ shown)
            differed += len(doubtful)
            for start in range(0, len(doubtful), SLICE):
                ids = doubtful[start : start + SLICE]
                rows = await dispatchable_among(self._pool, policy, ids)
                found = {driver_id: (lat, lon, at) for driver_id, of, lat, lon, at in rows if of == zone}
                for driver_id in ids:
                    if driver_id not in found or driver_id not in shown:
                        self._places[zone].setdefault(driver_id, found.get(driver_id))
                self._bus.wake()
        return differed

    async def _zones_shown(self) -> set[str]:
        async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
            keys = self._bus.redis.scan_iter(match=f"{self._bus.geo_prefix}*", count=SLICE)
            return {key.decode().removeprefix(self._bus.geo_prefix) async for key in keys}

    async def _shown(self, zone: str) -> AsyncIterator[list[str]]:
        """The drivers in the index of a zone, some at a time. Who is moved meanwhile may come twice."""
        cursor: Any = 0
        while True:
            found: Any = await self._bus.redis.zscan(self._bus.geo_key(zone), cursor, count=SLICE)
            cursor, members = found
            yield [member.decode() for member, _ in members]
            if not cursor:
                return

    async def refill(self) -> None:
        """Write the whole index again: Redis was away, or a write got lost. If this fails, or what it writes gets lost
        too, it is due again. Raises what the database or Redis raise.
        """
        self._may_be_empty = self._has_gaps = False
        meanwhile: set[str] = set()
        self._meanwhile = meanwhile
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                closed = await self._shown_offers()
            async for statuses in driver_statuses(self._pool, SLICE):
                self._statuses.update(
                    (driver_id, status) for driver_id, status in statuses if driver_id not in meanwhile
                )
                self._bus.wake()
            async for offers in open_offers(self._pool, SLICE):
                closed.difference_update(offer.id for offer in offers)
                for o in offers:
                    if o.id not in meanwhile:
                        shown = _offer_json(o.id, o.delivery_id, o.driver_id, o.expires_at)
                        self._offers[o.id] = (o.left_seconds, shown)
                self._bus.wake()
            self._offers.update(dict.fromkeys(closed - meanwhile))
            await self.reconcile()
        except BaseException:
            self._has_gaps = True
            raise
        finally:
            self._meanwhile = None
        self._bus.wake()

    async def _shown_offers(self) -> set[str]:
        prefix = self._bus.offer_key("")
        keys = self._bus.redis.scan_iter(match=f"{prefix}*", count=SLICE)
        return {key.decode().removeprefix(prefix) async for key in keys}

    async def keep(self) -> None:
        """Reconcile while this process has the lease; write everything again when Redis is back, and when something
        that this process wrote got lost.
        """
        back = asyncio.Event()
        self._bus.on_reconnect.append(back.set)
        try:
            while True:
                self._may_be_empty |= await wait_until_set(back, RECONCILE_SECONDS)
                if not self._bus.connected or not (self.holds_lease() or self._has_gaps):
                    continue
                try:
                    await (self.refill() if self._may_be_empty or self._has_gaps else self.reconcile())
                except (RedisError, *DATABASE_ERRORS) as error:
                    log.warning("reconcile_failed", reason=repr(error))
        finally:
            self._bus.on_reconnect.remove(back.set)


def _waits(delivery: Delivery) -> bool:
    return delivery.status == "READY" and delivery.current_offer_id is None


def _offer_json(offer_id: str, delivery_id: str, driver_id: str, expires_at: datetime) -> str:
    return to_json(
        {"offerId": offer_id, "deliveryId": delivery_id, "driverId": driver_id, "expiresAt": instant(expires_at)}
    )


def _first(of: dict[str, Change], count: int) -> dict[str, Change]:
    """Take these out of it, the oldest first."""
    return {key: of.pop(key) for key in list(islice(of, count))}
