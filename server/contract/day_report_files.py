"""The tables of a day report as CSV files. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

from server.contract.csv_files import Cell, CsvForm, csv_of
from server.contract.day_report import DayReport, DayTally, DriverDay
from server.dispatch.money import EXPONENTS

Row = tuple[Cell, ...]

TALLY: Final = (
    "orders", "delivered", "withPromise", "onTime", "failed", "cancelled", "open", "averageWaitSeconds",
    "waitedOver5Min",
)  # fmt: skip


def report_file(report: DayReport, table: str, form: CsvForm) -> tuple[str, bytes]:
    """The name and the bytes of the file of a table of `FILES`."""
    return f"callboard-{report.since.date().isoformat()}-{table}.csv", csv_of(FILES[table](report), form)


def _cells(tally: DayTally) -> tuple[Cell, ...]:
    return (
        tally.orders, tally.delivered, tally.promised, tally.on_time, tally.failed, tally.cancelled, tally.open,
        tally.average_wait, tally.long_waits,
    )  # fmt: skip


def _stores(report: DayReport) -> Iterator[Row]:
    yield ("store", *TALLY)
    for store, tally in report.stores:
        yield (store, *_cells(tally))
    yield ("", *_cells(report.total))


def _hours(report: DayReport) -> Iterator[Row]:
    yield ("hour", *TALLY)
    for hour, tally in report.hours:
        yield (hour, *_cells(tally))


def _drivers(report: DayReport) -> Iterator[Row]:
    yield ("driver", "hours", "delivered", "withPromise", "onTime", "failed", "pay", "currency")
    for driver in report.drivers:
        tally = driver.tally
        counts: Row = (round(driver.seconds / 3600, 2), tally.delivered, tally.promised, tally.on_time, tally.failed)
        for currency, amount in _amounts(driver):
            yield (driver.name, *counts, amount, currency)
            counts = (None,) * len(counts)  # once for each driver, so that columns can be added up


def _amounts(driver: DriverDay) -> list[tuple[str | None, float | None]]:
    """The pay in whole units of each currency; one line without an amount if there is none."""
    return [(of, cents / 10 ** EXPONENTS.get(of, 2)) for of, cents in sorted(driver.pay.items())] or [(None, None)]


FILES: Final[dict[str, Callable[[DayReport], Iterator[Row]]]] = {
    "stores": _stores,
    "drivers": _drivers,
    "hours": _hours,
}
