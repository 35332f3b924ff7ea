"""The load at its smallest: every part of it runs, and finds nothing wrong."""

import asyncio

import pytest

from tests.conftest import short_folder
from tests.torture.aside import Aside
from tests.torture.load.crowd import Crowd, Driver
from tests.torture.load.everybody import Everybody
from tests.torture.load.memory import growth
from tests.torture.load.run import Run, Size
from tests.torture.stage import Stage


@pytest.mark.slow
async def test_everybody_connects_takes_orders_survives_a_node_and_comes_and_goes() -> None:
    size = Size(drivers=40, nodes=2, burst=20, boards=2, minutes=0.05, around_seconds=0.5)
    with short_folder() as folder:
        async with (
            Stage(size.nodes, folder / "stage", durable=False) as stage,
            Aside("tests.torture.load.crowd", folder / "crowd0.log") as first,
            Aside("tests.torture.load.crowd", folder / "crowd1.log") as second,
        ):
            result = await Run(stage, Everybody([first, second]), size).whole()
        complaints = stage.complaints
    assert not result.errors
    assert not complaints
    promises = [line for line in result.lines if line.met is not None and "memory" not in line.what]
    assert [line.what for line in promises if not line.met] == []
    assert len(promises) == 6
    assert result.figures["connect"]["byNode"] == [20, 20]
    assert result.figures["death"]["drivers"] == 20
    assert result.figures["death"]["ms"]["away"]["n"] == 20


def test_growth_is_what_is_gained_from_the_third_quarter_to_the_fourth() -> None:
    assert growth([{0: 100, 1: 100}] * 3) == 0.0
    warming_up = [{0: 10}, {0: 90}, {0: 100}, {0: 100}]
    assert growth(warming_up) == 0.0
    leaking = [{0: 50, 1: 50 + sample} for sample in (0, 10, 20, 30, 40, 50, 60, 70)]
    assert round(growth(leaking), 3) == round((165 / 145) - 1, 3)


async def test_a_driver_who_leaves_while_connecting_is_gone() -> None:
    async def never_answers(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(never_answers, "127.0.0.1", 0)
    crowd = Crowd()
    crowd.ports = [server.sockets[0].getsockname()[1]]
    driver = Driver(crowd, "token", 0, b"")
    driver.wanted = True
    connecting = asyncio.create_task(driver.connect())
    await asyncio.sleep(0)
    await driver.connect()
    assert not connecting.done(), "it connects once at a time"
    driver.hang_up()
    await connecting
    assert not driver.on_line
    assert driver.line is None or driver.line.closed
    for writer in writers:
        writer.close()
    server.close()
