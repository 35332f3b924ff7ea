"""The screen of all orders: what is scheduled, the search, the pages, and the file."""

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from server.contract.views import instant
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import DROPOFF, Check, Site
from tests.web.html_tree import parse
from tests.web.people import HTML, logged_in


def later(hours: float = 3) -> str:
    return instant(datetime.now(UTC) + timedelta(hours=hours))


def rows_of(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline="")))


async def test_scheduled_orders_are_ahead_and_can_be_dispatched_now(site: Site) -> None:
    second = await site.delivery(sellerOrderId="second", dispatchAt=later(5))
    first = await site.delivery(sellerOrderId="first", dispatchAt=later(3))
    alice = await logged_in(site, "Alice", "ops")
    page = parse((await alice.see("/orders")).text)
    ahead = page.one("section", **{"aria-labelledby": "ahead-title"})
    assert [link.text for link in ahead.every("a")] == ["first", "second"]
    answer = await alice.send(f"/orders/{first['id']}/dispatch")
    assert (answer.status_code, answer.headers["location"]) == (303, "/orders")
    assert "Search finished: No driver" in (await alice.see("/orders")).text
    dan = await site.driver(at_work=True)
    assert (await alice.send(f"/orders/{second['id']}/dispatch")).status_code == 303

    async def offered() -> bool:
        return bool((await dan.get("/state")).json()["offers"])

    await until(offered)
    assert "Offered to a driver." in (await alice.see("/orders")).text
    await site.alice.post(f"/deliveries/{first['id']}/cancel", json={"reason": "x"})
    await alice.send(f"/orders/{first['id']}/dispatch")
    assert 'data-kind="bad"' in (await alice.see("/orders")).text
    vic = await logged_in(site, "Vic", "viewer")
    assert "Dispatch now" not in (await vic.see("/orders")).text


async def test_the_results_are_saved_as_a_file_that_runs_nothing(site: Site) -> None:
    dan = await site.driver("=Dan()", at_work=True)
    anna = DROPOFF | {"address": "@SUM(1)", "name": "Zo\u00eb", "phone": "+49 30 901820", "notes": "=1+1"}
    done, job = await site.assignment(dan, sellerOrderId="+1", dropoff=anna, tipCents=250, notes="Careful")
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    other = await site.delivery(sellerOrderId="other", storeName="Green Bowl", zone="north")
    gone = await site.delivery(sellerOrderId="gone", storeName="Green Bowl", zone="north")
    await site.shop.post(f"/deliveries/{gone['id']}/cancel", json={"reason": "=Nobody wants it"})
    vic = await logged_in(site, "Vic", "viewer")
    link = parse((await vic.see("/orders?q=pizza")).text).one("a", class_="file")
    assert link["href"] == "/orders/file.csv?q=pizza"
    answer = await vic.see(link["href"])
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="callboard-orders.csv"'
    [row] = rows_of(answer.text)
    assert row["Id"] == done["id"]
    assert (row["Order"], row["Driver"], row["Address of the customer"]) == ("'+1", "'=Dan()", "'@SUM(1)")
    assert (row["State"], row["Name of the customer"], row["Phone of the customer"]) == (
        "Delivered", "Zo\u00eb", "'+49 30 901820",
    )  # fmt: skip
    assert (row["Note about the address"], row["Note for the driver"]) == ("'=1+1", "Careful")
    assert (row["Tip"], row["Currency"], row["Reason"], row["Test order"]) == ("2.5", "USD", "", "")
    assert row["Delivered (UTC)"] >= row["Created (UTC)"]
    rows = {one["Order"]: one for one in rows_of((await vic.see("/orders/file.csv")).text)}
    assert rows.keys() == {"'+1", "other", "gone"}
    assert (rows["gone"]["State"], rows["gone"]["Reason"]) == ("Cancelled", "'=Nobody wants it")

    async def searched() -> bool:
        why = (await site.vic.get(f"/deliveries/{other['id']}")).json()["failureReason"]
        return bool(why == "no_driver_in_zone")

    await until(searched)
    rows = {one["Order"]: one for one in rows_of((await vic.see("/orders/file.csv")).text)}
    assert rows["other"]["Reason"] == "No driver of the zone is at work"
    assert rows_of((await vic.see("/orders/file.csv?q=nothing+like+it")).text) == []


async def test_the_file_has_the_times_of_the_company_and_why_a_delivery_failed(node: StartNode) -> None:
    site = Site(await node(time_zone="Asia/Tokyo"))
    dan = await site.driver(at_work=True)
    _, job = await site.assignment(dan)
    await dan.post(f"/assignments/{job['id']}/pickup")
    failed = {"reason": "recipient_absent", "note": "@rang twice", "then": "end"}
    assert (await dan.post(f"/assignments/{job['id']}/failed", failed)).status_code == 200
    vic = await logged_in(site, "Vic", "viewer")
    [row] = rows_of((await vic.see("/orders/file.csv")).text)
    assert (row["State"], row["Reason"], row["Note to the reason"]) == (
        "Could not be delivered", "Customer not there", "'@rang twice",
    )  # fmt: skip
    delivery = (await site.vic.get(f"/deliveries/{row['Id']}")).json()
    created = datetime.fromisoformat(delivery["createdAt"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert row["Created (Asia/Tokyo)"] == f"{created:%Y-%m-%d %H:%M:%S}"
    await site.close()


async def test_the_file_has_every_page(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.web.screens.orders_file.FILE_PAGE", 2)
    monkeypatch.setattr("server.web.screens.orders_file.FILE_ROWS", 6)
    made = [(await site.delivery())["id"] for _ in range(5)]
    vic = await logged_in(site, "Vic", "viewer")
    assert [row["Id"] for row in rows_of((await vic.see("/orders/file.csv")).text)] == made[::-1]
    made += [(await site.delivery())["id"] for _ in range(3)]
    assert [row["Id"] for row in rows_of((await vic.see("/orders/file.csv")).text)] == made[:1:-1]


@pytest.mark.parametrize(
    "asked",
    [{"q": "ab"}, {"from": "yesterday"}, {"to": "2026-13-01"}, {"driver": "Dan"}],
    ids=lambda one: next(iter(one)),
)
async def test_a_mistake_in_the_form_is_said(site: Site, problem: Check, asked: dict[str, Any]) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    answer = await vic.client.get("/orders", params=asked, headers=HTML)
    assert answer.status_code == 422
    assert parse(answer.text).one("p", role="alert").text
    assert (await vic.client.get("/orders/file.csv", params=asked)).status_code == 422


async def test_a_day_that_is_in_no_year_of_utc_is_a_mistake_too(node: StartNode) -> None:
    site = Site(await node(time_zone="Asia/Tokyo"))
    vic = await logged_in(site, "Vic", "viewer")
    for name in ("from", "to"):
        assert (await vic.client.get("/orders/file.csv", params={name: "0001-01-01"})).status_code == 422
        assert (await vic.client.get("/orders/file.csv", params={name: "9999-12-31"})).status_code == 200
    await site.close()


async def test_without_an_index_for_words_the_screen_says_that_the_search_is_slow(site: Site) -> None:
    delivery = await site.delivery(sellerOrderId="A-17")
    vic = await logged_in(site, "Vic", "viewer")
    assert "pg_trgm" not in (await vic.see("/orders?q=a-17")).text
    await site.node.change("DROP INDEX delivery_search_words")
    slow = (await vic.see("/orders?q=a-17")).text
    assert "pg_trgm" in slow
    assert delivery["id"] in slow
    assert "pg_trgm" not in (await vic.see("/orders")).text


async def test_erased_orders_are_found_by_number_only_and_say_so(site: Site) -> None:
    dan = await site.driver(at_work=True)
    done, job = await site.assignment(
        dan, sellerOrderId="A-18", dropoff=DROPOFF | {"phone": "+49 30 777", "name": "Zoë"}
    )
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200
    vic = await logged_in(site, "Vic", "viewer")
    assert done["id"] in (await vic.see("/orders?q=zo%C3%AB")).text
    assert (await site.ada.post("/admin/privacy/erase", json={"phone": "+49 30 777"})).status_code == 200
    assert done["id"] not in (await vic.see("/orders?q=zo%C3%AB")).text
    assert "erased" in (await vic.see("/orders?q=a-18")).text
