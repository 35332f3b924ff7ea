"""More than the board shows: everything is counted, what is cut is said, and what is not shown can be found."""

import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from server.board.picture import Picture
from server.board.tally import Tally, ZoneCounts
from server.contract.words import STATES
from server.store.engine import Database
from server.store.reads import board as reads
from server.store.reads.board import BoardDelivery, CountedDelivery, CountedDriver
from tests.web.board_stream import board_stream, position_of
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse

DRIVERS = """
INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change, expiries_in_a_row,
                     stream_seq, active_count)
SELECT gen_random_uuid(), 'Driver ' || n, 'zone ' || n % 4, 1, now(), 'available', now(), 0, 0, 0
FROM generate_series(1, $1::int) n"""
DELIVERIES = """
INSERT INTO deliveries (id, seller_order_id, store_name, zone, status, pickup_lat, pickup_lon, dropoff_lat, dropoff_lon,
                        prep_seconds, currency, fingerprint, dispatch_at, created_at, unassigned_since,
                        offer_acceptance_count, version)
SELECT id, id, 'Store ' || n, 'zone ' || n % 4, $2, 0, 0, 0, 0, 0, 'USD', 'f', now(), now(),
       CASE WHEN $2 = 'READY' THEN now() - make_interval(secs => n) END, 0, 1
FROM (SELECT gen_random_uuid() AS id, n FROM generate_series(1, $1::int) n) made"""
ASSIGNMENTS = """
INSERT INTO assignments (id, delivery_id, driver_id, status, source, created_at, version)
SELECT gen_random_uuid(), d.id, v.id, 'ACTIVE', 'manual', now(), 1
FROM (SELECT id, row_number() OVER () AS n FROM deliveries WHERE status = 'ASSIGNED') d
JOIN (SELECT id, row_number() OVER () AS n FROM drivers) v USING (n)"""
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


def counted_again(
    deliveries: list[CountedDelivery], drivers: list[CountedDriver], alerts: list[str]
) -> dict[str, ZoneCounts]:
    """The numbers by looking at everything."""
    zones = {"": ZoneCounts()}
    for delivery in deliveries:
        for zone in (zones[""], zones.setdefault(delivery.zone, ZoneCounts())):
            if delivery.waiting:
                zone.waiting += 1
                zone.offers += delivery.offered
                if delivery.since is not None:
                    zone.oldest = min(zone.oldest or delivery.since, delivery.since)
            elif delivery.held:
                zone.held += 1
            else:
                zone.active += 1
    for driver in drivers:
        for zone in (zones[""], zones.setdefault(driver.zone, ZoneCounts())):
            zone.states[driver.state] += 1
    for name in alerts:
        for zone in (zones[""], zones.setdefault(name, ZoneCounts())):
            zone.alerts += 1
    return zones


@pytest.mark.parametrize("seed", range(8))
def test_updated_numbers_equal_a_new_count(seed: int) -> None:
    chance = random.Random(seed)
    tally, deliveries, drivers = Tally(), dict[str, CountedDelivery](), dict[str, CountedDriver]()
    for _ in range(400):
        zone = chance.choice(["north", "south", "west"])
        if chance.random() < 0.6:
            status = chance.choice(["SCHEDULED", "READY", "READY", "ASSIGNED", "PICKED_UP", "DELIVERED"])
            since = chance.choice([None, START + timedelta(seconds=chance.randrange(50))])
            offered, held = chance.random() < 0.3, status == "READY" and chance.random() < 0.3
            delivery = CountedDelivery(f"d{chance.randrange(30)}", zone, status, since, offered, held)
            before = deliveries.pop(delivery.id, None)
            if delivery.is_open:
                deliveries[delivery.id] = delivery
            assert tally.delivery(delivery) == (deliveries.get(delivery.id) != before)
        elif chance.random() < 0.9:
            driver = CountedDriver(f"v{chance.randrange(30)}", zone, chance.choice(list(STATES)))
            drivers[driver.id] = driver
            tally.driver(driver)
        else:
            gone = f"v{chance.randrange(30)}"
            drivers.pop(gone, None)
            tally.forget_driver(gone)
        assert tally.zones(["east"]) == counted_again([*deliveries.values()], [*drivers.values()], ["east"])


def waiting_row(number: int, **changes: Any) -> BoardDelivery:
    since = START + timedelta(seconds=number)
    row: dict[str, Any] = dict.fromkeys(BoardDelivery.__struct_fields__)
    row |= {"id": f"d{number}", "zone": "north", "status": "READY", "created_at": since, "unassigned_since": since}
    return BoardDelivery(**(row | changes))


def learned(picture: Picture, *rows: BoardDelivery) -> tuple[set[str], set[str]]:
    """What is new on the board, and what left it silently."""
    changes = picture.learn(rows, [])
    return {row.id for row in changes.deliveries}, {row.id for row in changes.cut}


def test_a_full_table_keeps_the_longest_waiting_and_whatever_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "SHOWN_LIMIT", 3)
    picture = Picture()
    picture.learn_all([waiting_row(n) for n in (10, 20, 30)], [])
    assert learned(picture, waiting_row(40)) == (set(), set())
    assert picture.cuts()["waiting"] == (3, 4)
    assert learned(picture, waiting_row(5)) == ({"d5"}, set()), "it waits longer than the last one shown"
    assert learned(picture, waiting_row(40, offer_id="o")) == ({"d40"}, set())
    assert learned(picture, waiting_row(50)) == (set(), set())
    assert not picture.room()
    for number in (5, 10, 20, 30):
        picture.learn([waiting_row(number, status="DELIVERED")], [])
    assert picture.cuts()["waiting"] == (1, 2)
    assert picture.room()
    again = picture.learn_all([waiting_row(40), waiting_row(50)], [])
    assert {row.id for row in again.deliveries} == {"d40", "d50"}
    assert not picture.room()


def test_under_way_has_room_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "SHOWN_LIMIT", 2)
    picture = Picture()
    picture.learn_all([waiting_row(1), waiting_row(2), waiting_row(3, status="ASSIGNED", assigned_at=START)], [])
    assert picture.cuts() == {"waiting": (2, 2), "active": (1, 1), "drivers": (0, 0)}
    picture.learn([waiting_row(4, status="ASSIGNED", assigned_at=START)], [])
    changes = picture.learn([waiting_row(1, status="ASSIGNED", assigned_at=START + timedelta(hours=1))], [])
    assert [row.id for row in changes.over] == ["d1"], "it left the unassigned, and the others are full"
    assert picture.cuts() == {"waiting": (1, 1), "active": (2, 3), "drivers": (0, 0)}


def numbers_of(page: Element) -> dict[str, str]:
    return {n["data-n"]: n.text for n in page.one(id="headline").every("b") if "data-n" in n}


def cut_of(page: Element, table: str) -> str:
    return page.one("p", id=f"cut-{table}").text


async def test_everything_is_counted_and_what_is_cut_is_said_and_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reads, "SHOWN_LIMIT", 3)
    monkeypatch.setattr("server.board.feed.FILL_SECONDS", 0.1)
    dan = await site.driver("Dan", at_work=True)
    carried, _ = await site.assignment(dan)
    for number in range(4):
        await site.driver(f"Driver {number}")
    waiting = [await site.delivery(zone="far", storeName=f"Store No{n}") for n in range(5)]
    page = parse((await site.vic.get("/board")).text)
    numbers = numbers_of(page)
    assert (numbers["waiting"], numbers["active"], numbers["busy"], numbers["off"]) == ("5", "1", "1", "4")
    assert json.loads(page.one(id="headline")["data-zones"])["far"]["waiting"] == 5
    assert [row["data-id"] for row in page.one(id="rows-waiting").every("tr")] == [d["id"] for d in waiting[:3]]
    page.one("tr", id=f"a-{carried['id']}")
    page.one("tr", id=f"v-{dan.id}")  # who is at work comes first
    assert cut_of(page, "waiting").startswith("Showing the 3 longest waiting of 5.")
    assert cut_of(page, "drivers").startswith("Showing 3 drivers of 5.")
    assert cut_of(page, "active") == ""

    async def found(**query: str) -> set[str]:
        answer = await site.vic.get("/board/beyond", params=query)
        assert answer.status_code == 200
        return {row["data-id"] for row in parse(answer.text).every("tr") if row["id"].startswith("d-")}

    assert await found(zone="far") == {waiting[3]["id"], waiting[4]["id"]}
    assert await found(q="STORE NO4") == {waiting[4]["id"]}
    assert await found(q="%") == set()
    assert await found(zone="near") == set()

    # As rows leave, those that come next take their places, and the screen says so.
    async with board_stream(site.vic, after=position_of(page)) as stream:
        await site.alice.post(f"/deliveries/{waiting[0]['id']}/cancel", json={"reason": "x"})
        await stream.hear_row(f"d-{waiting[3]['id']}")
        await stream.hear(lambda s: s.name is None and "Showing the 3 longest waiting of 4." in s.data)
        await site.alice.post(f"/deliveries/{waiting[1]['id']}/cancel", json={"reason": "x"})
        await stream.hear_row(f"d-{waiting[4]['id']}")
        await stream.hear(
            lambda s: (
                any(p["hx-target"] == "#cut-waiting" and not p.one("p").text for p in s.pieces)
                if s.name is None
                else False
            )
        )
        assert not [s for s in stream.sent if s.name == "resync"]


async def test_six_thousand_wait_under_twenty_thousand_drivers_and_what_is_under_way_is_read(
    database: Database,
) -> None:
    pool = database.pool
    await pool.execute(DRIVERS, 20_000)
    await pool.execute(DELIVERIES, 6_000, "READY")
    await pool.execute(DELIVERIES, 40, "ASSIGNED")
    await pool.execute(ASSIGNMENTS)
    picture = Picture()
    deliveries, drivers = await reads.counted(pool)
    for delivery in deliveries:
        picture.tally.delivery(delivery)
    for driver in drivers:
        picture.tally.driver(driver)
    picture.learn_all(await reads.open_deliveries(pool), await reads.shown_drivers(pool))
    everywhere = picture.zones()[""]
    assert (everywhere.waiting, everywhere.active) == (6_000, 40)
    assert everywhere.states["available"] + everywhere.states["busy"] == 20_000
    assert sum(zone.waiting for name, zone in picture.zones().items() if name) == 6_000
    assert picture.cuts() == {"waiting": (5_000, 6_000), "active": (40, 40), "drivers": (5_000, 20_000)}
