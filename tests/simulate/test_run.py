"""Whole simulations in small, against a real node."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from server.simulate import run as r
from server.simulate.access import Access
from server.simulate.api import CallFailed
from server.simulate.day import read_day
from server.simulate.habits import Habits
from server.simulate.run import Load, Window, run_city, run_day
from server.simulate.tally import Tally
from tests.conftest import StartNode
from tests.simulate.test_day import FILES
from tests.waiting import PATIENCE, until

QUICK = Habits(reply_seconds=(0.05, 0.3), rejects=0.1, ignores=0.0)
WILLING = Habits(reply_seconds=(0.05, 0.3), rejects=0.0, ignores=0.0)


async def statuses(node: Any, zone: str) -> dict[str, int]:
    rows = await node.app.state.node.database.pool.fetch(
        "SELECT status, count(*) FROM deliveries WHERE zone = $1 GROUP BY status", zone
    )
    return dict(map(tuple, rows))


async def test_a_city_at_work(node: StartNode, access: Access, monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    monkeypatch.setattr(r, "Tally", lambda: tally)
    monkeypatch.setattr(r, "DEMO_HABITS", QUICK)
    running = await node()
    said: list[str] = []
    ready = asyncio.Event()
    load = Load(drivers=8, orders_per_minute=25, speed=15, zone="city")
    city = asyncio.create_task(run_city(running.url, access, load, said.append, ready.set, every=0.5, tidy=True))
    await until(lambda: tally.counts["delivered"] >= 5 or city.done())
    assert ready.is_set()
    city.cancel()
    with pytest.raises(asyncio.CancelledError):
        await city
    assert tally.counts["placed"] >= 5
    assert tally.counts["assigned_accepted"] >= 5
    assert tally.counts["connects"] == 8
    assert tally.counts["errors"] == tally.counts["drivers_failed"] == 0
    assert tally.failures == []
    assert any("connected" in line for line in said)
    left = await statuses(running, "city")
    assert left.keys() <= {"DELIVERED", "CANCELLED"}
    online = await running.app.state.node.database.pool.fetchval(
        "SELECT count(*) FROM drivers WHERE zone = 'city' AND availability <> 'shift_ended'"
    )
    assert online == 0


async def test_the_same_drivers_come_again(node: StartNode, access: Access) -> None:
    running = await node()
    for _ in range(2):
        load = Load(drivers=3, orders_per_minute=0, minutes=0.02, zone="again")
        await run_city(running.url, access, load, lambda _: None, lambda: None, tidy=False)
    assert await running.app.state.node.database.pool.fetchval("SELECT count(*) FROM drivers") == 3


async def test_a_city_that_is_ended_leaves_no_task(node: StartNode, access: Access) -> None:
    running = await node()
    ready = asyncio.Event()
    load = Load(drivers=3, orders_per_minute=600)
    task = asyncio.create_task(run_city(running.url, access, load, lambda _: None, ready.set, tidy=False))
    await asyncio.wait_for(ready.wait(), PATIENCE)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_token_that_may_not_list_drivers_registers_new_ones(node: StartNode, access: Access) -> None:
    running = await node()
    limited = Access(token=access.service())
    load = Load(drivers=2, orders_per_minute=0, minutes=0.02)
    await run_city(running.url, limited, load, lambda _: None, lambda: None, tidy=True)
    assert await running.app.state.node.database.pool.fetchval("SELECT count(*) FROM drivers") == 2


async def test_an_invalid_token_is_reported_at_once(node: StartNode) -> None:
    running = await node()
    with pytest.raises(CallFailed) as failed:
        await run_city(running.url, Access(token="bad"), Load(1, 1), lambda _: None, lambda: None, tidy=True)
    assert failed.value.status == 401


@pytest.fixture
def quick_day(tmp_path: Path) -> Path:
    """Two couriers and three orders close together; nobody waits at a door."""
    files = FILES | {
        "couriers.txt": "courier\tx\ty\ton_time\toff_time\nc1\t1\t2\t0\t600\nc2\t3\t4\t0\t600\n",
        "orders.txt": "order\tx\ty\tplacement_time\trestaurant\tready_time\n"
        + "".join(f"o{n}\t{n}\t{n}\t60\tr1\t60\n" for n in range(3)),
        "instance_parameters.txt": FILES["instance_parameters.txt"].replace("320\t4\t3\t", "6000\t0\t0\t"),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


async def test_a_piece_of_a_real_day(
    node: StartNode, access: Access, quick_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r, "CONNECT_SPREAD_SECONDS", 0.1)
    monkeypatch.setattr(r, "Habits", lambda: WILLING)
    running = await node()
    said: list[str] = []
    # The minute's orders come at 3600, 3620 and 3640 s; this window has the second of them.
    window = Window(read_day(quick_day), start=3618, seconds=14)
    tally = await run_day(running.url, access, window, said.append)
    assert said[0].startswith("1 orders and 2 couriers in zone day-")
    zone = said[0].split()[-1]
    assert tally.counts["placed"] == tally.counts["delivered"] == 1
    assert len(tally.spans("placed_at", "picked_up_at")) == 1
    assert await statuses(running, zone) == {"DELIVERED": 1}
    rows = await running.app.state.node.database.pool.fetch("SELECT name, availability FROM drivers ORDER BY name")
    assert [tuple(row) for row in rows] == [("Courier c1", "shift_ended"), ("Courier c2", "shift_ended")]


async def test_drivers_are_looked_for_so_long_before_an_order_is_ready(
    node: StartNode, access: Access, quick_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r, "CONNECT_SPREAD_SECONDS", 0.0)
    text = (quick_day / "orders.txt").read_text().replace("\t60\n", "\t75\n")
    (quick_day / "orders.txt").write_text(text)
    running = await node()
    window = Window(read_day(quick_day), start=3599.5, seconds=10, ahead=600)
    tally = await run_day(running.url, access, window, lambda _: None)
    assert (tally.counts["placed"], tally.counts["offers"]) == (1, 0)
    row = await running.app.state.node.database.pool.fetchrow(
        "SELECT extract(epoch FROM dispatch_at - created_at), prep_seconds, notes FROM deliveries"
    )
    assert 240 < float(row[0]) < 302, "300 s, less what the request took"
    assert tuple(row)[1:] == (600, f"order o0 of {quick_day.name}")


async def test_what_clearing_up_does_is_no_part_of_the_numbers(
    node: StartNode, access: Access, quick_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r, "CONNECT_SPREAD_SECONDS", 0.0)
    monkeypatch.setattr(r, "Habits", lambda: WILLING)
    parameters = quick_day / "instance_parameters.txt"
    parameters.write_text(parameters.read_text().replace("6000\t0\t0\t", "6000\t4\t4\t"))
    running = await node()
    window = Window(read_day(quick_day), start=3618, seconds=14)
    tally = await run_day(running.url, access, window, lambda _: None)
    assert (tally.counts["assigned_accepted"], tally.counts["delivered"]) == (1, 0)
    assert tally.own(accepted=True, delivered=False) == 1
    rows = await running.app.state.node.database.pool.fetch("SELECT status FROM deliveries")
    assert [row["status"] for row in rows] == ["DELIVERED"]


async def test_a_courier_works_from_on_to_off(
    node: StartNode, access: Access, quick_day: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r, "CONNECT_SPREAD_SECONDS", 0.0)
    (quick_day / "couriers.txt").write_text("courier\tx\ty\ton_time\toff_time\nc1\t1\t2\t10\t20\nc2\t3\t4\t20\t30\n")
    running = await node()
    window = Window(read_day(quick_day), start=20 * 60 - 8, seconds=16)
    await run_day(running.url, access, window, lambda _: None)
    rows = await running.app.state.node.database.pool.fetch(
        "SELECT d.name, h.to_state, h.timestamp FROM driver_availability_history h "
        "JOIN drivers d ON d.id = h.driver_id ORDER BY d.name, h.timestamp"
    )
    assert [(row["name"], row["to_state"]) for row in rows] == [
        ("Courier c1", "available"),
        ("Courier c1", "shift_ended"),
        ("Courier c2", "available"),
        ("Courier c2", "shift_ended"),
    ]
    began, c1_off, c2_on, over = (row["timestamp"] for row in rows)
    assert (c1_off - began).total_seconds() > 0.5
    assert (c2_on - began).total_seconds() > 0.5
    assert (over - c1_off).total_seconds() > 0.5
