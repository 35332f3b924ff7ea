"""Nothing in the database names an erased person, by request or a set time after the end of their delivery."""

import asyncio
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest

from server.store.engine import PRIVACY
from server.store.jobs import person_turn
from server.store.jobs.erasing import erase_due, run_erasing
from server.store.jobs.person_turn import ALONE
from server.store.jobs.search_rows import write_search_rows
from tests.database_roles import PRIVACY_UPDATES
from tests.waiting import PATIENCE, until
from tests.web.conftest import DROPOFF, Check, Site, have_waited
from tests.web.test_refusals import TABLES

PHONE = "+49 (30) 555-0142"
PERSONAL = (
    "Zoe Quill", "555-0142", "Quill Lane 7", "beware of Rex", "no walnuts", "Quill Mews 9", "555-0188", "555-0199",
    "Zed Back", "555-0177", "Larch Yard 4", "two knocks", "left with Yann", "Yann Nought", "Rex bit me",
    "Zoe wants it gone", "Zoe is waiting", "Zoe knows Max", "Zoe is too far", "0417",
    "zoequill", "tell Zoe to wait", "Zoe is asleep",
)  # fmt: skip
"""Everything personal in the test; the database holds all of it before."""
FOUND = re.compile(r"(?<![0-9A-Za-z.:-])(?:" + "|".join(map(re.escape, PERSONAL)) + r")(?![0-9A-Za-z:-])", re.I)
VOLATILE = {"nodes", "leases", "driver_positions", "webhooks", "webhook_attempts"}
SENDING = {"attempts", "last_error", "last_status", "locked_until", "next_attempt_at"}
"""Columns that the sender of webhooks changes."""
WRITTEN = {table: set(columns) - SENDING for table, columns in PRIVACY_UPDATES.items() if table not in VOLATILE} | {
    "delivery_search": {"words"}
}
"""A trigger writes the store again too, which stays as it is."""

PLACE: Final = {"lat": 52.52, "lon": 13.405}

Rows = dict[str, dict[str, dict[str, Any]]]


async def everything(site: Site) -> Rows:
    """Table -> key -> row, as JSON."""
    pool = site.node.app.state.node.database.pool
    found: Rows = {}
    for (table,) in await pool.fetch(TABLES):
        rows = await pool.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t')
        decoded = [msgspec.json.decode(row[0]) for row in rows]
        keys: dict[str, tuple[str, ...]] = {
            "driver_messages": ("driver_id", "seq"),
            "unassigned_orders": ("delivery_id",),
        }
        key = (keys | {"delivery_search": ("delivery_id",)}).get(table, ("id",))
        found[table] = {str([row.get(part, n) for part in key]): row for n, row in enumerate(decoded)}
    return found


def columns_with(rows: Rows) -> dict[str, set[str]]:
    """Text of PERSONAL in lower case -> the columns that hold it."""
    where: dict[str, set[str]] = {}
    for table, held in rows.items():
        for row in held.values():
            for column, value in row.items():
                for text in FOUND.findall(str(value)):
                    where.setdefault(text.lower(), set()).add(f"{table}.{column}")
    return where


def differences(before: Rows, after: Rows) -> dict[str, set[str]]:
    """Table -> the columns that changed. No row is added or deleted."""
    changed: dict[str, set[str]] = {}
    for table, rows in before.items():
        if table not in VOLATILE:
            assert rows.keys() == after[table].keys(), table
            for key, row in rows.items():
                found = {column for column, value in row.items() if after[table][key][column] != value} - SENDING
                if found:
                    changed.setdefault(table, set()).update(found)
    return changed


def an_order(site: Site, **changes: Any) -> dict[str, Any]:
    pickup = {
        "lat": 52.520417,
        "lon": 13.405417,
        "address": "Larch Yard 4",
        "name": "Zed Back",
        "phone": "555-0177",
        "notes": "two knocks",
    }
    dropoff = {
        "lat": 52.530417,
        "lon": 13.410417,
        "address": "Quill Lane 7",
        "name": "Zoe Quill",
        "phone": PHONE,
        "notes": "beware of Rex",
    }
    return site.order(pickup=pickup, dropoff=dropoff, notes="no walnuts", proofRequired=["pin"], pin="0417", **changes)


async def good(answer: Any) -> Any:
    answer = await answer
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def change(site: Site, delivery: dict[str, Any], **changes: Any) -> None:
    path = f"/deliveries/{delivery['id']}"
    version = (await good(site.shop.get(path)))["version"]
    await good(site.shop.patch(path, json={"version": version, **changes}))


async def a_life(site: Site) -> list[dict[str, Any]]:
    """Four orders of Zoe with different ends and personal data in every field; the requests."""
    await good(site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks"}))
    orders = [an_order(site) for _ in range(4)]

    cancelled = await good(site.shop.post("/deliveries", json=orders[0]))
    waits = f"/admin/unassigned-orders/{cancelled['id']}/acknowledge"
    await good(site.alice.post(waits, json={"note": "Zoe is waiting"}))
    await good(site.shop.post(f"/deliveries/{cancelled['id']}/cancel", json={"reason": "Zoe wants it gone"}))

    dan = await site.driver("Dan", at_work=True)
    delivered = await good(site.shop.post("/deliveries", json=orders[1]))
    offer = await dan.offer()
    job = (await good(dan.post(f"/offers/{offer['id']}/accept")))["assignment"]
    for phone in ("555-0188", "555-0199"):
        moved = {**orders[1]["dropoff"], "address": "Quill Mews 9", "phone": phone}
        await change(site, delivered, dropoff=moved)
    await good(site.alice.post(f"/admin/drivers/{dan.id}/messages", json={"text": "tell Zoe to wait"}))
    await good(dan.post("/messages", {"text": "Zoe is asleep"}))
    await good(dan.post(f"/assignments/{job['id']}/pickup"))
    proof = {"pin": "0417", "name": "Yann Nought", "note": "left with Yann"}
    await good(dan.post(f"/assignments/{job['id']}/complete", {"proof": proof}))

    await good(site.shop.post("/deliveries", json=orders[2]))
    offer = await dan.offer()
    job = (await good(dan.post(f"/offers/{offer['id']}/accept")))["assignment"]
    await good(dan.post(f"/assignments/{job['id']}/pickup"))
    await good(dan.post(f"/assignments/{job['id']}/failed", {"reason": "unsafe", "note": "Rex bit me"}))

    taken = await good(site.shop.post("/deliveries", json=orders[3]))
    offer = await dan.offer()
    job = (await good(dan.post(f"/offers/{offer['id']}/accept")))["assignment"]
    reason = {"reason": "Zoe knows Max", "version": job["version"], "pauseDriver": True}
    await good(site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=reason))
    assert (await good(site.vic.get(f"/drivers/{dan.id}")))["availabilityReason"] == "reassigned"
    late = await dan.post(f"/assignments/{job['id']}/release", {"reason": "other", "note": "Rex bit me"})
    assert late.status_code == 409
    await good(site.shop.post(f"/deliveries/{taken['id']}/cancel", json={"reason": "zoequill"}))
    return orders


@pytest.fixture
async def orders(site: Site) -> list[dict[str, Any]]:
    """All finished, one offer with reasons like those of the previous release. The node dispatches no more."""
    orders = await a_life(site)
    node = site.node.app.state.node
    await node.lease.release()
    await write_search_rows(node.database.pool, later_seconds=0)
    await site.node.change(
        "UPDATE driver_offers SET closing_reason = 'Zoe is too far', rejection_reason = 'Zoe is too far'"
        " WHERE id = (SELECT id FROM driver_offers ORDER BY id LIMIT 1)"
    )
    # A receiver that refuses what it got, and quotes it.
    await site.node.change("""
        WITH sent AS (
            UPDATE webhook_deliveries SET last_error = 'answered 422: {"unknown": "Zoe Quill"}'
            WHERE delivered_at IS NULL AND key IN (SELECT id::text FROM deliveries)
            RETURNING id, webhook_id, last_error)
        INSERT INTO webhook_attempts (webhook_delivery_id, webhook_id, attempt, at, status, ms, error)
        SELECT id, webhook_id, 1, now(), 422, 5, last_error FROM sent""")
    return orders


async def test_nothing_in_the_database_names_an_erased_person(
    site: Site, orders: list[dict[str, Any]], capsys: Any
) -> None:
    before = await everything(site)
    assert columns_with(before).keys() == {text.lower() for text in PERSONAL}
    erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": "49 30 5550142"}))
    assert (erased["deliveries"], erased["later"]) == (4, 0)
    assert min(erased["events"], erased["messages"], erased["webhooks"]) > 3
    after = await everything(site)
    assert columns_with(after) == {}
    assert differences(before, after) == WRITTEN
    assert not any("5550142" in row["words"] for row in after["delivery_search"].values())
    texts = {row["text"] for row in after["stream_notices"].values()}
    answers = {row["error"] for row in after["webhook_attempts"].values() if row["status"] == 422}
    assert answers == {"answered 422"}
    assert f"Order {orders[3]['sellerOrderId']} of Pizza Roma reassigned from this driver." in texts
    points = {(row["dropoff_lat"], row["dropoff_lon"]) for row in after["deliveries"].values()}
    assert points == {(52.53, 13.41)}, "rounded"
    again = await good(site.ada.post("/admin/privacy/erase", json={"phone": PHONE}))
    assert again == {"deliveries": 0, "events": 0, "messages": 0, "webhooks": 0, "later": 0, "filesLeft": 0}
    said = capsys.readouterr()
    assert not re.search("5550142|555-0142|Quill", said.out + said.err)


async def test_people_are_erased_a_set_time_after_the_end(site: Site, orders: list[dict[str, Any]]) -> None:
    node = site.node.app.state.node
    before = await everything(site)
    now = await node.database.pool.fetchval("SELECT now()")
    settings = node.settings.with_changes(keep_messages_days=30)
    assert not await erase_due(node.database, settings, now=now + timedelta(days=30, hours=-1))
    assert differences(before, await everything(site)) == {}
    assert (await erase_due(node.database, settings, now=now + timedelta(days=30)))["deliveries"] == 4
    after = await everything(site)
    assert columns_with(after) == {}
    assert differences(before, after) == WRITTEN


@pytest.mark.parametrize(
    ("phone", "deliveries"), [("555-0199", 1), (PHONE, 4), ("555 0177", 4), ("555/0188", 1), ("555-0166", 0)],
    ids=["the newest", "the first", "of the pickup", "in between", "never"],
)  # fmt: skip
async def test_a_phone_is_found_wherever_it_was_said(
    site: Site, orders: list[dict[str, Any]], phone: str, deliveries: int
) -> None:
    erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": phone}))
    assert erased["deliveries"] == deliveries


@pytest.mark.parametrize(
    ("events", "earlier"),
    [(["delivery.cancelled"], True), (["delivery.changed"], True), ([], True), ([], False)],
    ids=["webhook a", "webhook b", "none", "in its event"],
)
async def test_a_phone_that_was_there_between_two_changes_is_found(
    site: Site, events: list[str], earlier: bool
) -> None:
    """An earlier release wrote no values of contacts into its events."""
    if events:
        await good(site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks", "events": events}))
    ids = []
    for _ in range(2):
        order = await site.delivery(pickup=PLACE | {"phone": "555-0111"})
        await change(site, order, pickup=PLACE | {"phone": "555-0122"})
        if events == ["delivery.cancelled"]:
            await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
            await good(site.alice.post(f"/deliveries/{order['id']}/restore"))
        await change(site, order, pickup=PLACE | {"phone": "555-0111"})
        ids.append(order["id"])
    if earlier:
        connection = await site.node.app.state.node.database.connect_for_privacy()
        await connection.execute("UPDATE events SET data = data - 'changes' WHERE type = 'delivery.changed'")
        await connection.close()
    await good(site.shop.post(f"/deliveries/{ids[0]}/cancel", json={"reason": "sold out"}))
    found = 1 if events or not earlier else 0
    erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": "555 0122"}))
    assert (erased["deliveries"], erased["later"]) == (found, found), "the other one is under way"
    await good(site.shop.post(f"/deliveries/{ids[1]}/cancel", json={"reason": "sold out"}))
    node = site.node.app.state.node
    await run_erasing(node.database, node.settings, lambda: True)
    assert "555-0122" not in str(await everything(site))


FORMS = (
    PHONE, "0049305550142", "+49 (0)30 555 01 42", "0049 (0)30 / 5550142", "+\uff14\uff19 \uff13\uff10 5550142",
    "+\u0664\u0669 \u0663\u0660 \u0665\u0665\u0665 0142", "+49 (\uff10)30 5550142",
)  # fmt: skip


@pytest.mark.parametrize("stored", FORMS)
async def test_a_phone_is_one_in_all_its_forms(site: Site, stored: str) -> None:
    for phone in (*FORMS, "030 5550142", "49 0 30 5550142"):
        order = await site.delivery(dropoff=DROPOFF | {"phone": stored})
        await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
        erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": phone}))
        assert erased["deliveries"] == (1 if phone in FORMS else 0), phone


TEXTS: Final[tuple[Callable[[str], dict[str, Any]], ...]] = (
    lambda text: {"notes": text},
    lambda text: {"dropoff": PLACE | {"notes": text}},
    lambda text: {"pickup": PLACE | {"name": text}},
)


@pytest.mark.parametrize("phone", ["+49 172 6612345", "0049 (0)172/66 12 345", "+49 172 \uff16\uff16\u0661\u0662345"])
async def test_an_order_that_names_a_phone_in_any_text_is_erased(site: Site, phone: str) -> None:
    """Of two orders each, one names the phone and one does not, or has one digit more: in a text, in notes that are
    gone, or in the reasons of a reassignment and a cancellation.
    """
    await good(site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks"}))
    kept = {}
    for fields in TEXTS:
        for text in (f"Zoe: ring {phone}, twice", f"Ann: ring {phone}6, twice"):
            order = await site.delivery(**fields(text))
            await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
            kept[order["id"]] = text.startswith("Ann")
    for notes in (f"Zoe {phone}", "nobody"):
        order = await site.delivery(notes="quick")
        await change(site, order, notes=notes)
        await change(site, order, notes="quick")
        await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
        kept[order["id"]] = "Zoe" not in notes
    dan = await site.driver("Dan", at_work=True)
    for reason in (f"Zoe {phone} said no", "sold out"):
        order, job = await site.assignment(dan)
        taken = {"reason": reason, "version": job["version"], "driverId": None, "pauseDriver": True}
        await good(site.alice.post(f"/admin/assignments/{job['id']}/reassign", json=taken))
        await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": f"{reason}!"}))
        kept[order["id"]] = "Zoe" not in reason
        await good(dan.post("/availability/resume"))
    erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": "+49 (0)172 6612345"}))
    assert (erased["deliveries"], erased["later"]) == (5, 0)
    left = await everything(site)
    assert "Zoe" not in str(left)
    assert {key: row["fingerprint"] != "erased" for key, row in left["deliveries"].items()} == {
        str([key]): kept[key] for key in kept
    }


async def test_a_phone_is_stored_with_the_digits_that_are_searched_for(site: Site) -> None:
    phone = "+\uff14\uff19 30 \u0665\u0665\u0665 0142"
    wanted = site.order(dropoff=PLACE | {"phone": phone})
    order = await good(site.shop.post("/deliveries", json=wanted))
    assert order["dropoff"]["phone"] == "+49 30 555 0142"
    assert (await site.shop.post("/deliveries", json=wanted)).status_code == 200, "it is the same order"
    await change(site, order, pickup=PLACE | {"phone": phone})
    assert (await good(site.shop.get(f"/deliveries/{order['id']}")))["pickup"]["phone"] == "+49 30 555 0142"
    dan = await site.driver("Dan", phone=phone)
    assert (await good(site.vic.get(f"/drivers/{dan.id}")))["phone"] == "+49 30 555 0142"
    await good(site.ada.patch(f"/drivers/{dan.id}", json={"phone": phone.replace("0142", "\uff10143")}))
    assert (await good(site.vic.get(f"/drivers/{dan.id}")))["phone"] == "+49 30 555 0143"


async def test_one_person_is_erased_at_a_time_and_each_request_counts_its_own(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request waits longer for the others than a statement may wait for a lock. Those of one node wait for a single
    connection.
    """
    monkeypatch.setattr(person_turn, "WAIT_SECONDS", PATIENCE)
    monkeypatch.setitem(PRIVACY, "lock_timeout", "700ms")
    pool = site.node.app.state.node.database.pool
    for _ in range(4):
        order = await site.delivery(dropoff=DROPOFF | {"phone": PHONE})
        await good(site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "sold out"}))
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(ALONE)

        async def erase() -> dict[str, int]:
            return dict(await good(site.ada.post("/admin/privacy/erase", json={"phone": PHONE})))

        requests = [asyncio.create_task(erase()) for _ in range(2)]

        await until(lambda: have_waited(pool, 1, "900 ms"))
        await connection.execute("SELECT pg_advisory_unlock_all()")
    answers = [await request for request in requests]
    assert sorted(answer["deliveries"] for answer in answers) == [0, 4]
    assert {answer["later"] for answer in answers} == {0}


async def test_who_asks_while_another_search_runs_is_refused_soon_and_takes_no_connection(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search on this node, which opens no connection for those that wait, and one on another node."""
    monkeypatch.setattr(person_turn, "WAIT_SECONDS", 0.2)
    node = site.node.app.state.node
    opened = []

    async def connect_for_privacy() -> Any:
        opened.append(await connect())
        return opened[-1]

    connect = node.database.connect_for_privacy
    monkeypatch.setattr(node.database, "connect_for_privacy", connect_for_privacy)

    async def ask(count: int) -> None:
        asked = [site.ada.post("/admin/privacy/erase", json={"phone": PHONE}) for _ in range(count)]
        for answer in await asyncio.gather(*asked):
            problem(answer, 409, "person_search_runs")
            assert answer.headers["retry-after"] == "10"

    async with node.person_turn.alone(node.database.connect_apart):
        await ask(10)
    assert opened == []
    async with node.database.pool.acquire() as connection, connection.transaction():
        await connection.execute(ALONE.replace("advisory_lock", "advisory_xact_lock"))
        await ask(1)
    assert [connection.is_closed() for connection in opened] == [True]
    erased = await good(site.ada.post("/admin/privacy/erase", json={"phone": PHONE}))
    assert erased["deliveries"] == 0


async def test_what_was_erased_can_be_read_and_its_order_is_known_again(
    site: Site, orders: list[dict[str, Any]], problem: Check
) -> None:
    first = await good(site.shop.post("/deliveries", json=orders[2]))
    assert first["dropoff"]["name"] == "Zoe Quill"
    await good(site.ada.post("/admin/privacy/erase", json={"phone": PHONE}))
    again = await site.shop.post("/deliveries", json=orders[2])
    assert again.status_code == 200
    assert again.json() == first | {
        "pickup": {"lat": 52.52, "lon": 13.405},
        "dropoff": {"lat": 52.53, "lon": 13.41},
        "notes": None,
        "pin": None,
        "failure": first["failure"] | {"note": None},
    }
    differs = problem(await site.shop.post("/deliveries", json=orders[2] | {"tipCents": 5}), 409, "delivery_differs")
    assert differs["fields"] == ["tipCents"]
    timeline = await good(site.vic.get(f"/deliveries/{first['id']}/timeline"))
    [failed] = [item["data"] for item in timeline["items"] if item["type"] == "delivery.failed"]
    assert (failed["reason"], failed["note"]) == ("unsafe", None)
    assert (await site.alice.get(f"/board/deliveries/{first['id']}")).status_code == 200
    retry = await site.alice.post(f"/deliveries/{first['id']}/retry", json={"reason": "home now"})
    problem(retry, 409, "delivery_erased")


async def test_what_a_courier_still_needs_is_erased_at_the_end(site: Site) -> None:
    node = site.node.app.state.node
    dan = await site.driver("Dan", at_work=True)
    delivery, job = await site.assignment(dan, **{key: an_order(site)[key] for key in ("dropoff", "notes")})
    await node.lease.release()
    path = f"/assignments/{job['id']}"
    answer = {"deliveries": 0, "events": 0, "messages": 0, "webhooks": 0, "later": 1, "filesLeft": 0}
    for _ in range(2):
        assert await good(site.ada.post("/admin/privacy/erase", json={"phone": PHONE})) == answer
    await run_erasing(node.database, node.settings, lambda: True)
    assert (await good(dan.get("/state")))["assignments"][0]["dropoff"]["phone"] == PHONE
    await good(dan.post(path + "/pickup"))
    await good(dan.post(path + "/complete"))
    await run_erasing(node.database, node.settings, lambda: False)
    assert columns_with(await everything(site)), "another node does it"
    await run_erasing(node.database, node.settings, lambda: True)
    after = await everything(site)
    assert columns_with(after) == {}
    assert after["erasures"] == {}
    assert (await good(site.shop.get(f"/deliveries/{delivery['id']}")))["status"] == "DELIVERED"


@pytest.mark.parametrize(
    "body", [{}, {"phone": None}, {"phone": "no digits"}, {"phone": "1234"}, {"phone": "1" * 41}, {"phone": "1" * 21},
             {"phone": "55501\u0000"}, {"phone": PHONE, "name": "Zoe"}, []],
)  # fmt: skip
async def test_what_is_no_phone_is_refused(site: Site, problem: Check, body: Any) -> None:
    problem(await site.ada.post("/admin/privacy/erase", json=body), 422, "invalid")


async def test_only_an_admin_erases(site: Site, problem: Check) -> None:
    for client in (site.alice, site.vic, site.shop):
        problem(await client.post("/admin/privacy/erase", json={"phone": PHONE}), 403, "forbidden")
    problem(await site.ada.post("/admin/privacy/erase", content=b"{"), 400, "malformed")
