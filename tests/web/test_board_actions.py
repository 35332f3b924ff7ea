"""The dialogs of the board and what they do: who may use them, refusals in plain words, and the history."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from server.dispatch.refusals import assignment_not_active, driver_not_available
from server.web.screens.board_answers import in_plain_words
from server.web.screens.board_bulk import BULK_LIMIT
from tests.waiting import until
from tests.web.conftest import Driver, Site
from tests.web.html_tree import Element, parse

NOTHING = "01900000-0000-7000-8000-000000000009"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "HX-Request": "true"}


async def post(client: httpx2.AsyncClient, path: str, **fields: Any) -> httpx2.Response:
    return await client.post(path, content=urlencode(fields, doseq=True), headers=FORM)


async def dialog(client: httpx2.AsyncClient, path: str) -> Element:
    answer = await client.get(path, headers={"HX-Request": "true"})
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


def said(answer: httpx2.Response) -> str:
    """What is announced once it is done."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["hx-reswap"] == "none"
    shown: str = answer.headers["hx-trigger"]
    return shown


async def status_of(site: Site, delivery: dict[str, Any]) -> str:
    status: str = (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["status"]
    return status


async def events_of(site: Site, delivery: dict[str, Any]) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = (await site.vic.get(f"/deliveries/{delivery['id']}/timeline")).json()["items"]
    return events


@pytest.fixture
async def dan_busy(site: Site) -> tuple[Driver, dict[str, Any], dict[str, Any]]:
    """Dan, a delivery that he accepted, and its assignment."""
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan)
    return dan, delivery, assignment


async def test_the_reassign_dialog_says_who_loses_what_and_ranks_who_could_have_it(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    _, delivery, assignment = dan_busy
    near, far = await site.driver("Nora"), await site.driver("Fred")
    await near.move(52.521, 13.405)
    await far.move(52.55, 13.405)
    await site.driver("Omar")

    async def both() -> bool:
        found = await dialog(site.ada, f"/board/deliveries/{delivery['id']}/reassign")
        return len(found.every("label", class_="choice")) >= 3

    await until(both)
    shown = await dialog(site.ada, f"/board/deliveries/{delivery['id']}/reassign")
    assert "Dan" in shown.one("p", class_="preview").text
    assert shown.one("input", name="version")["value"] == str(assignment["version"])
    choices = shown.every("label", class_="choice")
    names = [choice.one(class_="name").text for choice in choices]
    assert names[:3] == ["Search for the best driver", "Nora", "Fred"]
    assert "Dan" not in names
    assert choices[1].one(class_="way").text == "0.1 km · 1 min"
    assert choices[1].one(class_="because").text == "free"


async def test_reassigning_takes_it_from_the_driver_and_says_why_in_the_history(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    dan, delivery, assignment = dan_busy
    answer = await post(
        site.ada, f"/board/assignments/{assignment['id']}/reassign", reason="Vehicle trouble", version=1
    )
    assert delivery["sellerOrderId"] in said(answer)
    taken = [event for event in await events_of(site, delivery) if event["type"] == "delivery.reassigned"]
    assert taken[0]["actor"] == {"type": "admin", "id": "ada"}
    assert taken[0]["data"]["reason"] == "Vehicle trouble"
    assert (await dan.get()).json()["activeCount"] == 0


async def test_the_second_of_two_admins_sees_who_was_first(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    _, delivery, assignment = dan_busy
    path = f"/board/assignments/{assignment['id']}/reassign"
    said(await post(site.ada, path, reason="Driver is late", version=1))
    second = await post(site.client("admin", "boss"), path, reason="Driver is late", version=1)
    assert second.status_code == 409
    assert parse(second.text).one("p").text == "The order changed before: reassigned by ada."
    reassigned = [event for event in await events_of(site, delivery) if event["type"] == "delivery.reassigned"]
    assert len(reassigned) == 1
    late = await site.ada.get(f"/board/deliveries/{delivery['id']}/reassign")
    assert late.status_code == 409
    assert "reassigned by ada" in parse(late.text).one("p").text


async def test_an_older_version_is_refused_in_plain_words(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    _, delivery, assignment = dan_busy
    refused = await post(site.ada, f"/board/assignments/{assignment['id']}/reassign", reason="Late", version=7)
    assert refused.status_code == 409
    assert parse(refused.text).one("p").text == "This changed after you opened the form. Close it and open it again."
    assert await status_of(site, delivery) == "ASSIGNED"


async def test_reassigning_to_a_chosen_driver_assigns_it_or_offers_it(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    _, delivery, assignment = dan_busy
    nora = await site.driver("Nora", at_work=True)
    answer = await post(
        site.ada,
        f"/board/assignments/{assignment['id']}/reassign",
        reason="other",
        own_reason="Nora is closer",
        driver=nora.id,
        mode="assign",
        version=1,
    )
    assert "assigned to Nora" in said(answer)
    now = (await site.vic.get(f"/deliveries/{delivery['id']}")).json()["assignment"]
    assert (now["driverId"], now["source"]) == (nora.id, "manual")


async def test_a_picked_up_delivery_asks_for_the_box_to_be_ticked(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    dan, delivery, assignment = dan_busy
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    shown = await dialog(site.ada, f"/board/deliveries/{delivery['id']}/reassign")
    assert "picked up" in shown.one("p", class_="preview").text
    path = f"/board/assignments/{assignment['id']}/reassign"
    version = shown.one("input", name="version")["value"]
    refused = await post(site.ada, path, reason="Unwell", version=version)
    assert refused.status_code == 409
    assert "has picked up this order" in parse(refused.text).one("p").text
    said(await post(site.ada, path, reason="Unwell", version=version, force=1))


async def test_what_comes_back_can_be_reassigned_and_its_driver_paused(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    dan, delivery, assignment = dan_busy
    near_dan, near_the_store = await site.driver("Nora"), await site.driver("Stan")
    await near_dan.move(52.548, 13.405)
    await near_the_store.move(52.521, 13.405)
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    await dan.post(f"/assignments/{assignment['id']}/failed", {"reason": "recipient_absent", "then": "return"})
    await dan.move(52.55, 13.405)
    page = f"/board/deliveries/{delivery['id']}"
    offered = parse((await site.ada.get(page, headers={"Accept": "text/html"})).text.replace("<!doctype html>", ""))
    assert {button["data-do"] for button in offered.one(id="now").every("button")} == {
        "reassign",
        "cancel",
        "complete",
    }

    async def ranked() -> list[str]:
        choices = (await dialog(site.ada, f"{page}/reassign")).every("label", class_="choice")
        return [choice.one(class_="name").text for choice in choices]

    await until(lambda: _is(ranked, ["Search for the best driver", "Nora", "Stan"]))
    shown = await dialog(site.ada, f"{page}/reassign")
    assert "The new driver picks it up from Dan." in shown.one("p", class_="preview").text
    path = f"/board/assignments/{assignment['id']}/reassign"
    version = shown.one("input", name="version")["value"]
    said(await post(site.ada, path, reason="Unwell", version=version, force=1, pause_driver=1))
    assert (await dan.get()).json()["availability"] == "paused"
    after = parse((await site.ada.get(f"{page}/now")).text)
    facts = {pair.one("dt").text: pair.one("dd").text for pair in after.one(class_="facts").every("div")}
    assert facts["Pickup"] == "the driver Dan has the goods · 52.55000, 13.40500"


async def _is(ask: Callable[[], Awaitable[list[str]]], expected: list[str]) -> bool:
    return await ask() == expected


@pytest.mark.parametrize(("then", "status"), [("end", "FAILED"), ("return", "RETURNED")])
async def test_an_order_that_failed_offers_neither_cancel_nor_reassign(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]], then: str, status: str
) -> None:
    dan, delivery, assignment = dan_busy
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    await dan.post(f"/assignments/{assignment['id']}/failed", {"reason": "refused", "then": then})
    await dan.post(f"/assignments/{assignment['id']}/complete")
    assert await status_of(site, delivery) == status
    shown = parse((await site.ada.get(f"/board/deliveries/{delivery['id']}/now")).text)
    assert [button["data-do"] for button in shown.every("button")] == ["retry"]


async def test_a_waiting_delivery_is_offered_to_a_chosen_driver_by_ops(site: Site) -> None:
    nora = await site.driver("Nora")
    await nora.move(52.9, 13.9)
    delivery = await site.delivery()
    shown = await dialog(site.alice, f"/board/deliveries/{delivery['id']}/assign")
    assert [choice.one(class_="name").text for choice in shown.every("label", class_="choice")] == []
    answer = await post(
        site.alice, f"/board/deliveries/{delivery['id']}/assign", driver=nora.id, reason="Agreed by phone", mode="offer"
    )
    assert "offered to Nora" in said(answer)
    assert (await nora.offer())["deliveryId"] == delivery["id"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reason": "Nearest driver"}, "Choose a driver."),
        ({"driver": "nobody", "reason": "Nearest driver"}, "There is no driver with this id."),
        ({"driver": "01900000-0000-7000-8000-000000000000"}, "Choose a reason, or write your own."),
        ({"driver": "01900000-0000-7000-8000-000000000000", "reason": "other"}, "Choose a reason"),
        ({"driver": "01900000-0000-7000-8000-000000000000", "reason": "x" * 501}, "500 characters"),
    ],
)
async def test_what_is_missing_in_a_form_is_said(site: Site, fields: dict[str, str], words: str) -> None:
    delivery = await site.delivery()
    refused = await post(site.alice, f"/board/deliveries/{delivery['id']}/assign", **fields)
    assert refused.status_code == 422
    assert words in parse(refused.text).one("p").text


async def test_a_driver_who_cannot_take_it_is_refused_in_plain_words(site: Site) -> None:
    dan = await site.driver("Dan")
    delivery = await site.delivery()
    refused = await post(site.alice, f"/board/deliveries/{delivery['id']}/assign", driver=dan.id, reason="x")
    assert refused.status_code == 409
    assert parse(refused.text).one("p").text == "This driver cannot get this order now: offline."


async def test_searching_again_says_what_came_of_it(site: Site) -> None:
    delivery = await site.delivery()
    assert "No driver" in said(await post(site.alice, f"/board/deliveries/{delivery['id']}/search"))
    dan = await site.driver("Dan", at_work=True)
    await dan.offer()
    again = said(await post(site.alice, f"/board/deliveries/{delivery['id']}/search"))
    assert "offered" in again


async def test_the_history_shows_who_cancelled_and_acknowledged(site: Site) -> None:
    delivery = await site.delivery()
    path = f"/board/deliveries/{delivery['id']}"
    await dialog(site.alice, f"{path}/acknowledge")
    said(await post(site.alice, f"{path}/acknowledge", note="calling the store"))
    await dialog(site.alice, f"{path}/cancel")
    said(await post(site.alice, f"{path}/cancel", reason="Store closed"))
    by_type = {event["type"]: event for event in await events_of(site, delivery)}
    assert by_type["delivery.acknowledged"]["actor"]["id"] == "alice"
    assert by_type["delivery.acknowledged"]["data"]["note"] == "calling the store"
    assert by_type["delivery.cancelled"]["data"]["reason"] == "Store closed"
    refused = await post(site.alice, f"{path}/acknowledge", note="too late")
    assert refused.status_code == 409
    assert "no longer waiting" in parse(refused.text).one("p").text


async def test_an_admin_sets_a_drivers_availability(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    shown = await dialog(site.ada, f"/board/drivers/{dan.id}/availability")
    assert {box["value"] for box in shown.every("input", name="availability")} == {
        "available", "on_break", "paused", "shift_ended", "offline",
    }  # fmt: skip
    path = f"/board/drivers/{dan.id}/availability"
    said(await post(site.ada, path, availability="on_break", minutes="45", reason="Asked by phone"))
    driver = (await dan.get()).json()
    assert (driver["availability"], driver["availabilityReason"]) == ("on_break", "Asked by phone")
    assert driver["availabilityUntil"] is not None
    wrong = await post(site.ada, path, availability="asleep", reason="x")
    assert wrong.status_code == 422


async def bulk_dialog(client: httpx2.AsyncClient, action: str, ids: list[str]) -> list[str]:
    """The dialog for these: what its form carries."""
    shown = await dialog(client, f"/board/bulk/{action}?{urlencode({'id': ids}, doseq=True)}")
    return [box["value"] for box in shown.every("input", name="seen")]


def lines(answer: httpx2.Response) -> list[str]:
    """What became of each of a selection, sorted."""
    assert answer.status_code == 200, answer.text
    return sorted(" ".join(line.text.split()) for line in parse(f"<div>{answer.text}</div>").every("li"))


def deselected(answer: httpx2.Response) -> set[str]:
    """The ids that are selected no more."""
    return set(json.loads(answer.headers["hx-trigger"])["board:result"]["done"])


async def test_a_selection_is_done_with_together_and_each_has_a_line(site: Site) -> None:
    one, two, over = [await site.delivery(sellerOrderId=f"A-{number}") for number in (1, 2, 3)]
    await site.alice.post(f"/deliveries/{over['id']}/cancel", json={"reason": "x"})
    ids = [delivery["id"] for delivery in (one, two, over)]
    seen = await bulk_dialog(site.alice, "acknowledge", ids)
    answer = await post(site.alice, "/board/bulk/acknowledge", seen=seen, note="storm")
    assert lines(answer) == [
        "A-1 acknowledged",
        "A-2 acknowledged",
        "A-3 not changed: this order is no longer waiting for a driver",
    ]
    assert deselected(answer) == {one["id"], two["id"]}
    seen = await bulk_dialog(site.alice, "cancel", ids[:2])
    answer = await post(site.alice, "/board/bulk/cancel", seen=seen, reason="Store closed")
    assert lines(answer) == ["A-1 cancelled", "A-2 cancelled"]
    assert await status_of(site, one) == "CANCELLED"


async def test_all_the_work_of_a_sick_driver_is_moved_in_one_go(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True, capacity=2)
    first, _ = await site.assignment(dan)
    second, _ = await site.assignment(dan)
    seen = await bulk_dialog(site.ada, "reassign", [first["id"], second["id"]])
    answer = await post(site.ada, "/board/bulk/reassign", seen=seen, reason="Driver is unwell")
    assert [line.partition(" ")[2] for line in lines(answer)] == ["reassigned", "reassigned"]
    assert (await dan.get()).json()["activeCount"] == 0


async def test_what_colleagues_and_drivers_did_meanwhile_is_not_taken_back(site: Site) -> None:
    """Three under way, the dialog opened; then one is delivered and one given to another driver by a colleague."""
    dan = await site.driver("Dan", at_work=True, capacity=3)
    moving, given, left = [await site.assignment(dan, sellerOrderId=f"A-100{number}") for number in (1, 2, 3)]
    dora = await site.driver("Dora")
    await dora.move(52.521, 13.405)
    ids = [delivery["id"] for delivery, _ in (moving, given, left)]
    seen = await bulk_dialog(site.ada, "reassign", ids)
    assert (await dan.post(f"/assignments/{moving[1]['id']}/complete")).status_code == 200
    colleague = site.client("admin", "Bea")
    wanted = {"reason": "closer", "driverId": dora.id, "mode": "assign"}
    moved = await colleague.post(f"/admin/assignments/{given[1]['id']}/reassign", json=wanted)
    assert moved.status_code == 200, moved.text
    answer = await post(site.ada, "/board/bulk/reassign", seen=seen, reason="Driver is late")
    assert lines(answer) == [
        "A-1001 not changed: Dan delivered it",
        "A-1002 not changed: Bea assigned it to Dora",
        "A-1003 reassigned",
    ]
    assert deselected(answer) == {left[0]["id"]}
    assert "1 changed, 2 not changed." in answer.text
    now = (await site.vic.get(f"/deliveries/{given[0]['id']}")).json()["assignment"]
    assert now["driverId"] == dora.id


async def test_what_drivers_gave_back_or_could_not_deliver_meanwhile_is_left_as_it_is(site: Site) -> None:
    """Four with a driver when the dialogs are opened; then he gives one back, and fails at two doors."""
    dan = await site.driver("Dan", at_work=True, capacity=4)
    work = [await site.assignment(dan, sellerOrderId=f"A-100{number}") for number in (1, 2, 3, 4)]
    for _, assignment in work[1:]:
        assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    ids = [delivery["id"] for delivery, _ in work]
    forms = {action: await bulk_dialog(site.ada, action, ids) for action in ("reassign", "cancel")}
    released = {"reason": "vehicle"}
    assert (await dan.post(f"/assignments/{work[0][1]['id']}/release", released)).status_code == 200
    for (_, assignment), then in ((work[1], "end"), (work[2], "return")):
        failed = {"reason": "recipient_absent", "then": then}
        assert (await dan.post(f"/assignments/{assignment['id']}/failed", failed)).status_code == 200
    left = [
        "A-1001 not changed: Dan gave it back",
        "A-1002 not changed: Dan could not deliver it",
        "A-1003 not changed: Dan is bringing it back to the store",
    ]
    answer = await post(site.ada, "/board/bulk/reassign", seen=forms["reassign"], reason="late", force="1")
    assert lines(answer) == [*left, "A-1004 reassigned"]
    answer = await post(site.ada, "/board/bulk/cancel", seen=forms["cancel"], reason="Store closed", force="1")
    assert lines(answer) == [*left, "A-1004 not changed: you reassigned it from Dan"]
    assert [await status_of(site, delivery) for delivery, _ in work[1:3]] == ["FAILED", "RETURNING"]


async def test_tomorrows_order_is_dispatched_only_after_a_question(site: Site) -> None:
    dan = await site.driver(at_work=True)
    delivery = await site.delivery(dispatchAt="2099-01-01T09:00:00Z")
    path = f"/board/deliveries/{delivery['id']}"
    page = await site.alice.get(path, headers={"Accept": "text/html"})
    assert "data-asks" in page.text
    for asked in ("search", "assign"):
        shown = await dialog(site.alice, f"{path}/{asked}")
        assert "01 Jan" in shown.one("p", class_="preview").text
    picked = {"driver": dan.id, "reason": "near", "mode": "offer"}
    for refused in (await post(site.alice, f"{path}/search"), await post(site.alice, f"{path}/assign", **picked)):
        assert refused.status_code == 409
        assert "scheduled for later" in refused.text
    assert await status_of(site, delivery) == "SCHEDULED"
    assert "Offered" in said(await post(site.alice, f"{path}/search", early="1"))
    assert await status_of(site, delivery) == "READY"


async def test_tomorrows_order_stays_tomorrows_when_nobody_is_found(site: Site) -> None:
    delivery = await site.delivery(dispatchAt="2099-01-01T09:00:00Z")
    assert "No driver" in said(await post(site.alice, f"/board/deliveries/{delivery['id']}/search", early="1"))
    assert await status_of(site, delivery) == "SCHEDULED"
    assert [event["type"] for event in await events_of(site, delivery)] == ["delivery.created"]


async def test_what_a_colleague_decided_is_not_cancelled_but_what_the_search_did_is_no_obstacle(site: Site) -> None:
    """Both wait; then one is acknowledged by a colleague, and the search offers the other to a driver."""
    hers, searched = [await site.delivery(sellerOrderId=f"A-{number}") for number in (1, 2)]
    seen = await bulk_dialog(site.alice, "cancel", [hers["id"], searched["id"]])
    bea = site.client("ops", "Bea")
    assert (await bea.post(f"/admin/unassigned-orders/{hers['id']}/acknowledge")).status_code == 200
    dan = await site.driver("Dan", at_work=True)
    before = searched["version"]
    offer = await dan.offer()
    if offer["deliveryId"] != searched["id"]:
        assert (await dan.post(f"/offers/{offer['id']}/reject", {"reason": "too far"})).status_code == 200

    async def changed() -> bool:
        found: int = (await site.vic.get(f"/deliveries/{searched['id']}")).json()["version"]
        return bool(found > before)

    await until(changed)
    answer = await post(site.alice, "/board/bulk/cancel", seen=seen, reason="Store closed")
    assert lines(answer) == ["A-1 not changed: Bea acknowledged it", "A-2 cancelled"]
    assert await status_of(site, hers) == "READY"


async def test_a_single_dialog_takes_nothing_back_either(site: Site) -> None:
    order = await site.delivery()
    path = f"/board/deliveries/{order['id']}"
    dan, dora = await site.driver("Dan"), await site.driver("Dora")
    for driver in (dan, dora):
        await driver.move(52.9, 13.9)
    forms = {
        action: (await dialog(site.alice, f"{path}/{action}")).one("input", name="seen")["value"]
        for action in ("assign", "acknowledge", "cancel")
    }
    bea = site.client("ops", "Bea")
    offered = await bea.post(f"/admin/deliveries/{order['id']}/assign", json={"driverId": dora.id, "reason": "phone"})
    assert offered.status_code == 201, offered.text
    for action, fields in {
        "assign": {"driver": dan.id, "reason": "x"},
        "acknowledge": {},
        "cancel": {"reason": "x"},
    }.items():
        refused = await post(site.alice, f"{path}/{action}", seen=forms[action], **fields)
        assert refused.status_code == 409
        assert "Nothing was done: Bea offered it to Dora. This form is older" in parse(refused.text).one("p").text
    assert (await dora.offer())["deliveryId"] == order["id"]
    wrong = await post(site.alice, f"{path}/cancel", seen="x.y", reason="x")
    assert wrong.status_code == 422


async def test_availability_is_not_set_over_a_colleagues_or_the_drivers_own_decision(site: Site) -> None:
    names = ("Dan", "Dora", "Max")
    drivers = [await site.driver(name, at_work=True) for name in names]
    _, dora, other = drivers
    seen = await bulk_dialog(site.ada, "availability", [driver.id for driver in drivers])
    single = (await dialog(site.ada, f"/board/drivers/{dora.id}/availability")).one("input", name="seen")["value"]
    bea = site.client("admin", "Bea")
    wanted = {"availability": "shift_ended", "reason": "sick"}
    assert (await bea.post(f"/admin/drivers/{dora.id}/availability", json=wanted)).status_code == 200
    assert (await other.post("/availability/take-break", {"durationMinutes": 30})).status_code == 200
    answer = await post(site.ada, "/board/bulk/availability", seen=seen, availability="paused", reason="Storm")
    assert lines(answer) == [
        "Dan set to paused",
        "Dora not changed: Bea has just set “shift ended”",
        "Max not changed: the driver has just chosen “on a break”",
    ]
    refused = await post(
        site.ada, f"/board/drivers/{dora.id}/availability", seen=single, availability="paused", reason="Storm"
    )
    assert refused.status_code == 409
    assert (await dora.get()).json()["availability"] == "shift_ended"


async def test_more_than_the_limit_is_refused_before_anything_is_done(site: Site) -> None:
    order = await site.delivery()
    ids = [order["id"]] + [f"01900000-0000-7000-8000-{number:012}" for number in range(BULK_LIMIT)]
    refused = await site.alice.get(f"/board/bulk/cancel?{urlencode({'id': ids}, doseq=True)}")
    assert refused.status_code == 422
    said_so = f"{BULK_LIMIT + 1} selected. You can change at most {BULK_LIMIT} at once. Nothing was changed."
    assert parse(refused.text).one("p").text == said_so
    (seen,) = await bulk_dialog(site.alice, "cancel", [order["id"]])
    forms = [seen, *(f"{known}.1.1" for known in ids[1:])]
    refused = await post(site.alice, "/board/bulk/cancel", seen=forms, reason="x")
    assert refused.status_code == 422
    assert parse(refused.text).one("p").text == said_so
    assert await status_of(site, order) == "READY"


@pytest.mark.parametrize(
    "seen", ["", "x", "01900000-0000-7000-8000-000000000009", "01900000-0000-7000-8000-000000000009.1.x"]
)
async def test_a_form_that_cannot_be_read_does_nothing(site: Site, seen: str) -> None:
    for action in ("cancel", "reassign", "availability"):
        refused = await post(site.ada, f"/board/bulk/{action}", seen=seen, reason="x", availability="paused")
        assert refused.status_code == 422


ACTIONS = [
    ("assign", "ops"),
    ("search", "ops"),
    ("cancel", "ops"),
    ("acknowledge", "ops"),
]


@pytest.mark.parametrize(("action", "_role"), ACTIONS)
async def test_a_viewer_is_refused_by_the_server_too(site: Site, action: str, _role: str) -> None:
    delivery = await site.delivery()
    path = f"/board/deliveries/{delivery['id']}/{action}"
    assert (await post(site.vic, path, reason="x")).status_code == 403
    assert (await post(site.shop, path, reason="x")).status_code == 403
    assert (await post(site.nobody, path, reason="x")).status_code == 401
    if action != "search":
        assert (await site.vic.get(path)).status_code == 403
    assert await status_of(site, delivery) == "READY"


async def test_a_dispatcher_does_all_of_it_and_a_viewer_nothing(
    site: Site, dan_busy: tuple[Driver, dict[str, Any], dict[str, Any]]
) -> None:
    """Reassign after pickup with the box ticked, and set availability: alone, in bulk and by the driver's own paths."""
    dan, delivery, assignment = dan_busy
    moved, availability = f"/board/assignments/{assignment['id']}/reassign", f"/board/drivers/{dan.id}/availability"
    assert (await post(site.vic, moved, reason="x")).status_code == 403
    assert (await site.vic.get(f"/board/deliveries/{delivery['id']}/reassign")).status_code == 403
    assert (await post(site.vic, availability, availability="paused", reason="x")).status_code == 403
    for action in ("reassign", "availability"):
        assert (await post(site.vic, f"/board/bulk/{action}", seen="x", reason="x")).status_code == 403
    assert (await site.vic.post(f"/drivers/{dan.id}/availability/pause")).status_code == 403

    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    assert (await dialog(site.alice, f"/board/deliveries/{delivery['id']}/cancel")).every("input", name="force")
    assert (await dialog(site.alice, f"/board/deliveries/{delivery['id']}/reassign")).every("input", name="force")
    refused = await post(site.alice, moved, reason="Driver is unwell")
    assert refused.status_code == 409
    assert "tick the box" in refused.text
    said(await post(site.alice, moved, reason="Driver is unwell", force="1"))
    assert await status_of(site, delivery) == "READY"
    said(await post(site.alice, availability, availability="paused", reason="Driver is unwell"))
    assert (await dan.get()).json()["availability"] == "paused"
    assert (await site.alice.post(f"/drivers/{dan.id}/availability/resume")).json() == {"status": "available"}
    seen = await bulk_dialog(site.alice, "availability", [dan.id])
    answer = await post(site.alice, "/board/bulk/availability", seen=seen, availability="paused", reason="Storm")
    assert lines(answer) == ["Dan set to paused"]


async def test_an_alert_is_acknowledged_by_whoever_is_first(site: Site) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    policy["alerts"] |= {"unassignedCount": 1}
    assert (await site.ada.put("/admin/policy", json=policy)).status_code == 200
    for _ in range(3):
        await site.delivery()

    async def raised() -> list[Element]:
        page = parse((await site.vic.get("/board")).text.replace("<!doctype html>", ""))
        return [line for line in page.one("ul", id="alerts").every("li") if "data-zone" in line]

    (shown,) = await until(raised)
    alert = shown["id"].removeprefix("al-")
    assert "Orders unassigned" in shown.text
    assert "(threshold 1)" in shown.text
    assert shown.one("button")["data-alert"] == alert
    assert (await post(site.vic, f"/board/alerts/{alert}/acknowledge")).status_code == 403
    assert "by alice" in said(await post(site.alice, f"/board/alerts/{alert}/acknowledge"))
    assert "by alice" in said(await post(site.ada, f"/board/alerts/{alert}/acknowledge"))
    assert (await post(site.alice, f"/board/alerts/{NOTHING}/acknowledge")).status_code == 409


def test_a_refusal_says_whole_what_came_first_whatever_somebody_is_called() -> None:
    refusal = assignment_not_active("reassigned by Ada: night shift", "nobody")
    assert in_plain_words(refusal) == "The order changed before: reassigned by Ada: night shift."
    assert in_plain_words(assignment_not_active("completed", "over")) == "The order changed before: completed."
    assert in_plain_words(driver_not_available("on_break")).endswith("now: on a break.")
