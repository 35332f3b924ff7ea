"""The board as this node knows it while somebody watches: rows by id, and the numbers of the headline.

It holds what was read and says what is new in it; it reads and renders nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import Struct

from server.board.tally import ALL, Tally, ZoneCounts
from server.dispatch.availability import Contact
from server.dispatch.model import UNDER_WAY
from server.dispatch.policy import Policy
from server.store.reads import board as reads
from server.store.reads.board import WAITING, AlertShown, BoardDelivery, BoardDriver, DriverContact, ShownDrivers
from server.store.reads.chat import Unanswered

FILL_BELOW = 0.9
"""The share of its rows that a table may lose before more are read."""

Table = Literal["waiting", "active", "drivers"]


class Gone(Struct, frozen=True):
    """A driver who has gone with work in hand: since when nothing was heard of them, and where to call them."""

    since: datetime
    phone: str | None


class Changes(Struct):
    """Rows that are new or differ from before, and deliveries that left the board: because they ended or
    under way (`over`), or because so many wait longer (`cut`). `counts`: numbers changed.
    """

    deliveries: list[BoardDelivery] = msgspec.field(default_factory=list)
    drivers: list[BoardDriver] = msgspec.field(default_factory=list)
    over: list[BoardDelivery] = msgspec.field(default_factory=list)
    cut: list[BoardDelivery] = msgspec.field(default_factory=list)
    counts: bool = False

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drivers or self.over or self.cut or self.counts)

    def add(self, others: "Changes") -> None:
        """Take in later ones: of a row that is among both, what it is now."""
        later = others.ids
        self.deliveries = [row for row in self.deliveries if row.id not in later] + others.deliveries
        self.drivers = [row for row in self.drivers if row.id not in later] + others.drivers
        self.over = [row for row in self.over if row.id not in later] + others.over
        self.cut = [row for row in self.cut if row.id not in later] + others.cut
        self.counts = self.counts or others.counts

    @property
    def ids(self) -> set[str]:
        """Of all deliveries and drivers among them."""
        return {row.id for rows in (self.deliveries, self.drivers, self.over, self.cut) for row in rows}


class Picture:
    """Everything on the board. Drivers' places and calls change all the time and make no row new.

    Where there is more than a table shows, `learn` keeps those that belong to it: `shown` knows the ids in each, and
    `_edge` since when the last of them waits or is under way. What a driver is gone with always belongs. `tally` counts
    all there is.
    """

    def __init__(self) -> None:
        self.deliveries: dict[str, BoardDelivery] = {}
        self.drivers: dict[str, BoardDriver] = {}
        self.seen: dict[str, DriverContact] = {}
        self.gone: dict[str, Gone] = {}
        self.two_devices: set[str] = set()
        self.unanswered: dict[str, Unanswered] = {}
        self.alerts: list[AlertShown] = []
        self.tally = Tally()
        self.shown: dict[Table, set[str]] = {"waiting": set(), "active": set()}
        self._edge: dict[Table, datetime | None] = {"waiting": None, "active": None}

    def learn(self, deliveries: Iterable[BoardDelivery], drivers: ShownDrivers) -> Changes:
        """Take in rows as they are now. A delivery that neither waits nor is under way leaves the board."""
        changes = Changes()
        for delivery in deliveries:
            changes.counts |= self.tally.delivery(delivery.counted)
            before = self.deliveries.get(delivery.id)
            table = table_of(delivery)
            if table is not None and self._belongs(delivery, table):
                if delivery != before:
                    self._leave(delivery.id)
                    self.shown[table].add(delivery.id)
                    self.deliveries[delivery.id] = delivery
                    changes.deliveries.append(delivery)
            elif before is not None:
                self._leave(delivery.id)
                del self.deliveries[delivery.id]
                (changes.cut if table == "waiting" else changes.over).append(delivery)
        for driver, seen in drivers:
            changes.counts |= self.tally.driver(driver.counted)
            if driver.id not in self.drivers and not driver.active and len(self.drivers) >= reads.SHOWN_LIMIT:
                continue
            self.see(driver.id, seen)
            if driver != self.drivers.get(driver.id):
                self.drivers[driver.id] = driver
                changes.drivers.append(driver)
        return changes

    def learn_all(self, deliveries: list[BoardDelivery], drivers: ShownDrivers) -> Changes:
        """Take in a full read: what belongs to the tables from now on, and rows that were there before."""
        for table in self._edge:
            mine = sorted(since(d) for d in deliveries if table_of(d) == table)
            self._edge[table] = mine[reads.SHOWN_LIMIT - 1] if len(mine) >= reads.SHOWN_LIMIT else None
        return self.learn(deliveries, drivers)

    def _belongs(self, delivery: BoardDelivery, table: Table) -> bool:
        if delivery.offer_id is not None or delivery.id in self.shown[table] or self.gone_with(delivery):
            return True
        edge = self._edge[table]
        if edge is not None:
            return since(delivery) <= edge
        if len(self.shown[table]) < reads.SHOWN_LIMIT:
            return True
        # One too many: from now on who comes later is counted only, until a full read.
        edge = self._edge[table] = max(since(self.deliveries[shown]) for shown in self.shown[table])
        return since(delivery) <= edge

    def _leave(self, delivery_id: str) -> None:
        for shown in self.shown.values():
            shown.discard(delivery_id)

    def room(self) -> bool:
        """Whether a full read would fill tables that rows have left, while there is more."""
        limit = reads.SHOWN_LIMIT
        return any(
            shown < total and (shown <= limit * FILL_BELOW or total <= limit) for shown, total in self.cuts().values()
        )

    def cuts(self) -> dict[Table, tuple[int, int]]:
        """How many rows each table shows, of how many."""
        everywhere = self.tally.everywhere
        return {
            "waiting": (len(self.shown["waiting"]), everywhere.waiting + everywhere.held),
            "active": (len(self.shown["active"]), everywhere.active),
            "drivers": (len(self.drivers), self.tally.drivers),
        }

    def with_other_runs(self, drivers: Iterable[BoardDriver]) -> list[str]:
        """Those of these drivers who have other stops than known: each of their deliveries may have another number."""
        known = self.drivers
        return [d.id for d in drivers if d.run != (known[d.id].run if d.id in known else "")]

    def see(self, driver_id: str, seen: DriverContact) -> bool:
        """Where a driver is now. Whether that is news."""
        before = self.seen.get(driver_id)
        self.seen[driver_id] = seen
        return seen != before

    def mark_gone(self, now: datetime, policy: Policy) -> Changes:
        """Who has gone with work in hand, as of now. The rows that are about somebody gone since, or back."""
        gone: dict[str, Gone] = {}
        for driver in self.drivers.values():
            if driver.active and not driver.connected:
                seen = self.seen.get(driver.id)
                contact = Contact(driver.connected, driver.lost_at, seen.called_at if seen is not None else None)
                gone_since = contact.gone_since(now, policy, driver.since)
                if gone_since is not None:
                    gone[driver.id] = Gone(gone_since, driver.phone)
        before, self.gone = self.gone, gone
        changed = {who for who in gone.keys() | before.keys() if gone.get(who) != before.get(who)}
        if not changed:
            return Changes()
        return Changes(
            [delivery for delivery in self.deliveries.values() if delivery.driver_id in changed],
            [self.drivers[driver_id] for driver_id in changed if driver_id in self.drivers],
        )

    def mark_two_devices(self, found: set[str]) -> Changes:
        """Replace the drivers whose devices take turns. Returns the rows of drivers where that began or ended."""
        changed, self.two_devices = self.two_devices ^ found, found
        return Changes(drivers=[self.drivers[driver_id] for driver_id in changed if driver_id in self.drivers])

    def mark_unanswered(self, found: dict[str, Unanswered]) -> Changes:
        """Replace the messages that wait for an answer. Returns the rows of drivers where there is another or none."""
        before, self.unanswered = self.unanswered, found
        changed = {who for who in before.keys() | found.keys() if before.get(who) != found.get(who)}
        return Changes(drivers=[self.drivers[driver_id] for driver_id in changed if driver_id in self.drivers])

    def marks(self, driver_id: str) -> tuple[bool, Unanswered | None]:
        """Whether the driver's devices take turns, and the message that waits for an answer."""
        return driver_id in self.two_devices, self.unanswered.get(driver_id)

    def gone_unseen(self, marked: Changes) -> set[str]:
        """Those just `marked` as gone who may have more in hand than the table shows, because it is cut."""
        shown, total = self.cuts()["active"]
        return {driver.id for driver in marked.drivers if driver.id in self.gone} if shown < total else set()

    def gone_with(self, delivery: BoardDelivery) -> Gone | None:
        return self.gone.get(delivery.driver_id) if delivery.driver_id is not None else None

    def waiting(self) -> list[BoardDelivery]:
        """Who waits for a driver, worst first: by level, then by age."""
        rows = [d for d in self.deliveries.values() if d.status == WAITING]
        rows.sort(key=lambda d: (-d.level, d.unassigned_since or d.created_at, d.id))
        return rows

    def under_way(self) -> list[BoardDelivery]:
        """What is assigned or picked up: first where the driver has gone, then the longest."""
        rows = [d for d in self.deliveries.values() if d.status in UNDER_WAY]
        rows.sort(key=lambda d: (self.gone_with(d) is None, d.assigned_at or d.created_at, d.id))
        return rows

    def offered(self) -> list[BoardDelivery]:
        """What is offered to somebody now, the next deadline first."""
        rows = [d for d in self.deliveries.values() if d.offer_id is not None]
        rows.sort(key=lambda d: (d.expires_at or d.created_at, d.id))
        return rows

    def standing_alerts(self) -> Iterator[AlertShown]:
        return (alert for alert in self.alerts if alert.resolved_at is None)

    def zones(self) -> dict[str, ZoneCounts]:
        """The numbers of every zone, and of all of them under an empty name."""
        zones = self.tally.zones(alert.zone for alert in self.standing_alerts())
        if self.gone:
            for delivery_id in self.shown["active"]:
                delivery = self.deliveries[delivery_id]
                if self.gone_with(delivery) is not None:
                    zones[ALL].gone += 1
                    zones[delivery.zone].gone += 1
        return zones

    def forget_gone(self, now: datetime, hours: int) -> list[str]:
        """Drop drivers who have been off shift so long, without work, that nobody looks for them; their ids."""
        limit = now - timedelta(hours=hours)
        off = [
            d.id
            for d in self.drivers.values()
            if d.availability in ("offline", "shift_ended") and d.since < limit and not d.active
        ]
        for driver_id in off:
            del self.drivers[driver_id]
            self.seen.pop(driver_id, None)
            self.tally.forget_driver(driver_id)
        return off


def table_of(delivery: BoardDelivery) -> Table | None:
    """Where a delivery is shown; None when it has ended, or before it waits."""
    if delivery.status == WAITING:
        return "waiting"
    return "active" if delivery.status in UNDER_WAY else None


def since(delivery: BoardDelivery) -> datetime:
    """Since when it waits, or is under way."""
    return (delivery.unassigned_since if delivery.status == WAITING else delivery.assigned_at) or delivery.created_at
