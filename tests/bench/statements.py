"""Every statement that reads the large tables again and again, with arguments that find something: for their plans."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

from server.dispatch.policy import DEFAULT_POLICY
from server.dispatch.risks import WORST_FIRST
from server.ids import FIRST_ID, first_id_at
from server.redis.index import GEO_LATITUDE, SLICE
from server.store import due, rows
from server.store.jobs import insight_days, retention
from server.store.migrate import _FROM_ELSEWHERE
from server.store.queues import ops_notices, stream_notices, webhook_log, webhook_queue
from server.store.reads import (
    alerts,
    at_risk,
    board,
    board_driver,
    deliveries,
    delivery_search,
    driver_numbers,
    drivers,
    ending_offers,
    fleet,
    index,
    insight_estimates,
    insights,
    notices,
    snapshot,
    streams,
    tickets,
    unassigned,
    waiting,
    window_numbers,
    zone_numbers,
)
from server.write import load

LARGE: Final = (
    "deliveries", "unassigned_orders", "driver_offers", "assignments", "support_tickets", "events", "driver_messages",
    "driver_availability_history", "notices", "stream_notices", "webhook_deliveries",
    "webhook_attempts",
)  # fmt: skip
"""What grows with the work. Drivers do not: there are as many as people."""

SAMPLE: Final = """
SELECT now(), (SELECT array_agg(id::text) FROM (SELECT id FROM deliveries ORDER BY id DESC LIMIT 50) d),
       (SELECT array_agg(id::text) FROM (SELECT id FROM drivers ORDER BY id LIMIT 50) d),
       (SELECT array_agg(id::text) FROM (SELECT id FROM driver_offers ORDER BY id DESC LIMIT 50) o),
       (SELECT array_agg(id::text) FROM (SELECT id FROM assignments ORDER BY id DESC LIMIT 50) a),
       (SELECT seller_order_id FROM deliveries ORDER BY id DESC LIMIT 1),
       (SELECT (array_agg(xid::text))[1] FROM (SELECT xid FROM events ORDER BY xid DESC LIMIT 1) e)"""
NOBODY: Final = "00000000-0000-0000-0000-000000000000"
WINDOWS: Final = {"1 h": 1, "24 h": 24, "7 d": 24 * 7}


class Sample:
    """Rows to ask for."""

    def __init__(self, row: Any) -> None:
        self.now: datetime = row[0]
        self.deliveries: list[str] = row[1]
        self.drivers: list[str] = row[2]
        self.offers: list[str] = row[3]
        self.assignments: list[str] = row[4]
        self.order: str = row[5]
        self.xid: str = row[6]


Statement = tuple[str, str, tuple[Any, ...]]


def reading(s: Sample) -> Iterator[Statement]:
    """Name, SQL and arguments of what the pool's connections run."""
    fresh = (float(DEFAULT_POLICY.position_fresh_seconds), float(DEFAULT_POLICY.call_presence_seconds))
    for name, hours in WINDOWS.items():
        since = s.now - timedelta(hours=hours)
        for zone in (None, "north"):
            where = f"{name}, {zone or 'all zones'}"
            yield (
                f"stats: offers, {where}",
                window_numbers.OFFER_NUMBERS,
                (since, zone, since - window_numbers.LONGEST_OFFER),
            )
            yield f"stats: deliveries, {where}", window_numbers.DELIVERY_NUMBERS, (since, zone)
    day = s.now - timedelta(days=1)
    yield "insights: counted, 24 h", insights.COUNTED, (day, s.now, None, "UTC")
    midnight = s.now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight - timedelta(days=number) for number in range(1, 91)]
    yield "insights: added up, 90 d", insights.ADDED_UP, ("UTC", days, None)
    yield "insights: estimates, 24 h", insight_estimates.ESTIMATED, (day, s.now, None, "UTC")
    yield "insights: estimates added up, 90 d", insight_estimates.ADDED_UP, ("UTC", days, None)
    yield "insights: days", insights.DAYS, ("UTC", s.now - timedelta(days=90))
    yield "insights: zones", insights.ZONES, ()
    yield "insights: first delivery", insight_days.FIRST_DELIVERY, ()
    week = s.now - timedelta(days=7)
    month = first_id_at(week - driver_numbers.ORDERED_EARLIER)
    yield "driver's numbers: delivered", driver_numbers.DELIVERED, (s.drivers[0], week, month)
    yield "driver's numbers: availability", driver_numbers.CHANGES, (s.drivers[0], week)
    yield "unassigned: waiting", unassigned.WAITING_PAGE, (None, None, 50)
    yield "unassigned: waiting, a zone", unassigned.WAITING_PAGE, ("north", None, 50)
    yield "at risk", at_risk.AT_RISK, (list(WORST_FIRST), None, None, None, None, 51)
    yield "unassigned: all", unassigned.ALL_PAGE, (None, None, 50)
    yield "unassigned: all, a zone", unassigned.ALL_PAGE, ("north", None, 50)
    yield "tickets", tickets.TICKETS, (None, None, 50)
    yield "tickets, a zone", tickets.TICKETS, ("north", None, 50)
    yield "alerts", alerts.ALERTS, (None, None, 50)
    yield "delivery", deliveries.ONE, (s.deliveries[0],)
    yield "delivery: timeline", deliveries.TIMELINE, (s.deliveries[0], 0, 2_000)
    hour = s.now - timedelta(hours=1)
    wanted = delivery_search.DeliveryFilter
    for name, asked, before in (
        ("all", wanted(), None),
        ("a zone", wanted(zone="north"), None),
        ("open", wanted(status="READY"), None),
        ("delivered in a zone", wanted(status="DELIVERED", zone="north"), None),
        ("cancelled in a zone, on", wanted(status="CANCELLED", zone="north"), s.deliveries[-1]),
        ("an order", wanted(seller_order_id=s.order), None),
        ("an hour", wanted(since=hour, until=s.now), None),
        ("of a driver", wanted(driver_id=s.drivers[0]), None),
        ("of a seller", wanted(seller_id="nobody"), None),
        ("of a store", wanted(store="Nowhere"), None),
        ("rare words", wanted(words="xyzzy street"), None),
        ("rare words with marks", wanted(words="xýzzy strüet"), None),
        ("rare words, no drivers", wanted(words="xyzzy street", with_drivers=False), None),
        ("name of a driver, on", wanted(words="driver 1"), s.deliveries[-1]),
    ):
        page, args = delivery_search.page_of(asked, before, 50)
        yield f"deliveries: {name}", page, tuple(args)
    yield "deliveries: scheduled", deliveries.SCHEDULED, (50,)
    yield "deliveries: stores", deliveries.STORES, (200,)
    yield "drivers", drivers.PAGE, (None, None, None, 50)
    yield "drivers: history", drivers.HISTORY, (s.drivers[0], None, None, 50)
    yield "driver's page: offers", board_driver.OFFERS, (s.drivers[0], 50)
    yield "driver's page: answers", board_driver.ANSWERS, (s.drivers[0],)
    yield "driver's page: work", board_driver.WORK, (s.drivers[0],)
    yield "order by the seller's number", deliveries.OF_ORDER, (s.order,)
    yield "board: open deliveries", board.OPEN_DELIVERIES, (board.SHOWN_LIMIT,)
    yield "board: deliveries", board.DELIVERIES, (s.deliveries,)
    yield "board: drivers", board.SHOWN_DRIVERS, (board.SHOWN_LIMIT,)
    yield "board: these drivers", board.DRIVERS, (s.drivers,)
    yield "board: moved", board.MOVED, (s.now - timedelta(seconds=25),)
    yield "board: news", board.NEWS, (f"{s.xid}:{s.xid}:", board.NEWS_LIMIT + 1)
    yield "board: alerts", board.ALERTS, ()
    yield "watch: zones", zone_numbers.NUMBERS, (60, window_numbers.LONGEST_OFFER.total_seconds())
    yield "watch: standing", zone_numbers.OPEN_ALERTS, ()
    behind = ("north", 50, s.now, 60, window_numbers.LONGEST_OFFER.total_seconds())
    yield "watch: waiting in a zone", zone_numbers.WAITING_NOW, behind[:2]
    yield "watch: rejected deliveries", zone_numbers.REJECTED_DELIVERIES, behind
    yield "watch: rejecting drivers", zone_numbers.REJECTING_DRIVERS, behind
    yield "deadlines", due.DUE, (2.0, 2_000, [1, 2, 3], [300.0, 900.0, 1800.0], 45.0, 90.0, 300.0, 120.0, 600.0, 360.0)
    yield "matcher: waiting", waiting.WAITING, (500,)
    yield "matcher: among", waiting.DISPATCHABLE_AMONG, (*fresh, s.drivers)
    yield "matcher: drivers at work", fleet.SLICE, (FIRST_ID, 200)
    yield "search on request: everybody at work", waiting.AT_WORK, fresh
    yield "search on request: nearest", waiting.NEAREST, ("north", 52.45, 52.55, 13.3, 13.5, 52.5, 13.4, 50)
    yield "matcher: deliveries", rows.READ, (s.deliveries, s.drivers)
    yield "index: dispatchable", index.IDS, (*fresh, GEO_LATITUDE)
    yield "index: open offers", index.OPEN_OFFERS, (FIRST_ID, SLICE)
    yield "index: states of drivers", index.STATUSES, (FIRST_ID, SLICE)
    yield "socket: hello", snapshot.SNAPSHOT, (s.drivers, [1] * len(s.drivers), 100)
    yield "socket: behind", streams.DIFFERING, (s.drivers, [NOBODY] * len(s.drivers), [1] * len(s.drivers))
    yield "socket: rows after", streams.AFTER, (s.drivers, [2**40] * len(s.drivers))
    yield "socket: notices not received", stream_notices.UNHEARD, (NOBODY,)
    yield "socket: offers that end", ending_offers.ENDING, (NOBODY, 5.0)
    yield "outbox: claim", webhook_queue.CLAIM, ("bench", 128, [], [], [], [], [])
    yield "outbox: backlog", webhook_queue.BACKLOG, ()
    yield "notices: claim", ops_notices.CLAIM, (20, "board", 30.0)
    yield from _screens(s, day)
    yield "start: events from elsewhere", _FROM_ELSEWHERE, ()
    for step in retention.STEPS:
        year_ago = s.now - timedelta(days=400)
        arguments = (year_ago, step.begin, retention.id_above(year_ago))
        yield f"prune: {step.name}", step.remove, arguments[: 3 if "$3" in step.remove else 2]


def _screens(s: Sample, day: datetime) -> Iterator[Statement]:
    """What the screens of alerts, notices, tickets and webhooks ask."""
    asked = {
        "24 h": notices.NoticeFilter(since=day),
        "24 h, failed": notices.NoticeFilter(since=day, outcome="failed"),
        "24 h, a zone": notices.NoticeFilter(since=day, zone="north"),
        "a delivery": notices.NoticeFilter(delivery_id=s.deliveries[0]),
    }
    for source in notices.SOURCES:
        for which, one in asked.items():
            sql, values = notices.page_of(source, one, None, 60)
            yield f"record: {source}, {which}", sql, tuple(values)
        sql, values = notices.counts_of(source, asked["24 h"])
        yield f"record: {source}, counted", sql, tuple(values)
    yield "alerts: open", alerts.OPEN_ALERTS, ()
    yield "alerts: over", alerts.PAST_ALERTS, (None, 30)
    yield "alerts: waited then", zone_numbers.WAITING_THEN, ("north", 50, s.now)
    yield "alerts: did not take them", zone_numbers.NOT_TAKING, (s.deliveries, 50, s.now)
    yield "tickets: seen", tickets.WITH_ORDERS, (None, None, 100)
    yield "webhooks: status", webhook_log.WEBHOOK_STATUS, (None,)


def writing(s: Sample) -> Iterator[Statement]:
    """The same of what the write path's connections run before they save."""
    few = [ids[:8] for ids in (s.deliveries, s.drivers, s.offers, s.assignments)]
    yield "lock", load.LOCK, (few[0], few[0], few[1], few[1], few[2], few[3], ["shop"], [s.order])
    yield "read", rows.READ_IN_TRANSACTION, (few[0], few[1])
    both = (few[0], few[0], few[1], few[1], few[2], few[3])
    yield "lock and read", rows.LOCK_AND_READ, (*(",".join(ids) for ids in both), ["shop"], [s.order])
    yield "alerts", load.ALERTS, ()
