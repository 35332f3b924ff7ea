"""`callboard demo` and `callboard simulate` as processes."""

import json
import signal
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from argon2 import PasswordHasher

from server.cli.serving import for_demo
from server.settings import Settings
from tests.cli.conftest import Run, done
from tests.conftest import SECRET
from tests.process import Process
from tests.simulate.test_day import FILES
from tests.waiting import PATIENCE, until


async def opened(process: Process) -> dict[str, str]:
    """What the demo says once it is set up: board, login, driver."""
    await until(lambda: "stop    Ctrl-C" in process.err or process.code is not None)
    assert process.code is None, process.err
    lines = [line.split(maxsplit=1) for line in process.err.splitlines() if line.startswith("  ")]
    return {line[0]: line[1] for line in lines if len(line) == 2}


async def test_the_demo_shows_a_city_at_work(run: Run, database: Any) -> None:
    arguments = ("--drivers", "6", "--orders-per-minute", "60", "--speed", "5")
    process = run("demo", "--port", "0", *arguments, log_format="json", log_level="info")
    said = await opened(process)

    name, password = said["login"].split(" / ")
    assert name == "admin"
    assert PasswordHasher().verify(await database.fetchval("SELECT password_hash FROM users"), password)
    async with httpx2.AsyncClient(timeout=PATIENCE) as client:
        ready = await client.get(said["board"].removesuffix("/board") + "/health/ready")
        login = await client.get(said["board"].removesuffix("/board") + "/login")
    assert ready.status_code == 200
    assert "All drivers and orders are invented." in login.text
    zones = {row[0] for row in await database.fetch("SELECT spelling FROM zones WHERE shape IS NOT NULL")}
    assert zones == {"Old Town", "Harbour", "Garden City"}
    link, _, token = said["driver"].partition("#token=")
    assert link.partition("?")[0].endswith("/driver")
    driver_id = jwt.decode(token, SECRET, algorithms=["HS256"])["sub"]
    assert await database.fetchval("SELECT name FROM drivers WHERE id = $1", driver_id) == "You"

    await until(lambda: '"offer_accepted"' in process.out)
    assert await process.end(signal.SIGINT) == 0
    for line in process.out.splitlines():
        json.loads(line)
    assert password not in process.out
    assert token not in process.out


def test_the_data_of_the_demo_is_apart(tmp_path: Path) -> None:
    own = Settings(data=tmp_path)
    assert (for_demo(own).data, for_demo(own).demo) == (tmp_path / "demo", True)
    elsewhere = Settings(data=tmp_path, database_url="postgresql://h/d", redis_url="redis://h", secret=SECRET)
    assert for_demo(elsewhere).data == tmp_path


async def test_a_second_demo_has_its_own_login_and_the_same_drivers(run: Run, database: Any) -> None:
    for name in ("admin", "demo"):
        process = run("demo", "--port", "0", "--drivers", "2", "--orders-per-minute", "0")
        said = await opened(process)
        assert said["login"].startswith(f"{name} / ")
        assert process.out == "", "nothing pushes what was said from the screen"
        assert await process.end() == 0
    password = said["login"].split(" / ")[1]
    hashed = await database.fetchval("SELECT password_hash FROM users WHERE name = 'demo'")
    assert PasswordHasher().verify(hashed, password)
    assert await database.fetchval("SELECT count(*) FROM drivers") == 3


async def test_load_on_a_server_that_runs_somewhere(run: Run, run_bare: Run) -> None:
    server = run("serve", "--port", "0")
    url = await server.ready()
    arguments = ("--drivers", "3", "--orders-per-minute", "60", "--speed", "10", "--minutes", "0.1")
    code, out, err = await done(run_bare("simulate", "--url", url, *arguments, secret=SECRET))
    assert code == 0, err
    assert "dispatched to accepted" in out
    assert f"3 drivers are registered at {url}" in err

    code, out, err = await done(run_bare("simulate", "--url", url, "--token", "bad", "--minutes", "0.1"))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "does not accept this token" in err

    endless = run_bare("simulate", "--url", url, "--drivers", "2", secret=SECRET)
    await until(lambda: "are registered" in endless.err)
    assert await endless.end(signal.SIGINT) == 0


async def test_a_server_that_is_not_there(run_bare: Run) -> None:
    process = run_bare("simulate", "--url", "http://127.0.0.1:1", "--drivers", "1", secret=SECRET)
    code, out, err = await done(process)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("callboard: http://127.0.0.1:1: ")


@pytest.mark.slow
async def test_a_day_is_replayed_on_a_server_of_our_own(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    code, out, err = await done(
        run("simulate", "--day", str(folder), "--from", "01:00", "--minutes", "0.1", "--port", "0")
    )
    assert code == 0, err
    assert "1 orders and 1 couriers in zone day-" in err
    assert "orders      1 placed" in out
    assert "placed to picked up" in out
