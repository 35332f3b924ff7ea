"""The day's report: its numbers on the screen and in its files, for the day in the address."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from tests.conftest import StartNode
from tests.web.conftest import Check, Site
from tests.web.html_tree import parse
from tests.web.people import HTML


def noon_zone() -> str:
    """A time zone where it is about noon now: no test is near the end of a day."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}" if ahead else "UTC"


async def site_at_noon(node: StartNode) -> Site:
    return Site(await node(time_zone=noon_zone()))


async def table(site: Site, name: str, **asked: str) -> list[dict[str, Any]]:
    """The rows of a file."""
    answer = await site.vic.get(f"/report/{name}.csv", params=asked)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return [*csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig")))]


def local_day(site: Site, days: int = 0) -> str:
    """The day there, so many days from today."""
    return str((datetime.now(ZoneInfo(site.node.settings.time_zone)) + timedelta(days=days)).date())


async def test_a_day_with_its_stores_drivers_and_hours(node: StartNode) -> None:
    site = await site_at_noon(node)
    dan = await site.driver("Dan", at_work=True)
    for promised in ("2099-01-01T00:00:00Z", "2020-01-01T00:00:00Z"):
        order, job = await site.assignment(dan, driverPayCents=450, tipCents=100)
        change = "UPDATE deliveries SET promised_at = $2 WHERE id = $1"
        await site.node.change(change, order["id"], datetime.fromisoformat(promised))
        for step in ("pickup", "complete"):
            assert (await dan.post(f"/assignments/{job['id']}/{step}")).status_code == 200
    _, job = await site.assignment(dan, storeName="=Sushi")
    await dan.post(f"/assignments/{job['id']}/pickup")
    body = {"reason": "recipient_absent", "then": "end"}
    assert (await dan.post(f"/assignments/{job['id']}/failed", body)).status_code == 200
    assert (await dan.post("/availability/end-shift")).status_code == 200
    cancelled = await site.delivery()
    await site.shop.post(f"/deliveries/{cancelled['id']}/cancel", json={"reason": "x"})
    await site.delivery(storeName="=Sushi")
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    await site.delivery(dispatchAt=later)
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    await site.delivery(storeName="Came late", dispatchAt=yesterday)

    today = local_day(site)
    stores = {row["store"]: row for row in await table(site, "stores", day=today)}
    assert set(stores) == {"Pizza Roma", "'=Sushi", "Came late", ""}
    total = stores[""]
    assert (total["orders"], total["delivered"], total["failed"], total["cancelled"], total["open"]) == (
        "6", "2", "1", "1", "2",
    )  # fmt: skip
    assert (total["withPromise"], total["onTime"]) == ("2", "1")
    assert float(total["averageWaitSeconds"]) >= 0
    assert stores["'=Sushi"]["failed"] == "1"
    (driver,) = await table(site, "drivers", day=today)
    assert (driver["driver"], driver["delivered"], driver["onTime"], driver["failed"]) == ("Dan", "2", "1", "1")
    assert (driver["pay"], driver["currency"]) == ("11.0", "USD")
    assert sum(int(row["orders"]) for row in await table(site, "hours", day=today)) == 6
    assert (await table(site, "stores", day=local_day(site, -1)))[0]["orders"] == "0"

    page = await site.vic.get("/report", params={"day": today}, headers=HTML)
    assert page.status_code == 200
    text = parse(page.text).text
    for said in ("$11.00", "1 failed, 1 cancelled", "2 still open", "1 of 2 with a promised time", "=Sushi"):
        assert said in text, said
    assert "Day after" not in text, "tomorrow has no report"
    await site.close()


async def test_an_order_on_its_way_back_failed_for_its_driver_too(node: StartNode) -> None:
    site = await site_at_noon(node)
    dan = await site.driver("Dan", at_work=True)
    _, job = await site.assignment(dan)
    await dan.post(f"/assignments/{job['id']}/pickup")
    today = local_day(site)

    async def failed() -> tuple[str, str]:
        (row,) = await table(site, "drivers", day=today)
        (total,) = [row for row in await table(site, "stores", day=today) if not row["store"]]
        return total["failed"], row["failed"]

    assert await failed() == ("0", "0")
    body = {"reason": "recipient_absent", "then": "return"}
    assert (await dan.post(f"/assignments/{job['id']}/failed", body)).status_code == 200
    assert await failed() == ("1", "1")
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    assert await failed() == ("1", "1")
    await site.close()


async def test_another_day_or_none(node: StartNode, problem: Check) -> None:
    site = await site_at_noon(node)
    await site.delivery()
    for asked in ({}, {"day": local_day(site, -1)}, {"day": "x"}, {"day": local_day(site, 2)}, {"day": "0001-01-01"}):
        page = await site.vic.get("/report", params=asked, headers=HTML)
        assert page.status_code == 200
        assert "No orders on this day." in page.text, asked
        assert f'value="{local_day(site, -1)}"' in page.text
    problem(await site.vic.get("/report/orders.csv"), 404, "not_found")
    await site.close()
