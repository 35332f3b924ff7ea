"""The feed of the boards open on this node: it hears what changed, reads those rows, renders each once, and sends them.

It learns of changes from commits here, from other nodes' hints, and from the events themselves once a second. While
nobody watches it does nothing and knows nothing.
"""

import asyncio
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import Final, Literal

import structlog
from msgspec.structs import replace
from prometheus_client import Histogram

from server.board.broadcast import PADDING, Broadcast, Viewer, event
from server.board.kept_rows import KeptRows, WholeBoard, yield_every
from server.board.picture import Changes, Picture, Table
from server.board.render import List, Renderer, Stats, pulse
from server.board.stats import read_stats
from server.board.tally import Tally
from server.board.templates import milliseconds
from server.contract.commit import Committed
from server.current_policy import Policies
from server.dispatch.model import UNDER_WAY
from server.redis.bus import BOARD, Bus
from server.store.clock import DatabaseClock
from server.store.connections import Pool
from server.store.query import DatabaseAway
from server.store.reads import board as reads
from server.store.reads.board import WAITING
from server.store.reads.chat import unanswered
from server.store.reads.connections import with_two_devices
from server.store.reads.zone_numbers import read_numbers_now
from server.tasks import wait_until_set

COALESCE_SECONDS: Final = 0.15
POLL_SECONDS: Final = 1.0
ALERTS_SECONDS: Final = 2.0
NUMBERS_SECONDS: Final = 5.0
NUMBERS_REST_FACTOR: Final = 20
"""Of alerts: how often they are counted, and how long is paused after counting that took long."""
TWO_DEVICES_SECONDS: Final = 2.0
"""How often is read whose devices take turns."""
UNANSWERED_SECONDS: Final = 2.0
"""How often is read which messages of drivers wait for an answer."""
MOVED_SECONDS: Final = 5.0
MOVED_MARGIN: Final = timedelta(seconds=20)
"""A position is written down some seconds after its time."""
STATS_SECONDS: Final = 15.0
FORGET_SECONDS: Final = 60.0
"""How often drivers long gone are dropped and everything is counted anew."""
FILL_SECONDS: Final = 3.0
"""How often at most tables that lost many rows are filled up, where there are more."""
TOPICS: Final = {"watch": 5.0, "webhooks": 2.0}
"""Screens that are not about one delivery or driver, and how often at most they are refreshed."""
IDLE_SECONDS: Final = 30.0
"""How long the feed goes on after the last viewer: a page that is reloaded finds it warm."""
PULSE_SECONDS: Final = 5.0
COMMENT_EVERY: Final = 3
"""A comment with every third pulse: every 15 s."""
AFTER_FAILURE_SECONDS: Final = 0.5
READY_SECONDS: Final = 5.0
REFRESH_TIME: Final = Histogram(
    "callboard_board_refresh_seconds",
    "How long a refresh of the board took: read, render, send",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
STATUSES_OF: Final[dict[Literal["waiting", "active"], list[str]]] = {"waiting": [WAITING], "active": sorted(UNDER_WAY)}

log = structlog.get_logger(__name__)


class Feed:
    """One node's feed. `tasks` are to be supervised, `committed` is a listener of the executor."""

    def __init__(
        self,
        *,
        pool: Pool,
        policies: Policies,
        clock: DatabaseClock,
        bus: Bus,
        alone: Callable[[], bool],
        renderer: Renderer,
    ) -> None:
        self.broadcast = Broadcast()
        self.renderer = renderer
        self._pool = pool
        self._policies = policies
        self._clock = clock
        self._bus = bus
        self._alone = alone
        self._picture = Picture()
        self._kept = KeptRows(renderer, self._picture)
        self._stats = Stats(0)
        self._numbers: dict[str, float] = {}
        self._numbers_due = 0.0
        self._policy_version = 0
        self._deliveries: set[str] = set()
        self._drivers: set[str] = set()
        self._wanted = asyncio.Event()
        self._ready = asyncio.Event()
        self._something = asyncio.Event()
        self._all_again: asyncio.Future[None] | None = None
        self._snapshot = ""
        self._too_much = False
        self._over = False
        self._changes = Changes()
        self._headline_due = False
        self._touched: set[str] = set()
        self._unseen: set[str] = set()
        self._due: dict[str, float] = {}
        self._last_wanted = 0.0
        self._read_at = 0.0
        bus.subscribe(BOARD, self._heard)

    # What changed.

    def committed(self, commit: Committed) -> None:
        """Something was committed here. Other nodes' boards hear of it by the index of drivers (redis/index.py)."""
        if self._wanted.is_set():
            for happened in commit.events:
                if happened.delivery_id is not None:
                    self._deliveries.add(happened.delivery_id)
                if happened.driver_id is not None:
                    self._drivers.add(happened.driver_id)
                if happened.type.startswith("alert."):
                    self._due["alerts"] = 0.0
                elif happened.type == "driver.message_sent":
                    self._due["unanswered"] = 0.0
            self._something.set()

    def _heard(self, _payload: bytes = b"") -> None:
        """Something was committed, perhaps elsewhere."""
        if self._wanted.is_set() and not self._alone():
            self._due["news"] = 0.0
            self._something.set()

    # Who watches.

    async def join(self, after: str | None, about: Collection[str] = (), *, board: bool = True) -> Viewer:
        """A new viewer, once there is something to see. Raises DatabaseAway."""
        await self._awake()
        viewer = self.broadcast.join(after, about, board=board)
        viewer.push(self._pulse())
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self.broadcast.leave(viewer)
        self._last_wanted = time.monotonic()

    async def page(self, *, epoch: str | None = None) -> WholeBoard:
        """The whole board now. `epoch` is the viewer's: if it is another node's, everything is read again first,
        so that nothing is older here than there. Raises DatabaseAway, also when that read fails.
        """
        await self._awake()
        if epoch is not None and epoch != self.broadcast.epoch:
            if self._all_again is None:
                self._all_again = asyncio.get_running_loop().create_future()
                self._something.set()
            await self._in_time(asyncio.shield(self._all_again))
        return self._kept.whole(self.broadcast.position)

    async def beyond(self, zone: str, words: list[str]) -> dict[List, str]:
        """Rows of a zone (empty: of any) with all these words (lower case) that no table shows, because it is
        cut: at most `reads.BEYOND_LIMIT` a table. They are as of now, not kept up to date. Raises DatabaseAway.
        """
        await self._awake()
        picture = self._picture
        made: dict[List, str] = {}
        cuts: dict[Table, bool] = {table: shown < total for table, (shown, total) in picture.cuts().items()}
        for table, statuses in STATUSES_OF.items():
            if cuts[table]:
                rows = await reads.deliveries_beyond(self._pool, statuses, zone, words, list(picture.deliveries))
                made[table] = "\n".join([self._kept.delivery(row, 0)[table] for row in rows])
        if cuts["drivers"]:
            drivers = await reads.drivers_beyond(self._pool, zone, words, list(picture.drivers))
            made["drivers"] = "\n".join(
                [self.renderer.driver(d, seen, None, 0, *picture.marks(d.id)) for d, seen in drivers]
            )
        return made

    def start_over(self) -> None:
        """All rows look different from now on: read and render everything again."""
        self._over = True
        self._something.set()

    def close(self) -> None:
        """The node stops: end all streams."""
        self.broadcast.close()

    async def _awake(self) -> None:
        self._last_wanted = time.monotonic()
        self._wanted.set()
        await self._in_time(self._ready.wait())

    async def _in_time(self, awaited: Awaitable[object]) -> None:
        try:
            async with asyncio.timeout(READY_SECONDS):
                await awaited
        except TimeoutError:
            raise DatabaseAway("the board cannot be read now") from None

    @property
    def _watched(self) -> bool:
        return len(self.broadcast) > 0 or time.monotonic() - self._last_wanted < IDLE_SECONDS

    # The loops.

    async def run(self) -> None:
        """While somebody watches: read everything once, then what changes."""
        while True:
            await self._wanted.wait()
            try:
                if await self._tried(self._begin):
                    while self._watched and not self._over:
                        await self._wait()
                        await self._tried(self._refresh)
            finally:
                if not self._watched:
                    self._wanted.clear()
                self._forget()

    async def _tried(self, work: Callable[[], Awaitable[None]]) -> bool:
        try:
            await work()
            return True
        except DatabaseAway as error:
            log.warning("board_not_read", reason=str(error))
            await asyncio.sleep(AFTER_FAILURE_SECONDS)
            return False

    async def _begin(self) -> None:
        self._forget()
        self._over = False
        self.broadcast.begin()
        self._policy_version = self._policies.current.version
        started = time.monotonic()
        self._snapshot = await reads.start(self._pool)
        await self._count_anew()
        deliveries = await reads.open_deliveries(self._pool)
        drivers = await reads.shown_drivers(self._pool)
        self._picture.alerts = await self._read_alerts()
        self._stats = await read_stats(self._pool, self._clock.now())
        self._picture.learn_all(deliveries, drivers)
        self._picture.mark_two_devices(await with_two_devices(self._pool))
        self._picture.mark_unanswered(await unanswered(self._pool, self._clock.now()))
        await self._mark_gone()
        self._changes = Changes()
        await self._kept.render_all(self._stats)
        now = time.monotonic()
        self._read_at = started
        self._due = {"news": now, "alerts": now + ALERTS_SECONDS, "moved": now + 1, "stats": now + STATS_SECONDS}
        self._due |= {"two_devices": now + TWO_DEVICES_SECONDS, "unanswered": now + UNANSWERED_SECONDS}
        self._due |= {"forget": now + FORGET_SECONDS, "fill": now + FILL_SECONDS}
        self._due |= {topic: now + every for topic, every in TOPICS.items()}
        # Reading may take longer than a viewer may be away: the viewer who asked must still find it here.
        self._last_wanted = now
        self._ready.set()

    def _forget(self) -> None:
        self._ready.clear()
        self._picture = Picture()
        self._kept = KeptRows(self.renderer, self._picture)
        self._deliveries.clear()
        self._drivers.clear()
        self._too_much = False
        self._changes = Changes()
        self._headline_due = False
        self._touched = set()
        self._unseen = set()

    async def _wait(self) -> None:
        """Until something changed, and a moment longer for what comes with it; or until something is due."""
        if await wait_until_set(self._something, self._until_due()):
            await asyncio.sleep(COALESCE_SECONDS)
        self._something.clear()

    def _until_due(self) -> float:
        return max(0.0, min(self._due.values()) - time.monotonic())

    def _is_due(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + every
        return True

    async def _refresh(self) -> None:
        """1. What happened, here and elsewhere. 2. Those rows. 3. Numbers and alerts, when due. 4. Send what is new.

        What was read is kept until it is sent: a later read that fails must not leave it unsaid.
        """
        started = time.monotonic()
        everything, self._all_again = self._all_again, None
        heard = self._is_due("news", POLL_SECONDS)
        try:
            if heard:
                await self._hear_news()
            deliveries, self._deliveries = self._deliveries, set()
            drivers, self._drivers = self._drivers, set()
            try:
                too_much = self._too_much
                fill = self._is_due("fill", FILL_SECONDS) and self._picture.room()
                if everything is not None or too_much or fill:
                    self._changes.add(await self._read_everything())
                    self._too_much = False
                elif deliveries or drivers:
                    self._changes.add(await self._read_these(deliveries, drivers))
            except DatabaseAway:
                self._deliveries |= deliveries
                self._drivers |= drivers
                raise
            self._touched |= self.broadcast.watched() if too_much else deliveries | drivers
            if self._is_due("alerts", ALERTS_SECONDS):
                alerts = await self._read_alerts()
                if alerts != self._picture.alerts:
                    self._headline_due = True
                    self._due["watch"] = 0.0
                self._picture.alerts = alerts
            if self._is_due("stats", STATS_SECONDS):
                self._stats = await read_stats(self._pool, self._clock.now())
                self._headline_due = True
            if self._is_due("moved", MOVED_SECONDS):
                self._touched |= await self._read_moved()
            if self._is_due("two_devices", TWO_DEVICES_SECONDS):
                self._changes.add(self._picture.mark_two_devices(await with_two_devices(self._pool)))
            if self._is_due("unanswered", UNANSWERED_SECONDS):
                self._changes.add(self._picture.mark_unanswered(await unanswered(self._pool, self._clock.now())))
            if heard:
                self._read_at = started
            await self._mark_gone()
            changes, self._changes = self._changes, Changes()
            if changes or self._headline_due or self._policy_version != self._policies.current.version:
                self._headline_due = False
                await self._publish(changes)
            topics = {topic for topic, every in TOPICS.items() if self._is_due(topic, every)}
            touched, self._touched = self._touched, set()
            self.broadcast.touched(touched | topics)
            if changes:
                REFRESH_TIME.observe(time.monotonic() - started)
            if everything is not None:
                everything.set_result(None)
            if self._is_due("forget", FORGET_SECONDS):
                self._kept.drop_drivers(self._picture.forget_gone(self._clock.now(), reads.OFF_SHIFT_HOURS))
                await self._count_anew()
                self._headline_due = True
        finally:
            if everything is not None and not everything.done():
                everything.set_exception(DatabaseAway("the board could not be read again"))
                everything.exception()  # nobody may wait for it

    async def _hear_news(self) -> None:
        """What happened on any node since the last look."""
        news = await reads.news(self._pool, self._snapshot)
        self._snapshot = news.snapshot
        self._deliveries |= news.deliveries
        self._drivers |= news.drivers
        if news.alerts:
            self._due["alerts"] = 0.0
        self._too_much = self._too_much or news.everything

    async def _count_anew(self) -> None:
        tally = Tally()
        deliveries, drivers = await reads.counted(self._pool)
        for count, delivery in enumerate(deliveries):
            tally.delivery(delivery)
            await yield_every(count)
        for count, driver in enumerate(drivers):
            tally.driver(driver)
            await yield_every(count)
        self._picture.tally = tally

    async def _read_alerts(self) -> list[reads.AlertShown]:
        """The alerts with their numbers now, which are counted anew less often than alerts come and go."""
        alerts = await reads.alerts(self._pool)
        standing = [(alert.id, alert.kind, alert.zone) for alert in alerts if alert.resolved_at is None]
        started = time.monotonic()
        if started >= self._numbers_due or any(alert_id not in self._numbers for alert_id, _, _ in standing):
            self._numbers = await read_numbers_now(self._pool, standing, self._policies.current.alerts)
            took = time.monotonic() - started
            self._numbers_due = started + max(NUMBERS_SECONDS, NUMBERS_REST_FACTOR * took)
        return [replace(alert, now=self._numbers.get(alert.id)) for alert in alerts]

    async def _read_these(self, deliveries: set[str], drivers: set[str]) -> Changes:
        found = await reads.deliveries(self._pool, deliveries) if deliveries else []
        them = await reads.drivers(self._pool, drivers) if drivers else []
        runs = self._picture.with_other_runs(driver for driver, _ in them)
        if runs:
            found += await reads.deliveries_in_hand(self._pool, runs)
        return self._picture.learn(found, them)

    async def _mark_gone(self) -> None:
        """Who has gone with work since, or is back; and what they have in hand, however long the table is."""
        marked = self._picture.mark_gone(self._clock.now(), self._policies.current)
        self._changes.add(marked)
        self._touched |= marked.ids
        self._unseen |= self._picture.gone_unseen(marked)
        if self._unseen:
            self._changes.add(self._picture.learn(await reads.deliveries_in_hand(self._pool, self._unseen), []))
            self._unseen = set()

    async def _read_everything(self) -> Changes:
        await self._count_anew()
        found = await reads.open_deliveries(self._pool)
        left = set(self._picture.deliveries) - {delivery.id for delivery in found}
        if left:
            found += await reads.deliveries(self._pool, left)
        changes = self._picture.learn_all(found, await reads.shown_drivers(self._pool))
        changes.counts = True
        return changes

    async def _read_moved(self) -> set[str]:
        found = await reads.moved(self._pool, self._clock.now() - MOVED_MARGIN)
        moved = []
        for driver_id, seen in found.items():
            if driver_id in self._picture.drivers and self._picture.see(driver_id, seen) and seen.at is not None:
                moved.append((driver_id, seen.lat, seen.lon, milliseconds(seen.at)))
        if moved:
            self.broadcast.say_to_boards(event(json.dumps(moved, separators=(",", ":")), name="moved"))
        return {driver_id for driver_id, *_ in moved}

    # What is sent.

    async def _publish(self, changes: Changes) -> None:
        """Render what changed and send it as one message."""
        if self._policy_version != self._policies.current.version:
            # Ages mean something else under another ladder.
            self._policy_version = self._policies.current.version
            known = {delivery.id for delivery in changes.deliveries}
            changes.deliveries += [d for d in self._picture.waiting() if d.id not in known]
        message = await self._kept.update(changes, self._stats, self.broadcast.number + 1)
        if message:
            self.broadcast.publish(message)

    async def pulse(self) -> None:
        """Every few seconds the clock, and how fresh what is shown is; now and then a comment."""
        for count in itertools.count(1):
            await asyncio.sleep(PULSE_SECONDS)
            if len(self.broadcast):
                self.broadcast.say(self._pulse() + (PADDING if count % COMMENT_EVERY == 0 else b""))

    def _pulse(self) -> bytes:
        return event(pulse(self._clock.now(), self._read_at), name="pulse")
