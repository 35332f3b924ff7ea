"""The package of clients/python: made of the client's modules, and used without the server's."""

import asyncio
import os
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import server
from clients.python.pack import ROOT, pack
from tests.simulate.conftest import Shop, mint
from tests.waiting import until

HERE, THERE = {"lat": 52.52, "lon": 13.405}, {"lat": 52.53, "lon": 13.42}
README = re.compile(r"```python\n(.*?)```", re.DOTALL)


async def is_located(shop: Shop, driver_id: str) -> bool:
    found: dict[str, Any] = await shop.api.call("GET", f"/drivers/{driver_id}")
    return found["location"] is not None


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    pack(tmp_path / "package")
    return tmp_path / "package"


async def test_the_example_of_its_readme_delivers_an_order(shop: Shop, packed: Path, tmp_path: Path) -> None:
    example = README.search((packed / "README.md").read_text())
    assert example is not None
    script = tmp_path / "example.py"
    script.write_text(example[1] + "assert not any(name.split('.')[0] == 'server' for name in sys.modules)\n")
    driver_id = await shop.api.register_driver(name="Dan")
    environment = {**os.environ, "PYTHONPATH": str(packed)}
    app = await asyncio.create_subprocess_exec(
        sys.executable, "-P", str(script), shop.url, mint("driver", driver_id, 1),
        cwd=tmp_path, env=environment, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await until(lambda: is_located(shop, driver_id))  # else the order may wait for its next try
    order = {"sellerOrderId": "1", "storeName": "Golden Noodle", "pickup": HERE, "dropoff": THERE}
    delivery_id = await shop.api.create_delivery(**order)
    said, _ = await app.communicate()
    assert (said, app.returncode) == (b"delivered\n", 0)
    assert (await shop.delivery(delivery_id))["status"] == "DELIVERED"


def test_it_has_the_version_the_licence_and_the_dependencies_of_callboard(packed: Path) -> None:
    ours: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    theirs: dict[str, Any] = tomllib.loads((packed / "pyproject.toml").read_text())["project"]
    assert (theirs["version"], theirs["license"]) == (server.__version__, ours["license"])
    assert set(theirs["dependencies"]) <= set(ours["dependencies"])
