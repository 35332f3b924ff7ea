"""A node: builds everything that runs in one process, and stops it in the right order."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog

from server.board.constant_texts import TextFolder
from server.board.feed import Feed
from server.board.render import Renderer
from server.board.report_mail import report_mail
from server.board.templates import environment
from server.board.tracking import Tracker
from server.contract.commit import Committed
from server.contract.tracking import TrackingLinks
from server.current_policy import CurrentSettings, KnownZones, Policies
from server.dispatch.commands import SeeDriver
from server.dispatch.model import Actor, Position
from server.dispatch.refusals import Refusal
from server.dispatcher.deadlines import Deadlines
from server.dispatcher.forecasts import Forecasts
from server.dispatcher.matcher import Matcher
from server.dispatcher.search_on_request import SearchOnRequest
from server.geocoder.search import Geocoder
from server.heartbeat import Heartbeat
from server.ids import new_id
from server.images.worker import Images
from server.lease import Lease
from server.notify.alert_monitor import AlertMonitor
from server.notify.commit_metrics import count_commit
from server.notify.day_reports import DayReports
from server.notify.event_log import log_commit
from server.notify.ops_notices import OpsNotices
from server.notify.push import Push
from server.notify.report_mails import ReportMails
from server.notify.sender import Sender
from server.notify.webhook_outbox import Outbox
from server.object_store.s3 import ObjectStore
from server.redis.bus import DISPATCH, POLICY, SETTINGS, ZONES, Bus, node_channel
from server.redis.index import DriverIndex
from server.settings import Settings
from server.sockets.deadline_pings import DeadlinePings
from server.sockets.hub import Hub
from server.sockets.positions import Positions
from server.sockets.receipts import Receipts
from server.sockets.revocations import Revocations
from server.spreadsheets.reader import SpreadsheetReader
from server.store.clock import DatabaseClock, DatabaseTime, to_millisecond
from server.store.engine import Database
from server.store.imports import DriverImports
from server.store.jobs.erasing import keep_erasing
from server.store.jobs.insight_days import InsightDays
from server.store.jobs.person_turn import PersonTurn
from server.store.jobs.proof_objects import ProofObjects
from server.store.jobs.retention import keep_pruning
from server.store.jobs.search_rows import keep_search_rows
from server.store.nodes import forget_node
from server.store.reads.snapshot import Snapshots
from server.tasks import stop, supervised
from server.texts.speech import screens_language
from server.write.executor import Executor, NodeCopies

SEEN_SECONDS: Final = 30.0
"""After a call of a driver, the rules are not asked again for this long whether it is a return."""
CLOSE_SECONDS: Final = 5.0


log = structlog.get_logger(__name__)


class Node:
    """One process of Callboard. `start`, then `drain` and `stop`, once each."""

    def __init__(self, settings: Settings) -> None:
        self.known_settings = CurrentSettings(settings)
        self.node_id = new_id()
        self.clock = DatabaseClock()
        self.tracking_links = TrackingLinks(settings.public_url, settings.secrets)
        self.known_settings.on_change.append(lambda now: self.tracking_links.move_to(now.public_url))
        self.database = Database(settings.database_url, pool_size=settings.database_pool_size)
        self.heartbeat = Heartbeat(self.node_id, self.database, self.clock)
        self.bus = Bus(settings.redis_url, settings.redis_prefix)
        self._called: dict[str, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def settings(self) -> Settings:
        """The settings now. Admins can change some of them on the screen, so nothing keeps those."""
        return self.known_settings.current

    async def start(self) -> None:
        """Open the connections and run the background tasks. Raises what the database raises."""
        await self.database.open()
        self.policies = Policies(self.database.pool)
        self.zones = KnownZones(self.database.pool)
        await asyncio.gather(
            self.policies.refresh(), self.zones.refresh(), self.known_settings.refresh(self.database.pool)
        )
        self._build_core()
        self._build_dispatcher()
        self._build_notify()
        self._connect()
        await self.heartbeat.beat()
        await self.revocations.refresh()
        self._run_tasks()
        log.info("node_started", nodeId=self.node_id)

    def _build_core(self) -> None:
        """The write path, what Redis shows, the drivers' sockets and the board."""
        pool = self.database.pool
        self.executor = Executor(
            self.database,
            NodeCopies(
                policy=lambda: self.policies.current,
                states_version=lambda: self.heartbeat.states_version,
                zones=lambda: self.zones.current,
                spelled_before=self.zones.spelled_before,
                tracking_url=self.tracking_links.url,
                where=self._where,
            ),
            batch_limit=self.settings.batch_limit,
        )
        self.snapshots = Snapshots(pool)
        self.positions = Positions(
            pool,
            self.bus,
            self.clock,
            fresh_seconds=lambda: self.policies.current.position_fresh_seconds,
        )
        self.driver_index = DriverIndex(
            self.bus,
            pool,
            node_id=self.node_id,
            policy=lambda: self.policies.current,
            latest=self.positions.latest,
            alone=lambda: self.heartbeat.alone,
        )
        self.hub = Hub(
            pool,
            self.executor.submit,
            node_id=self.node_id,
            clock=self.clock,
            redis_connected=lambda: self.bus.connected,
        )
        self.images = Images()
        self.geocoder = Geocoder(self.settings.geocoder_url) if self.settings.geocoder_url else None
        self.spreadsheets = SpreadsheetReader()
        self.driver_imports = DriverImports(pool)
        self.person_turn = PersonTurn()
        self.object_store = ObjectStore(self.settings) if self.settings.proofs_s3_bucket else None
        self.revocations = Revocations(pool, self.hub, self.bus, self.clock)
        self.feed = Feed(
            pool=pool,
            policies=self.policies,
            clock=self.clock,
            bus=self.bus,
            alone=lambda: self.heartbeat.alone,
            renderer=Renderer(self._templates(self.settings), lambda: self.policies.current),
        )
        self.known_settings.on_change.append(self._show_with)

    def _build_dispatcher(self) -> None:
        """Makes offers and handles deadlines while this node has the lease. Others ask any node."""
        database, executor, policies = self.database, self.executor, self.policies
        self.lease = lease = Lease(self.node_id, database, self.bus)
        self.database_time = clock = DatabaseTime()
        self.matcher = Matcher(
            database=database,
            executor=executor,
            policies=policies,
            zones=self.zones,
            lease=lease,
            positions=self.positions,
            clock=clock,
        )
        self.deadlines = Deadlines(database=database, executor=executor, policies=policies, lease=lease, clock=clock)
        self.on_request = SearchOnRequest(
            database=database,
            executor=executor,
            policies=policies,
            zones=self.zones,
            positions=self.positions,
            fleet=self.matcher.fleet,
        )
        self.forecasts = Forecasts(
            database=database, policies=policies, zones=self.zones, where=self.matcher.fleet.where
        )
        self.tracker = Tracker(
            pool=database.pool,
            clock=self.clock,
            forecasts=self.forecasts,
            zone_name=lambda: self.settings.time_zone,
            limit=self.settings.tracking_streams,
        )

    def _build_notify(self) -> None:
        """What calls the world outside, and the monitor that raises alerts."""
        pool, settings, lease = self.database.pool, self.settings, self.lease
        self.sender = Sender(allow_private=settings.webhooks_allow_private)
        self.ops_sender = Sender(allow_private=True)  # the operator's own setting names this receiver
        self.webhooks = Outbox(
            database=self.database, lease=lease, bus=self.bus, sender=self.sender, root=lambda: self.settings.root
        )
        self.day_reports = DayReports(pool, lambda: self.settings, self.clock, self.webhooks, self._dispatches)
        self.report_mails = ReportMails(
            pool, lambda: self.settings, self.clock, lambda at, report: report_mail(self._templates(at), at, report),
            self._dispatches,
        )  # fmt: skip
        self.push = Push(
            database=self.database, lease=lease, bus=self.bus, sender=self.sender, settings=lambda: self.settings
        )
        self.alert_monitor = AlertMonitor(pool=pool, lease=lease, executor=self.executor, policies=self.policies)
        self.ops_notices = OpsNotices(
            pool=pool,
            lease=lease,
            sender=self.ops_sender,
            url=settings.slack_webhook_url,
            board=lambda: self.settings.public_url,
        )

    def _connect(self) -> None:
        """Registers the listeners: for commits of this node, in this order, and for hints of other nodes."""
        self.executor.listeners += [
            self._forget_calls,
            self.positions.committed,
            self.policies.committed,
            self.zones.committed,
            self.revocations.committed,
            self.hub.committed,
            self.driver_index.committed,
            self.database_time.committed,
            self.matcher.committed,
            self.deadlines.committed,
            self.feed.committed,
            count_commit,
            self.webhooks.committed,
            self.push.committed,
            self.alert_monitor.committed,
            self.ops_notices.committed,
            self._publish_policy_and_zones,
            log_commit,
        ]
        self.driver_index.holds_lease = self._dispatches
        self.driver_index.after_urgent = self.positions.after_urgent
        self.positions.heard = self.matcher.fleet.moved
        self.positions.heard_call = self.matcher.fleet.called
        self.positions.shares = lambda: not self.heartbeat.alone and not self.lease.held
        self.positions.appeared.append(self._appeared)
        self.hub.rezoned.append(self.positions.rezoned)
        self.bus.subscribe(DISPATCH, self.matcher.heard)
        self.bus.subscribe(POLICY, self.policies.look_now)
        self.bus.subscribe(ZONES, self.zones.look_now)
        self.bus.subscribe(SETTINGS, self.known_settings.look_now)
        self.bus.subscribe(node_channel(self.node_id), self.hub.heard)
        self.bus.on_reconnect += [self.hub.look_now, self.policies.look_now, self.zones.look_now, self.matcher.wake]
        self.bus.on_reconnect.append(self.known_settings.look_now)
        self.bus.on_loss += [self.hub.look_now, self.matcher.wake]

    def _run_tasks(self) -> None:
        pool, settings = self.database.pool, self.settings
        self._run(
            ("executor", self.executor.run),
            ("heartbeat", self.heartbeat.keep),
            ("policy", self.policies.follow),
            ("zones", self.zones.follow),
            ("settings", self.known_settings.follow),
            ("bus_reader", self.bus.read),
            ("bus_writer", self.bus.write),
            ("snapshots", self.snapshots.run),
            ("hub_poll", self.hub.poll),
            ("hub_fetch", self.hub.fetch),
            ("revocations", self.revocations.follow),
            ("device_uses", self.revocations.keep_uses),
            ("receipts", Receipts(pool, self.hub).keep),
            ("deadline_pings", DeadlinePings(pool, self.hub, lambda: self.policies.current).keep),
            ("positions", self.positions.flush),
            ("driver_index", self.driver_index.keep),
            ("prune", partial(keep_pruning, self.database, settings, self._dispatches)),
            ("erase", partial(keep_erasing, self.database, settings, self._dispatches)),
            ("search_rows", partial(keep_search_rows, pool, self._dispatches)),
            *(
                [("proof_objects", ProofObjects(pool, self.object_store, self._dispatches).run)]
                if self.object_store
                else []
            ),
            ("insight_days", InsightDays(pool, lambda: self.settings.time_zone, self._dispatches).run),
            ("lease", self.lease.keep),
            ("fleet", self.matcher.fleet.run),
            ("matcher", self.matcher.run),
            ("deadlines", self.deadlines.run),
            ("deadlines_scan", self.deadlines.scan),
            ("board_feed", self.feed.run),
            ("board_pulse", self.feed.pulse),
            ("tracking", self.tracker.run),
            ("outbox", self.webhooks.run),
            ("day_reports", self.day_reports.run),
            ("report_mails", self.report_mails.run),
            ("push", self.push.run),
            ("alert_monitor", self.alert_monitor.run),
            ("notices", self.ops_notices.run),
        )

    def _run(self, *tasks: tuple[str, Callable[[], Awaitable[None]]]) -> None:
        self._tasks += [supervised(name, run) for name, run in tasks]

    async def drain(self) -> None:
        """Send the drivers elsewhere, end the boards' streams and let another node dispatch."""
        self.feed.close()
        self.tracker.close()
        await asyncio.gather(self.hub.drain(), self.lease.release())

    async def stop(self) -> None:
        """Finish pending work, store what is in memory, and release everything; each step has a limit."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self.executor.close()
                await self.positions.store()
                await self.revocations.store_uses()
                await forget_node(self.database.pool, self.node_id)
        except Exception as error:
            log.warning("shutdown_incomplete", reason=repr(error))
        await stop(*self._tasks)
        await asyncio.gather(self.sender.close(), self.ops_sender.close())
        if self.geocoder is not None:
            await self.geocoder.close()
        await self.bus.close()
        await self.heartbeat.stop()
        await self.database.close()

    async def seen(self, driver_id: str) -> Refusal | None:
        """A driver made an authenticated call: record it, and inform the rules if the driver may have returned.

        Returns the refusal if there is no such driver, or if the database is unavailable.
        """
        now = time.monotonic()
        remembered = min(SEEN_SECONDS, self.policies.current.call_presence_seconds / 2)
        if now - self._called.get(driver_id, -remembered) >= remembered:
            self._called.pop(driver_id, None)  # the oldest are first
            self._called[driver_id] = now - remembered  # another call is recorded too, until this one is
            answer = await self.executor.submit(SeeDriver(driver_id, Actor("driver", driver_id)))
            if isinstance(answer, Refusal):
                return answer
            if driver_id in self._called:  # else the same transaction found that the driver had gone
                self._called[driver_id] = now
            while self._called and now - self._called[oldest := next(iter(self._called))] >= SEEN_SECONDS:
                del self._called[oldest]
        self.positions.called(driver_id)
        return None

    def _forget_calls(self, commit: Committed) -> None:
        for driver in commit.drivers:
            if driver.availability == "offline":
                self._called.pop(driver.id, None)

    def _publish_policy_and_zones(self, commit: Committed) -> None:
        if commit.policy is not None:
            self.bus.hint(POLICY)
        if commit.zones is not None:
            self.bus.hint(ZONES)

    async def change_settings(self, values: Mapping[str, str], by: str) -> None:
        """Set these settings of `ON_SCREEN`, with good values, on all nodes. Raises DatabaseAway."""
        await self.known_settings.change(values, by)
        self.bus.hint(SETTINGS)

    def _templates(self, settings: Settings) -> TextFolder:
        return environment(settings.time_zone, screens_language(settings.language), root=settings.root)

    def _show_with(self, settings: Settings) -> None:
        """Open boards get their rows again if other settings give other rows."""
        if self.feed.renderer.use(self._templates(settings)):
            self.feed.start_over()

    def _dispatches(self) -> bool:
        return self.lease.held

    def _where(self, driver_id: str) -> Position | None:
        place = self.matcher.fleet.where(driver_id)
        if place is None:
            return None
        lat, lon, at = place
        return Position(lat, lon, to_millisecond(datetime.fromtimestamp(at, UTC)))

    def _appeared(self, driver_ids: list[str]) -> None:
        self._run_once(self._add_dispatchable(driver_ids))

    def _run_once(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        task.add_done_callback(self._tasks.remove)

    async def _add_dispatchable(self, driver_ids: list[str]) -> None:
        try:
            await self.driver_index.add_dispatchable(driver_ids)
        except Exception as error:
            log.warning("dispatchable_not_read", reason=repr(error))
