"""The numbers of a day's report, from its rows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from server.contract.csv_files import COMMAS, SEMICOLONS
from server.contract.day_report import DayOrder, DayStay, day_report
from server.contract.day_report_files import report_file

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 2, 1, 12, tzinfo=UTC)
SINCE, UNTIL = NOON - timedelta(hours=12), NOON + timedelta(hours=12)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


def an_order(store: str = "Roma", status: str = "DELIVERED", **changes: object) -> DayOrder:
    given: dict[str, object] = {
        "dispatch_at": NOON,
        "promised_at": NOON + minutes(40),
        "waiting_since": None,
        "assigned_at": NOON + minutes(2),
        "driver_id": "dan",
        "completed_at": NOON + minutes(30),
        "currency": "EUR",
        "cents": 450,
    }
    return DayOrder(store, status, **given | changes)  # type: ignore[arg-type]


NOBODY: dict[str, Any] = {"driver_id": None, "assigned_at": None, "completed_at": None, "cents": None}


def test_every_order_counts_once_and_the_parts_add_up() -> None:
    orders = [
        an_order(),
        an_order("Sushi", completed_at=NOON + minutes(41)),
        an_order(promised_at=None, dispatch_at=NOON + timedelta(hours=1), currency="USD", cents=600),
        an_order(status="FAILED", completed_at=None),
        an_order(status="RETURNING", completed_at=None),
        an_order(status="CANCELLED", **NOBODY),
        an_order("Sushi", status="READY", **NOBODY),
    ]
    report = day_report(SINCE, UNTIL, BERLIN, orders, [], {"dan": "Dan"})
    total = report.total
    assert (total.orders, total.delivered, total.failed, total.cancelled, total.open) == (7, 3, 2, 1, 1)
    assert (total.promised, total.on_time, total.on_time_share) == (2, 1, 0.5)
    assert [(store, tally.orders, tally.delivered) for store, tally in report.stores] == [
        ("Roma", 5, 2),
        ("Sushi", 2, 1),
    ]
    assert [(hour, tally.orders) for hour, tally in report.hours] == [(13, 6), (14, 1)], "hours of the organisation"
    (dan,) = report.drivers
    assert (dan.name, dan.tally.delivered, dan.tally.failed, dan.pay) == ("Dan", 3, 2, {"EUR": 900, "USD": 600})
    _, *lines = report_file(report, "drivers", COMMAS)[1].decode("utf-8-sig").splitlines()
    assert lines == ["Dan,0.0,3,2,1,2,9.0,EUR", "Dan,,,,,,6.0,USD"], "columns add up"
    _, *lines = report_file(report, "drivers", SEMICOLONS)[1].decode("utf-8-sig").splitlines()
    assert lines == ["Dan;0,0;3;2;1;2;9,0;EUR", "Dan;;;;;;6,0;USD"]


def test_a_wait_begins_with_the_search_and_not_with_the_hold() -> None:
    orders = [
        an_order(assigned_at=NOON + minutes(4)),
        an_order(waiting_since=NOON + minutes(30), assigned_at=NOON + minutes(36)),
        an_order(waiting_since=NOON + minutes(30), assigned_at=NOON + minutes(29)),
        an_order(status="CANCELLED", **NOBODY),
    ]
    total = day_report(SINCE, UNTIL, UTC, orders, [], {}).total
    assert (total.average_wait, total.long_waits) == (200.0, 1)
    nothing = day_report(SINCE, UNTIL, UTC, [], [], {}).total
    assert (nothing.average_wait, nothing.on_time_share, nothing.open) == (None, None, 0)


def test_hours_are_those_of_the_day_without_breaks() -> None:
    stays = [
        DayStay("dan", "available", SINCE - minutes(60), SINCE + minutes(30)),
        DayStay("dan", "on_break", SINCE + minutes(30), SINCE + minutes(50)),
        DayStay("dan", "paused", SINCE + minutes(50), SINCE + minutes(60)),
        DayStay("dora", "offline", SINCE, UNTIL),
        DayStay("Ann", "available", UNTIL - minutes(15), UNTIL + minutes(15)),
    ]
    report = day_report(SINCE, UNTIL, UTC, [], stays, {"dan": "dan", "dora": "Dora"})
    assert [(driver.name, driver.seconds) for driver in report.drivers] == [("Ann", 900.0), ("dan", 2400.0)]
