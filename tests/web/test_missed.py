"""What `hello` replays to a driver who was away: exact numbers, and nothing of a customer whose job has ended."""

from typing import Any

import pytest

from tests.driver_app import driver_app
from tests.web.conftest import DROPOFF, PICKUP, Driver, Site

CUSTOMER = DROPOFF | {"name": "Zoe Quill", "phone": "555-0142", "notes": "ring twice"}
STORE = PICKUP | {"name": "Zed Back", "phone": "555-0177", "notes": "back door"}
ORDER = {
    "pickup": STORE, "dropoff": CUSTOMER, "notes": "no walnuts", "driverPayCents": 700, "tipCents": 50,
    "proofRequired": ["photo"],
}  # fmt: skip
PERSONAL = ("Zoe", "555-0142", "ring twice", "Zed", "555-0177", "back door", "walnuts")


async def taken(site: Site) -> tuple[Driver, dict[str, Any], dict[str, Any], int]:
    """A driver with a delivery, and the number of their stream when they went away: before they accepted it."""
    dan = await site.driver(at_work=True)
    seq = (await dan.get("/state")).json()["seq"]
    order, job = await site.assignment(dan, **ORDER)
    return dan, order, job, seq


async def missed(site: Site, dan: Driver, last_seq: int) -> list[dict[str, Any]]:
    async with driver_app(site.node.ws_url, dan.id, last_seq=last_seq) as app:
        hello = await app.hear("hello")
    assert [message["seq"] for message in hello["missed"]] == list(range(last_seq + 1, hello["seq"] + 1))
    found: list[dict[str, Any]] = hello["missed"]
    return found


async def fails(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any], then: str) -> None:
    await dan.post(f"/assignments/{job['id']}/pickup")
    why = {"reason": "refused", "then": then}
    assert (await dan.post(f"/assignments/{job['id']}/failed", why)).status_code == 200


async def delivers(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    done = await site.alice.post(f"/admin/assignments/{job['id']}/complete", json={"reason": "the phone is dead"})
    assert done.status_code == 200, done.text


async def brings_back(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    await fails(site, dan, order, job, "return")
    assert (await dan.post(f"/assignments/{job['id']}/complete")).status_code == 200


async def ends(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    await fails(site, dan, order, job, "end")


async def releases(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    assert (await dan.post(f"/assignments/{job['id']}/release", {"reason": "vehicle"})).status_code == 200


async def loses_it(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    taken_back = await site.alice.post(f"/admin/assignments/{job['id']}/reassign", json={"reason": "too slow"})
    assert taken_back.status_code == 200, taken_back.text


async def is_cancelled(site: Site, dan: Driver, order: dict[str, Any], job: dict[str, Any]) -> None:
    assert (await site.shop.post(f"/deliveries/{order['id']}/cancel", json={"reason": "closed"})).status_code == 200


@pytest.mark.parametrize("how", [delivers, brings_back, ends, releases, loses_it, is_cancelled])
async def test_of_a_job_that_has_ended_nothing_personal_is_replayed(site: Site, how: Any) -> None:
    """Every message is there, with the fields that the last one has: it was written after the end."""
    dan, order, job, seq = await taken(site)
    await how(site, dan, order, job)
    said = [message for message in await missed(site, dan, seq) if message["type"] == "assignment"]
    assert [message["assignment"]["status"] == "ACTIVE" for message in said] == [True] * (len(said) - 1) + [False]
    last = said[-1]["assignment"]
    for message in said:
        shown = message["assignment"]
        assert shown.keys() == last.keys()
        assert (shown["id"], shown["pickup"], shown["dropoff"]) == (job["id"], PICKUP, DROPOFF)
    assert not [word for word in PERSONAL if word in str(said)]


async def test_of_a_job_in_hand_everything_is_replayed(site: Site) -> None:
    """Also while the goods come back, and beside one that has ended."""
    dan, order, job, seq = await taken(site)
    await is_cancelled(site, dan, order, job)
    order, job = await site.assignment(dan, **ORDER)
    await fails(site, dan, order, job, "return")
    said = [message["assignment"] for message in await missed(site, dan, seq) if message["type"] == "assignment"]
    own = [shown for shown in said if shown["id"] == job["id"]]
    assert len(own) == 3
    for shown in own:
        assert (shown["pickup"], shown["dropoff"], shown["notes"]) == (STORE, CUSTOMER, "no walnuts")
        assert shown["proofRequired"] == ["photo"]
    assert not [word for word in PERSONAL if word in str([shown for shown in said if shown["id"] != job["id"]])]


async def test_a_socket_that_heard_nothing_gets_no_more_than_one_that_comes_back(site: Site) -> None:
    """As after hints between nodes that were lost: the messages are read from the database."""
    dan = await site.driver(at_work=True)
    hub = site.node.app.state.node.hub
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.hear("hello")
        socket = hub.sockets.pop(dan.id)
        order, job = await site.assignment(dan, **ORDER)
        await is_cancelled(site, dan, order, job)
        hub.sockets[dan.id] = socket
        hub.look_now()
        await app.hear(lambda message: message["type"] == "assignment" and message["assignment"]["status"] != "ACTIVE")
        said = [message["assignment"] for message in app.streamed() if message["type"] == "assignment"]
        assert [shown["status"] for shown in said] == ["ACTIVE", "CANCELLED"]
        assert not [word for word in PERSONAL if word in str(said)]


async def test_a_message_whose_text_was_erased_is_replayed_as_its_type_says(site: Site) -> None:
    dan = await site.driver()
    seq = (await dan.get("/state")).json()["seq"]
    text = {"text": "Call Zoe on 555-0142"}
    assert (await site.alice.post(f"/admin/drivers/{dan.id}/messages", json=text)).status_code < 300
    erased = await site.ada.post("/admin/privacy/erase", json={"phone": "555-0142"})
    assert erased.status_code == 200, erased.text
    [said] = [message["message"] for message in await missed(site, dan, seq) if message["type"] == "message"]
    assert said["text"] == ""
