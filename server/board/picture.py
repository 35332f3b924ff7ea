"""The board as this node knows it while somebody watches: rows by id, and the numbers of the headline.

It holds what was read and says what is new in it; it reads and renders nothing.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from server.board.reads import AlertRow, DeliveryRow, DriverRow, Drivers, Seen
from server.board.words import STATES
from server.dispatch.availability import Contact
from server.dispatch.policy import Policy

WAITING = "READY"
UNDER_WAY = ("ASSIGNED", "PICKED_UP")


class Zone(Struct, rename="camel"):
    """The numbers of one zone, or of all. `oldest` is since when the longest waiting delivery waits, `gone` counts the
    deliveries under way whose driver has gone.
    """

    waiting: int = 0
    offers: int = 0
    active: int = 0
    gone: int = 0
    alerts: int = 0
    oldest: datetime | None = None
    states: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(STATES, 0))


class Gone(Struct, frozen=True):
    """A driver who has gone with work in hand: since when nothing was heard of them, and where to call them."""

    since: datetime
    phone: str | None


class Changes(Struct):
    """Rows that are new or differ from before, and ids of deliveries that are on the board no more."""

    deliveries: list[DeliveryRow] = msgspec.field(default_factory=list)
    drivers: list[DriverRow] = msgspec.field(default_factory=list)
    over: list[DeliveryRow] = msgspec.field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.deliveries or self.drivers or self.over)

    def add(self, others: "Changes") -> None:
        """Take in rows that are not among these yet."""
        deliveries, drivers = ({row.id for row in rows} for rows in (self.deliveries, self.drivers))
        self.deliveries += [row for row in others.deliveries if row.id not in deliveries]
        self.drivers += [row for row in others.drivers if row.id not in drivers]

    @property
    def ids(self) -> set[str]:
        """Of all deliveries and drivers among them."""
        return {row.id for rows in (self.deliveries, self.drivers, self.over) for row in rows}


class Picture:
    """Everything on the board. Drivers' places and calls change all the time and make no row new."""

    def __init__(self) -> None:
        self.deliveries: dict[str, DeliveryRow] = {}
        self.drivers: dict[str, DriverRow] = {}
        self.seen: dict[str, Seen] = {}
        self.gone: dict[str, Gone] = {}
        self.alerts: list[AlertRow] = []

    def learn(self, deliveries: Iterable[DeliveryRow], drivers: Drivers) -> Changes:
        """Take in rows as they are now. A delivery that neither waits nor is under way leaves the board."""
        changes = Changes()
        for delivery in deliveries:
            before = self.deliveries.get(delivery.id)
            if delivery.status == WAITING or delivery.status in UNDER_WAY:
                if delivery != before:
                    self.deliveries[delivery.id] = delivery
                    changes.deliveries.append(delivery)
            elif before is not None:
                del self.deliveries[delivery.id]
                changes.over.append(delivery)
        for driver, seen in drivers:
            self.see(driver.id, seen)
            if driver != self.drivers.get(driver.id):
                self.drivers[driver.id] = driver
                changes.drivers.append(driver)
        return changes

    def see(self, driver_id: str, seen: Seen) -> bool:
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
                since = contact.gone_since(now, policy, driver.since)
                if since is not None:
                    gone[driver.id] = Gone(since, driver.phone)
        before, self.gone = self.gone, gone
        changed = {who for who in gone.keys() | before.keys() if gone.get(who) != before.get(who)}
        if not changed:
            return Changes()
        return Changes(
            [delivery for delivery in self.deliveries.values() if delivery.driver_id in changed],
            [self.drivers[driver_id] for driver_id in changed if driver_id in self.drivers],
        )

    def gone_with(self, delivery: DeliveryRow) -> Gone | None:
        """Whether the driver of a delivery has gone with it."""
        return self.gone.get(delivery.driver_id) if delivery.driver_id is not None else None

    def waiting(self) -> list[DeliveryRow]:
        """Who waits for a driver, worst first: by level, then by age."""
        rows = [d for d in self.deliveries.values() if d.status == WAITING]
        rows.sort(key=lambda d: (-d.level, d.unassigned_since or d.created_at, d.id))
        return rows

    def under_way(self) -> list[DeliveryRow]:
        """What is assigned or picked up: first where the driver has gone, then the longest."""
        rows = [d for d in self.deliveries.values() if d.status in UNDER_WAY]
        rows.sort(key=lambda d: (self.gone_with(d) is None, d.assigned_at or d.created_at, d.id))
        return rows

    def offered(self) -> list[DeliveryRow]:
        """What is offered to somebody now, the next deadline first."""
        rows = [d for d in self.deliveries.values() if d.offer_id is not None]
        rows.sort(key=lambda d: (d.expires_at or d.created_at, d.id))
        return rows

    def standing_alerts(self) -> Iterator[AlertRow]:
        """Alerts that are not resolved."""
        return (alert for alert in self.alerts if alert.resolved_at is None)

    def zones(self) -> dict[str, Zone]:
        """The numbers of every zone, and of all of them under an empty name."""
        zones: dict[str, Zone] = {"": Zone()}
        everything = zones[""]
        for delivery in self.deliveries.values():
            zone = zones.get(delivery.zone) or zones.setdefault(delivery.zone, Zone())
            for counted in (everything, zone):
                if delivery.status == WAITING:
                    counted.waiting += 1
                    since = delivery.unassigned_since
                    if since is not None and (counted.oldest is None or since < counted.oldest):
                        counted.oldest = since
                    counted.offers += delivery.offer_id is not None
                else:
                    counted.active += 1
                    counted.gone += self.gone_with(delivery) is not None
        for driver in self.drivers.values():
            zone = zones.get(driver.zone) or zones.setdefault(driver.zone, Zone())
            everything.states[driver.state] += 1
            zone.states[driver.state] += 1
        for alert in self.standing_alerts():
            zone = zones.get(alert.zone) or zones.setdefault(alert.zone, Zone())
            everything.alerts += 1
            zone.alerts += 1
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
        return off
