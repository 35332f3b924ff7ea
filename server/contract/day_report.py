"""The report of a day: what became of its orders, by store, driver and hour, and what drivers worked and earned.

Pure: rows of the database come in, numbers come out. An order belongs to the day on which its search began.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Final, TypeVar

from msgspec import Struct, field

from server.dispatch.model import Availability, DeliveryStatus

LONG_WAIT: Final = timedelta(minutes=5)
ON_SHIFT: Final[frozenset[Availability]] = frozenset({"available", "paused"})
"""The availabilities that count as hours: a break does not."""

K = TypeVar("K", str, int)


class DayOrder(Struct, frozen=True):
    """An order of the day. `waiting_since` is when its first search failed or began, `assigned_at` when it first got a
    driver; `driver_id` delivered it, or could not. `cents` is the pay with the tip in minor units of `currency`.
    """

    store: str
    status: DeliveryStatus
    dispatch_at: datetime
    promised_at: datetime | None
    waiting_since: datetime | None
    assigned_at: datetime | None
    driver_id: str | None
    completed_at: datetime | None
    currency: str
    cents: int | None


class DayStay(Struct, frozen=True):
    """A time of a driver in one availability."""

    driver_id: str
    availability: Availability
    since: datetime
    until: datetime


class DayTally(Struct):
    """What became of some orders. Shares are None where there is nothing to share."""

    orders: int = 0
    delivered: int = 0
    promised: int = 0
    on_time: int = 0
    failed: int = 0
    cancelled: int = 0
    waited: list[float] = field(default_factory=list)

    def add(self, order: DayOrder) -> None:
        """Count one more."""
        self.orders += 1
        match order.status:
            case "DELIVERED":
                self.delivered += 1
                if order.promised_at is not None and order.completed_at is not None:
                    self.promised += 1
                    self.on_time += order.completed_at <= order.promised_at
            case "FAILED" | "RETURNING" | "RETURNED":
                self.failed += 1
            case "CANCELLED":
                self.cancelled += 1
        if order.assigned_at is not None:
            since = order.waiting_since or order.dispatch_at
            self.waited.append(max(0.0, (order.assigned_at - since).total_seconds()))

    @property
    def open(self) -> int:
        """Those that are not over yet."""
        return self.orders - self.delivered - self.failed - self.cancelled

    @property
    def on_time_share(self) -> float | None:
        """Of the delivered ones with a promised time."""
        return self.on_time / self.promised if self.promised else None

    @property
    def average_wait(self) -> float | None:
        """Seconds until a driver had the order."""
        return sum(self.waited) / len(self.waited) if self.waited else None

    @property
    def long_waits(self) -> int:
        """How many waited for more than five minutes."""
        return sum(seconds > LONG_WAIT.total_seconds() for seconds in self.waited)


class DriverDay(Struct):
    """A driver's day: deliveries, those on time and failed, seconds on shift, and pay by currency."""

    name: str
    tally: DayTally = field(default_factory=DayTally)
    seconds: float = 0.0
    pay: Counter[str] = field(default_factory=Counter)

    def work(self, seconds: float) -> None:
        """Add time on shift."""
        self.seconds += seconds


class DayReport(Struct, frozen=True):
    """The report of the day from `since` until `until`; drivers by name, hours of the organisation in order."""

    since: datetime
    until: datetime
    total: DayTally
    stores: list[tuple[str, DayTally]]
    drivers: list[DriverDay]
    hours: list[tuple[int, DayTally]]


def day_report(
    since: datetime,
    until: datetime,
    zone: tzinfo,
    orders: Sequence[DayOrder],
    stays: Iterable[DayStay],
    names: dict[str, str],
) -> DayReport:
    """The report of a day in a time zone. `names` are the drivers' names by id."""
    total = DayTally()
    drivers: dict[str, DriverDay] = {}

    def driver(driver_id: str) -> DriverDay:
        return drivers.setdefault(driver_id, DriverDay(names.get(driver_id, driver_id)))

    for order in orders:
        total.add(order)
        if order.driver_id is not None:
            of_driver = driver(order.driver_id)
            of_driver.tally.add(order)
            if order.status == "DELIVERED" and order.cents is not None:
                of_driver.pay[order.currency] += order.cents
    for stay in stays:
        seconds = (min(stay.until, until) - max(stay.since, since)).total_seconds()
        if stay.availability in ON_SHIFT and seconds > 0:
            driver(stay.driver_id).work(seconds)
    return DayReport(
        since,
        until,
        total,
        sorted(_by(orders, lambda order: order.store).items(), key=lambda found: (-found[1].orders, found[0])),
        sorted(drivers.values(), key=lambda one: one.name.casefold()),
        sorted(_by(orders, lambda order: order.dispatch_at.astimezone(zone).hour).items()),
    )


def _by(orders: Iterable[DayOrder], key: Callable[[DayOrder], K]) -> dict[K, DayTally]:
    found: dict[K, DayTally] = {}
    for order in orders:
        found.setdefault(key(order), DayTally()).add(order)
    return found


def report_data(report: DayReport, zone_name: str) -> dict[str, object]:
    """The report as the webhook `report.day` has it: `pay` is in minor units by currency."""
    return {
        "day": report.since.date().isoformat(),
        "timeZone": zone_name,
        "total": _tally_data(report.total),
        "stores": [{"store": store, **_tally_data(tally)} for store, tally in report.stores],
        "drivers": [
            {
                "driver": driver.name,
                "shiftSeconds": round(driver.seconds),
                "delivered": driver.tally.delivered,
                "withPromise": driver.tally.promised,
                "onTime": driver.tally.on_time,
                "failed": driver.tally.failed,
                "pay": dict(sorted(driver.pay.items())),
            }
            for driver in report.drivers
        ],
        "hours": [{"hour": hour, **_tally_data(tally)} for hour, tally in report.hours],
    }


def _tally_data(tally: DayTally) -> dict[str, object]:
    return {
        "orders": tally.orders,
        "delivered": tally.delivered,
        "withPromise": tally.promised,
        "onTime": tally.on_time,
        "failed": tally.failed,
        "cancelled": tally.cancelled,
        "open": tally.open,
        "averageWaitSeconds": None if tally.average_wait is None else round(tally.average_wait),
        "waitedOver5Min": tally.long_waits,
    }
