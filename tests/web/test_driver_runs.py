"""Drivers with more than one delivery, over HTTP and on real sockets: add-ons, runs, and what never happens."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any

import httpx2

from tests.driver_app import DriverApp, driver_app
from tests.waiting import until
from tests.web.board_stream import board_stream, position_of
from tests.web.conftest import PICKUP, Driver, Site
from tests.web.html_tree import Element, parse

NORTH = [{"lat": PICKUP["lat"] + km / 111.2, "lon": PICKUP["lon"]} for km in range(6)]


async def no_time_at_the_door(site: Site) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"handoverSeconds": 0})).status_code == 200


async def answered(app: DriverApp, kind: str, **fields: Any) -> Any:
    answer = await app.ask(kind, **fields)
    assert answer["type"] == "ack", answer
    return answer.get("result", {})


async def offered(app: DriverApp, *delivery_ids: str) -> dict[str, Any]:
    """The first offer of one of these on this socket."""
    heard = await app.hear(lambda m: m["type"] == "offer" and m["offer"]["deliveryId"] in delivery_ids)
    found: dict[str, Any] = heard["offer"]
    return found


async def _code(call: Awaitable[httpx2.Response]) -> int:
    return (await call).status_code


async def taken(site: Site, app: DriverApp, to: int, **order: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """An order that is offered on this socket, and accepted: the offer and the assignment."""
    made = await site.delivery(dropoff=NORTH[to], storeName=f"Store {to}", **order)
    offer = await offered(app, made["id"])
    accepted = await answered(app, "accept", offerId=offer["id"])
    return offer, accepted["assignment"]


def is_stop(number: str, row: Element) -> bool:
    """Whether a row of the board says that its next stop is this one."""
    return [shown["title"] for shown in row.every(class_="stop")] == [number]


def has_run(places: list[str], row: Element) -> bool:
    """Whether a driver's row on the board has these places of stops, in order."""
    return "data-run" in row and row["data-run"].split(";") == places


def stops(run: list[dict[str, Any]]) -> list[str]:
    """Such as `pickup 1`, with a `!` if it is done."""
    return [f"{stop['kind']} {stop['storeName'][-1]}{'!' if 'doneAt' in stop else ''}" for stop in run]


async def run_of(site: Site, driver: Driver, app: DriverApp) -> list[dict[str, Any]]:
    """The newest run of the socket, which is that of the state."""
    seq, state = (await driver.get("/state")).json()["seq"], (await driver.get("/state")).json()
    await until(lambda: app.streamed()[-1]["seq"] >= seq)
    run: list[dict[str, Any]] = [m for m in app.heard if m["type"] == "run"][-1]["stops"]
    assert state["run"] == (run or None)
    return run


OTHER_WAY_ROUND = "UPDATE driver_runs SET stops = (SELECT jsonb_agg(s ORDER BY n DESC) FROM jsonb_array_elements(stops)"
OTHER_WAY_ROUND += " WITH ORDINALITY AS t (s, n))"


async def expected(site: Site, *jobs: dict[str, Any]) -> list[str]:
    """The deliveries of these assignments in the order in which they are expected to be handed over."""
    found = {job["deliveryId"]: (await site.shop.get(f"/deliveries/{job['deliveryId']}")).json() for job in jobs}
    return sorted(found, key=lambda delivery_id: found[delivery_id]["estimatedDeliveryAt"])


async def test_a_driver_with_room_gets_add_ons_and_the_order_of_their_stops(site: Site) -> None:
    await no_time_at_the_door(site)
    dan = await site.driver(at_work=True, capacity=3)
    async with driver_app(site.node.ws_url, dan.id) as app:
        assert (await app.hear("hello"))["run"] is None
        offer, first = await taken(site, app, 1, promisedAt="2099-02-01T10:00:00.000Z")
        assert "addOn" not in offer["payload"]
        offer, second = await taken(site, app, 3)
        assert offer["payload"]["addOn"] == {"extraMinutes": 7, "stops": 4}
        assert stops(await run_of(site, dan, app)) == ["pickup 1", "pickup 3", "dropoff 1", "dropoff 3"]
        offer, third = await taken(site, app, 2)
        assert offer["payload"]["addOn"]["stops"] == 6
        run = await run_of(site, dan, app)
        assert stops(run) == ["pickup 1", "pickup 3", "pickup 2", "dropoff 1", "dropoff 2", "dropoff 3"]
        assert run[0].items() >= {"assignmentId": first["id"], "promisedAt": "2099-02-01T10:00:00.000Z"}.items()
        assert run[0]["place"] == {"lat": PICKUP["lat"], "lon": PICKUP["lon"], "address": PICKUP["address"]}
        assert [stop["plannedAt"] for stop in run] == sorted(stop["plannedAt"] for stop in run)
        for job in (first, second, third):
            await answered(app, "picked_up", assignmentId=job["id"])
        await answered(app, "completed", assignmentId=third["id"])
        done = ["pickup 1!", "pickup 3!", "pickup 2!", "dropoff 1", "dropoff 2!", "dropoff 3"]
        assert stops(await run_of(site, dan, app)) == done, "out of order"
        hello = (await dan.get("/state")).json()
    async with driver_app(site.node.ws_url, dan.id, last_seq=hello["seq"]) as app:
        assert stops((await app.hear("hello"))["run"]) == done
        await answered(app, "completed", assignmentId=first["id"])
        assert await run_of(site, dan, app) == []
        await answered(app, "completed", assignmentId=second["id"])
        assert [m["type"] for m in app.streamed()] == ["assignment", "run", "assignment"]


async def test_ops_see_the_stops_of_a_driver(site: Site) -> None:
    dan = await site.driver(at_work=True, capacity=2)
    board = parse((await site.vic.get("/board")).text)
    async with (
        driver_app(site.node.ws_url, dan.id) as app,
        board_stream(site.vic, after=position_of(board)) as stream,
    ):
        offer, first = await taken(site, app, 1)
        assert "Stops" not in (await site.vic.get(f"/board/drivers/{dan.id}")).text
        row = await stream.hear_row(f"a-{offer['deliveryId']}")
        assert not row.every(class_="stop")
        offer, second = await taken(site, app, 2)
        rows = [f"a-{first['deliveryId']}", f"a-{offer['deliveryId']}"]

        async def numbers(*wanted: str) -> None:
            """Both rows come with these numbers, also that of which no event was."""
            for row_id, number in zip(rows, wanted, strict=True):
                await stream.hear_row(row_id, partial(is_stop, number))

        await numbers("Stop 1 of 4", "Stop 2 of 4")
        await answered(app, "picked_up", assignmentId=first["id"])
        await numbers("Stop 2 of 3", "Stop 1 of 3")
        north = [f"{place['lat']},{place['lon']}" for place in (PICKUP, NORTH[1], NORTH[2])]
        await stream.hear_row(f"v-{dan.id}", partial(has_run, north))
        shown = parse((await site.vic.get(f"/board/drivers/{dan.id}")).text)
        work, stops_shown = shown.one("ul", class_="work"), shown.every("ol", class_="timeline")[0]
        assert [line.text.partition(" order")[0] for line in work.every("li")] == ["Store 2", "Store 1"]
        assert ["Stop 1 of 3" in line.text for line in work.every("li")] == [True, False]
        lines = [" ".join(line.text.split()) for line in stops_shown.every("li")]
        assert [line.partition(" order")[0] for line in lines] == [
            "Pickup Store 1", "1. Pickup Store 2", "2. Drop-off Store 1", "3. Drop-off Store 2",
        ]  # fmt: skip
        assert ["done at" in line for line in lines] == [True, False, False, False]
        assert shown.one(id="places")["data-run"].strip(";").split(";") == north
        await answered(app, "picked_up", assignmentId=second["id"])
        assert await expected(site, first, second) == [first["deliveryId"], second["deliveryId"]]
        await site.node.change(OTHER_WAY_ROUND)
        assert await expected(site, first, second) == [second["deliveryId"], first["deliveryId"]], "the stored order"


async def test_jobs_that_go_leave_the_others_right(site: Site) -> None:
    await no_time_at_the_door(site)
    dan, dora = await site.driver(at_work=True, capacity=3), await site.driver("Dora", at_work=True, zone="else")
    async with driver_app(site.node.ws_url, dan.id) as app:
        jobs = [(await taken(site, app, to))[1] for to in (1, 2, 3)]
        await answered(app, "release", assignmentId=jobs[1]["id"], reason="too_far")
        assert stops(await run_of(site, dan, app)) == ["pickup 1", "pickup 3", "dropoff 1", "dropoff 3"]
        await answered(app, "picked_up", assignmentId=jobs[0]["id"])
        await answered(app, "failed", assignmentId=jobs[0]["id"], reason="refused", then="return")
        assert stops(await run_of(site, dan, app)) == ["pickup 1!", "pickup 3", "dropoff 1!", "dropoff 3", "return 1"]
        taken_away = await site.alice.post(f"/admin/assignments/{jobs[2]['id']}/reassign", json={"reason": "late"})
        assert taken_away.status_code == 200
        assert await run_of(site, dan, app) == []
        state = (await dan.get("/state")).json()
        assert [a["id"] for a in state["assignments"]] == [jobs[0]["id"]]
        assert state["driver"]["activeCount"] == 1
    assert (await dora.get("/state")).json()["run"] is None


async def test_accepts_at_once_never_exceed_the_capacity(site: Site) -> None:
    """The offer, a direct assignment and another one race for the last two places, ten times."""
    dan = await site.driver(at_work=True, capacity=2)
    async with driver_app(site.node.ws_url, dan.id) as app:
        for _ in range(10):
            orders = [await site.delivery(dropoff=NORTH[to]) for to in (1, 2, 3)]
            wanted = [order["id"] for order in orders]
            offer = await offered(app, *wanted)
            others = [order for order in orders if order["id"] != offer["deliveryId"]]
            body = {"driverId": dan.id, "reason": "near", "mode": "assign", "replaceOffer": True}
            calls = [site.alice.post(f"/admin/deliveries/{order['id']}/assign", json=body) for order in others]
            accepted, codes = await asyncio.gather(
                app.ask("accept", offerId=offer["id"]), asyncio.gather(*map(_code, calls))
            )
            done = (accepted["type"] == "ack") + codes.count(201)
            state = (await dan.get("/state")).json()
            assert state["driver"]["activeCount"] == len(state["assignments"]) == done == 2
            for order in orders:
                gone = await site.ada.post(f"/deliveries/{order['id']}/cancel", json={"reason": "x", "force": True})
                assert gone.status_code == 200
            assert (await dan.get("/state")).json()["driver"]["activeCount"] == 0


async def test_a_capacity_below_the_open_offer_withdraws_it(site: Site) -> None:
    dan = await site.driver(at_work=True, capacity=2)
    async with driver_app(site.node.ws_url, dan.id) as app:
        await taken(site, app, 1)
        more = await site.delivery(dropoff=NORTH[2])
        await offered(app, more["id"])
        changed = await site.ada.patch(f"/drivers/{dan.id}", json={"capacity": 1})
        assert changed.json()["busy"]
        closed = await app.hear(lambda m: m["type"] == "offer_closed" and m["deliveryId"] == more["id"])
        assert (closed["outcome"], closed["reason"]) == ("WITHDRAWN", "driver_full")
