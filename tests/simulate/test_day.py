"""Reading real days: the files' columns, their units, their mistakes, and windows of a day."""

from pathlib import Path

import pytest

from server.simulate.day import BadDay, Day, minutes_of, read_day

FILES = {
    "orders.txt": "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
    "o1\t100\t200\t60\tr1\t70\n"
    "o2\t150\t250\t60\tr2\t65\n"
    "o3\t-5\t0\t61\tr1\t61\n"
    "o4\t0\t0\t130\tr1\t150\n",
    "restaurants.txt": "restaurant\tx\ty\nr1\t0\t10\nr2\t30\t40\n",
    "couriers.txt": "courier\tx\ty\ton_time\toff_time\nc1\t1\t2\t0\t60\nc2\t3\t4\t30\t90\nc3\t5\t6\t120\t240\n",
    "instance_parameters.txt": "meters_per_minute\tpickup service minutes\tdropoff service minutes"
    "\ttarget click-to-door\tmaximum click-to-door\tpay per order\tguaranteed pay per hour\n"
    "320\t4\t3\t40\t90\t10\t15\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def day(folder: Path) -> Day:
    return read_day(folder)


def test_minutes_become_seconds_and_orders_know_their_restaurant(day: Day) -> None:
    assert day.metres_per_second == pytest.approx(320 / 60)
    assert (day.pickup_seconds, day.dropoff_seconds, day.target_seconds) == (240, 180, 2400)
    first = day.orders[0]
    assert (first.name, first.pickup, first.dropoff) == ("o1", (0, 10), (100, 200))
    assert (first.placed, first.ready) == (3600, 4200)
    assert [(c.name, c.start, c.on, c.off) for c in day.couriers][1] == ("c2", (3, 4), 1800, 5400)


def test_a_window_holds_its_orders_and_who_is_on_shift_at_some_time_of_it(day: Day) -> None:
    window = day.window(3600, 3600)
    assert [order.name for order in window.orders] == ["o1", "o2", "o3"]
    assert [courier.name for courier in window.couriers] == ["c2"]


def test_orders_of_one_minute_are_spread_over_it(day: Day) -> None:
    assert [order.placed for order in day.window(0, 86400).orders] == [3600, 3630, 3660, 7800]


def test_nothing_is_ready_before_it_is_placed(day: Day) -> None:
    assert all(order.ready >= order.placed for order in day.window(0, 86400).orders)


def test_the_busiest_window(day: Day) -> None:
    assert day.busiest(600) == 3600
    assert Day("empty", [], [], 1, 0, 0, 0).busiest(600) == 0


def test_lines_that_are_empty_are_passed_over(folder: Path) -> None:
    with (folder / "couriers.txt").open("a") as file:
        file.write("\n\n")
    assert len(read_day(folder).couriers) == 3


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("orders.txt", "o9\t1\t2\t60\tr9\t70\n", "orders.txt:6: no restaurant r9"),
        ("orders.txt", "o9\t1\t2\tnoon\tr1\t70\n", "orders.txt:6: placement_time is no number"),
        ("orders.txt", "o9\t1\t2\t60\tr1\n", "orders.txt:6: no ready_time"),
        ("couriers.txt", "c9\t\t2\t60\t70\n", "couriers.txt:5: no x"),
    ],
)
def test_a_mistake_is_named_with_its_line(folder: Path, file: str, line: str, message: str) -> None:
    with (folder / file).open("a") as text:
        text.write(line)
    with pytest.raises(BadDay, match=message):
        read_day(folder)


def test_a_file_that_is_missing_empty_or_no_text(folder: Path) -> None:
    (folder / "instance_parameters.txt").write_text("meters_per_minute\n")
    with pytest.raises(BadDay, match="has no line of values"):
        read_day(folder)
    (folder / "couriers.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(BadDay, match="is not text"):
        read_day(folder)
    (folder / "orders.txt").unlink()
    with pytest.raises(BadDay, match="No such file"):
        read_day(folder)


def test_clock_times() -> None:
    assert minutes_of("00:00") == 0
    assert minutes_of("18:30") == 1110
    assert minutes_of("25:05") == 1505
    for wrong in ("1830", "18:3", "18:60", "x:00", "", "-1:00"):
        with pytest.raises(ValueError, match="is not a time"):
            minutes_of(wrong)
