"""The steps of an order that ops report on its page: done, refused in plain words, forbidden and unreadable."""

import asyncio
from datetime import datetime
from typing import Any

import pytest

from tests.web.conftest import Driver, Site
from tests.web.html_tree import parse
from tests.web.test_board_actions import dialog, events_of, post, said, status_of

STEPS = ["ready", "delay", "restore", "retry", "pickup", "complete", "failed", "release"]


def path(delivery: dict[str, Any], step: str) -> str:
    return f"/board/deliveries/{delivery['id']}/steps/{step}"


async def seen(site: Site, delivery: dict[str, Any], step: str) -> str:
    """What the dialog's form carries."""
    value: str = (await dialog(site.alice, path(delivery, step))).one("input", name="seen")["value"]
    return value


async def take(site: Site, delivery: dict[str, Any], step: str, **fields: Any) -> str:
    """Open the dialog and post its form; what is announced."""
    return said(await post(site.alice, path(delivery, step), seen=await seen(site, delivery, step), **fields))


async def offered(site: Site, delivery: dict[str, Any]) -> dict[str, str]:
    """The steps on the order's page: the label of each."""
    shown = parse((await site.alice.get(f"/board/deliveries/{delivery['id']}/now")).text)
    buttons = {button["data-do"]: button.text for button in shown.every("button")}
    return {name: label for name, label in buttons.items() if name in STEPS}


async def last(site: Site, delivery: dict[str, Any], kind: str) -> dict[str, Any]:
    return [event for event in await events_of(site, delivery) if event["type"] == kind][-1]


@pytest.fixture
async def job(site: Site) -> tuple[Driver, dict[str, Any], dict[str, Any]]:
    """Dan, a delivery that he accepted, and its assignment."""
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan)
    return dan, delivery, assignment


Job = tuple[Driver, dict[str, Any], dict[str, Any]]


async def test_goods_are_late_and_then_ready(site: Site) -> None:
    delivery = await site.delivery()
    assert list(await offered(site, delivery)) == ["delay"]
    assert "is delayed" in await take(site, delivery, "delay", minutes=20, reason="Kitchen is busy")
    changed = await last(site, delivery, "delivery.changed")
    assert (changed["actor"]["id"], changed["data"]["reason"]) == ("alice", "Kitchen is busy")
    assert list(await offered(site, delivery)) == ["ready", "delay"]
    assert "is ready" in await take(site, delivery, "ready")
    assert list(await offered(site, delivery)) == ["delay"]
    assert "is delayed" in await take(site, delivery, "delay", minutes=1)


async def test_two_dialogs_of_one_delay_do_not_add_up(site: Site) -> None:
    delivery = await site.delivery()
    form = {"seen": await seen(site, delivery, "delay"), "minutes": "20"}
    answers = await asyncio.gather(*(post(site.alice, path(delivery, "delay"), **form) for _ in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


@pytest.mark.parametrize("minutes", ["", "0", "241", "ten", "-5"])
async def test_a_delay_has_minutes(site: Site, minutes: str) -> None:
    delivery = await site.delivery()
    answer = await post(site.alice, path(delivery, "delay"), seen=await seen(site, delivery, "delay"), minutes=minutes)
    assert answer.status_code == 422
    assert "inutes" in parse(answer.text).one("p").text


async def test_what_was_cancelled_by_mistake_waits_again(site: Site) -> None:
    delivery = await site.delivery()
    assert "restore" not in await offered(site, delivery)
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "Placed twice"})
    assert await offered(site, delivery) == {"restore": "Restore"}
    shown = parse((await site.alice.get(f"/board/deliveries/{delivery['id']}/now")).text)
    until = datetime.fromisoformat((await site.shop.get(f"/deliveries/{delivery['id']}")).json()["restorableUntil"])
    (button,) = [button for button in shown.every("button") if button["data-do"] == "restore"]
    assert button["data-ends"] == str(round(until.timestamp() * 1000))
    assert "is restored" in await take(site, delivery, "restore")
    assert await status_of(site, delivery) == "READY"
    again = await site.alice.get(path(delivery, "restore"))
    assert again.status_code == 409
    assert parse(again.text).one("p").text == "This order is not cancelled."


async def test_what_was_cancelled_too_long_ago_has_no_restore(site: Site) -> None:
    delivery = await site.delivery()
    await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "Placed twice"})
    await site.node.change("UPDATE deliveries SET over_at = now() - interval '601 s' WHERE id = $1", delivery["id"])
    assert await offered(site, delivery) == {}


async def test_a_driver_whose_phone_is_dead_delivers(site: Site, job: Job) -> None:
    dan, delivery, _ = job
    assert list(await offered(site, delivery)) == ["delay", "pickup", "complete", "release"]
    assert "Dan" in (await dialog(site.alice, path(delivery, "pickup"))).one("p", class_="preview").text
    assert "is picked up" in await take(site, delivery, "pickup", reason="Phone is dead")
    picked_up = await last(site, delivery, "delivery.picked_up")
    assert (picked_up["actor"]["id"], picked_up["data"]["reason"]) == ("alice", "Phone is dead")
    assert list(await offered(site, delivery)) == ["complete", "failed"]
    late = await site.alice.get(path(delivery, "release"))
    assert (late.status_code, parse(late.text).one("p").text) == (409, "This delivery is already picked up.")
    assert "is delivered" in await take(site, delivery, "complete", reason="Reported by phone")
    assert await status_of(site, delivery) == "DELIVERED"
    assert await offered(site, delivery) == {}
    assert (await dan.get()).json()["activeCount"] == 0


async def test_dispatch_hears_of_a_locked_pin_and_reports_the_delivery(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan, proofRequired=["pin"], pin="0417")
    page, of_pin = f"/board/deliveries/{delivery['id']}/now", f"/assignments/{assignment['id']}/pin"
    assert (await dan.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
    for _ in range(4):
        assert (await dan.post(of_pin, {"pin": "9999"})).status_code == 409
    assert "is locked" not in (await site.alice.get(page)).text
    assert (await dan.post(of_pin, {"pin": "9999"})).status_code == 409
    assert "the PIN is locked after 5 wrong ones" in (await site.alice.get(page)).text
    [notice] = (await site.alice.get("/admin/notices?kind=delivery.pin_wrong")).json()["items"]
    assert (notice["deliveryId"], notice["severity"]) == (delivery["id"], "warning")
    assert "Dan typed 5 wrong PINs" in notice["text"]
    assert "PIN could not be checked" in (await site.alice.get(path(delivery, "complete"))).text
    assert "is delivered" in await take(site, delivery, "complete", reason="PIN could not be checked")
    assert "is locked after" not in (await site.alice.get(page)).text


async def test_an_order_is_given_back_for_the_driver(site: Site, job: Job) -> None:
    _, delivery, _ = job
    assert "is given back" in await take(site, delivery, "release", reason="vehicle", own_reason="flat tyre")
    released = await last(site, delivery, "delivery.released")
    assert (released["actor"]["id"], released["data"]["reason"], released["data"]["note"]) == (
        "alice",
        "vehicle",
        "flat tyre",
    )
    assert await status_of(site, delivery) == "READY"


@pytest.mark.parametrize(("then", "status"), [("return", "RETURNED"), ("end", "FAILED")])
async def test_a_failed_handover_is_reported_and_retried(site: Site, job: Job, then: str, status: str) -> None:
    dan, delivery, assignment = job
    early = await site.alice.get(path(delivery, "failed"))
    assert (early.status_code, parse(early.text).one("p").text) == (409, "This order is not picked up yet.")
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    assert "could not be delivered" in await take(site, delivery, "failed", reason="refused", then=then)
    if then == "return":
        assert await offered(site, delivery) == {"complete": "Returned to the store"}
        assert "is returned to the store" in await take(site, delivery, "complete", reason="No network")
    assert await status_of(site, delivery) == status
    assert await offered(site, delivery) == {"retry": "Retry"}
    assert "waits for a driver again" in await take(site, delivery, "retry", reason="Address corrected")
    assert (await last(site, delivery, "delivery.retried"))["data"]["reason"] == "Address corrected"


@pytest.mark.parametrize(
    ("step", "fields", "words"),
    [
        ("pickup", {}, "Choose a reason"),
        ("complete", {"reason": "other"}, "Choose a reason"),
        ("release", {"reason": "bored"}, "Choose a reason"),
        ("release", {"reason": "other"}, "Choose a reason"),
        ("failed", {"reason": "refused", "then": "eat it"}, "Choose what happens with the goods"),
        ("failed", {"reason": "refused"}, "Choose what happens with the goods"),
        ("failed", {"own_reason": "x" * 1001, "then": "end"}, "at most 1000 characters"),
    ],
)
async def test_what_is_missing_is_named(site: Site, job: Job, step: str, fields: dict[str, str], words: str) -> None:
    dan, delivery, assignment = job
    if step == "failed":
        await dan.post(f"/assignments/{assignment['id']}/pickup")
    form = {"seen": await seen(site, delivery, step), **fields}
    answer = await post(site.alice, path(delivery, step), **form)
    assert answer.status_code == 422
    assert words in parse(answer.text).one("p").text


async def test_delivered_does_not_become_returned_because_the_driver_was_faster(site: Site, job: Job) -> None:
    dan, delivery, assignment = job
    await dan.post(f"/assignments/{assignment['id']}/pickup")
    shown = await seen(site, delivery, "complete")
    await dan.post(f"/assignments/{assignment['id']}/failed", {"reason": "refused", "then": "return"})
    answer = await post(site.alice, path(delivery, "complete"), seen=shown, reason="Phone is dead")
    assert answer.status_code == 409
    assert parse(answer.text).one("p").text == (
        "Nothing was done: Dan is bringing it back to the store."
        " This form is older than that: close it and open it again."
    )
    assert await status_of(site, delivery) == "RETURNING"


async def test_what_the_same_person_did_in_another_tab_is_named(site: Site, job: Job) -> None:
    _, delivery, _ = job
    shown = {step: await seen(site, delivery, step) for step in ("delay", "pickup")}
    assert (await post(site.alice, path(delivery, "delay"), seen=shown["delay"], minutes="10")).status_code == 200
    answer = await post(site.alice, path(delivery, "pickup"), seen=shown["pickup"], reason="Phone is dead")
    assert (answer.status_code, parse(answer.text).one("p").text) == (
        409,
        "Nothing was done: you changed it. This form is older than that: close it and open it again.",
    )


async def test_of_two_dispatchers_the_second_learns_who_was_first(site: Site, job: Job) -> None:
    _, delivery, _ = job
    shown = await seen(site, delivery, "release")
    said(await post(site.ada, path(delivery, "release"), seen=shown, reason="unwell"))
    answer = await post(site.alice, path(delivery, "release"), seen=shown, reason="vehicle")
    assert answer.status_code == 409
    assert "ada" in parse(answer.text).one("p").text


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_is_for_ops_alone_and_needs_its_form(site: Site, job: Job, step: str) -> None:
    _, delivery, _ = job
    other = await site.delivery()
    shown = await seen(site, delivery, "delay")
    for client, status in ((site.vic, 403), (site.shop, 403), (site.nobody, 401)):
        assert (await client.get(path(delivery, step))).status_code == status
        assert (await post(client, path(delivery, step), seen=shown, reason="other")).status_code == status
    for unreadable in ("", "x", shown + ".1"):
        answer = await post(site.alice, path(delivery, step), seen=unreadable, reason="vehicle")
        assert answer.status_code == 422
    assert (await post(site.alice, path(other, step), seen=shown, reason="vehicle")).status_code == 422
    assert await status_of(site, delivery) == "ASSIGNED"


async def test_a_step_or_an_order_that_does_not_exist_is_not_found(site: Site, job: Job) -> None:
    _, delivery, _ = job
    assert (await site.alice.get(path(delivery, "dance"))).status_code == 404
    assert (await post(site.alice, path(delivery, "dance"), reason="x")).status_code == 404
    assert (await site.alice.get(path({"id": "01900000-0000-7000-8000-000000000009"}, "ready"))).status_code == 404
