"""The customer's tracking page: what it shows and when, in which form and language, and to how many at once."""

import base64
from contextlib import AsyncExitStack
from typing import Any

import httpx2
import pytest

from server.board import tracking
from server.contract.tracking import TrackingLinks
from tests.conftest import SECRET, StartNode
from tests.driver_app import driver_app
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.board_stream import BoardStream
from tests.web.conftest import DROPOFF, PICKUP, Check, Driver, Site
from tests.web.html_tree import parse
from tests.web.people import HTML
from tests.web.test_driver_runs import NORTH, answered, no_time_at_the_door, taken

PUBLIC = "https://dispatch.example"
JSON = {"Accept": "application/json"}
STREAM = {"Accept": "text/event-stream"}
STREAMS_PER_DELIVERY = 10


async def site_with(node: StartNode, **settings: Any) -> Site:
    return Site(await node(public_url=PUBLIC, **settings))


def path_of(delivery: dict[str, Any]) -> str:
    """The path of its link."""
    url: str = delivery["trackingUrl"]
    assert url.startswith(f"{PUBLIC}/track/")
    return url.removeprefix(PUBLIC)


async def seen(site: Site, path: str) -> dict[str, Any]:
    """What the customer sees, as JSON."""
    answer = await site.nobody.get(path, headers=JSON)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def shown(site: Site, path: str, language: str = "en") -> str:
    """The text of the page."""
    answer = await site.nobody.get(path, headers=HTML | {"Accept-Language": language})
    assert answer.status_code == 200, answer.text
    return parse(answer.text).text


async def stage(site: Site, path: str) -> str:
    found: str = (await seen(site, path))["stage"]
    return found


async def picked_up(driver: Driver, assignment: dict[str, Any]) -> None:
    done = await driver.post(f"/assignments/{assignment['id']}/pickup")
    assert done.status_code == 200, done.text


async def test_a_customer_follows_an_order_from_the_store_to_the_door(node: StartNode) -> None:
    site = await site_with(node)
    dan = await site.driver("Dan Quill", at_work=True, phone="+49 30 555 0142")
    delivery = await site.delivery(
        proofRequired=["pin"],
        pin="4711",
        notes="beware of Rex",
        dropoff=DROPOFF | {"address": "Quill Lane 7", "name": "Zoe Larch", "phone": "+49 30 555 0199"},
    )
    path = path_of(delivery)
    first = await seen(site, path)
    assert set(first) == {"stage", "storeName", "estimatedArrivalAt", "pin", "driver"}
    assert (first["stage"], first["storeName"], first["pin"], first["driver"]) == (
        "received",
        "Pizza Roma",
        "4711",
        None,
    )
    offer = await dan.offer()
    assignment = (await dan.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
    given = await seen(site, path)
    assert (given["stage"], given["driver"]) == ("assigned", None), "the driver's next stop is the store"
    assert given["estimatedArrivalAt"] is not None
    await picked_up(dan, assignment)
    near = await seen(site, path)
    assert near["stage"] == "arriving"
    assert near["driver"]["firstName"] == "Dan"
    assert set(near["driver"]) == {"firstName", "location"}
    assert (near["driver"]["location"]["lat"], near["driver"]["location"]["lon"]) == (52.52, 13.404)
    text = await shown(site, path)
    assert "Your order is on its way to you" in text
    assert "Dan" in text
    assert "1.2 km from you" in text
    assert "4711" in text
    whole = (await site.nobody.get(path, headers=HTML)).text
    for secret in ("Quill", "555", "Larch", "Rex", delivery["id"], assignment["id"], dan.id, delivery["sellerOrderId"]):
        assert secret not in whole + str(near), secret
    await dan.post(f"/assignments/{assignment['id']}/arrived", {"where": "dropoff"})
    assert await stage(site, path) == "arrived"
    done = await dan.post(f"/assignments/{assignment['id']}/complete", {"proof": {"pin": "4711"}})
    assert done.status_code == 200, done.text
    assert await seen(site, path) == {
        "stage": "delivered", "storeName": "Pizza Roma", "estimatedArrivalAt": None, "pin": None, "driver": None
    }  # fmt: skip
    assert "Your order was delivered" in await shown(site, path)
    await site.close()


async def test_a_driver_with_another_stop_first_is_not_shown(node: StartNode) -> None:
    site = await site_with(node)
    await no_time_at_the_door(site)
    dan = await site.driver(at_work=True, capacity=2)
    async with driver_app(site.node.ws_url, dan.id) as app:
        await app.hear("hello")
        _, near = await taken(site, app, 1)
        _, far = await taken(site, app, 3)
        for job in (near, far):
            await answered(app, "picked_up", assignmentId=job["id"])
        links = site.node.app.state.node.tracking_links
        first, second = (links.url(job["deliveryId"]).removeprefix(PUBLIC) for job in (near, far))
        assert [await stage(site, path) for path in (first, second)] == ["arriving", "picked_up"]
        assert (await seen(site, second))["driver"] is None
        assert "The driver has another stop before you." in await shown(site, second)
        await answered(app, "completed", assignmentId=near["id"])
        assert (await seen(site, second))["driver"]["firstName"] == "Dan"
    await site.close()


async def test_what_ends_otherwise_is_said(node: StartNode) -> None:
    site = await site_with(node)
    cancelled = await site.delivery()
    assert (await site.shop.post(f"/deliveries/{cancelled['id']}/cancel", json={"reason": "x"})).status_code == 200
    assert await stage(site, path_of(cancelled)) == "cancelled"
    assert "Please ask Pizza Roma what happens next." in await shown(site, path_of(cancelled))
    dan = await site.driver(at_work=True)
    failed, assignment = await site.assignment(dan)
    await picked_up(dan, assignment)
    body = {"reason": "recipient_absent", "then": "end"}
    assert (await dan.post(f"/assignments/{assignment['id']}/failed", body)).status_code == 200
    assert await stage(site, path_of(failed)) == "not_delivered"
    await site.close()


async def test_two_hours_after_the_end_and_once_erased_nothing_is_shown(node: StartNode, problem: Check) -> None:
    site = await site_with(node)
    for change in ("over_at = over_at - interval '2 hours'", "fingerprint = 'erased'"):
        delivery = await site.delivery()
        path = path_of(delivery)
        await site.shop.post(f"/deliveries/{delivery['id']}/cancel", json={"reason": "x"})
        before = "over_at = over_at - interval '119 minutes'"
        await site.node.change(f"UPDATE deliveries SET {before} WHERE id = $1", delivery["id"])
        assert await stage(site, path) == "cancelled"
        await site.node.change(f"UPDATE deliveries SET {change} WHERE id = $1", delivery["id"])
        problem(await site.nobody.get(path, headers=JSON), 404, "not_found")
        problem(await site.nobody.get(path, headers=STREAM), 404, "not_found")
        page = await site.nobody.get(path, headers=HTML | {"Accept-Language": "de-AT,de;q=0.9"})
        assert page.status_code == 404
        assert "Hier gibt es nichts zu sehen" in page.text
        assert "Pizza Roma" not in page.text
        assert page.headers["cache-control"] == "no-store"
    await site.close()


async def test_a_link_that_nobody_made_shows_nothing(node: StartNode, problem: Check) -> None:
    site = await site_with(node)
    delivery = await site.delivery()
    token = path_of(delivery).removeprefix("/track/")
    raw = bytearray(base64.urlsafe_b64decode(token + "="))
    raw[-1] ^= 1
    other = TrackingLinks(PUBLIC, ["another-secret-of-32-bytes-at-least!"]).url(delivery["id"])
    assert other is not None
    padded = chr(ord(token[-1]) + 1)  # the last character has spare bits
    for wrong in (
        base64.urlsafe_b64encode(raw).decode().rstrip("="), other.rpartition("/")[2], token[:-1], token + "A",
        token + "=", token[:-1] + padded, delivery["id"], "x", "%00", "%F0%9F%8D%95", token.upper(),
    ):  # fmt: skip
        for accept in (JSON, STREAM):
            problem(await site.nobody.get(f"/track/{wrong}", headers=accept), 404, "not_found")
        assert (await site.nobody.get(f"/track/{wrong}", headers=HTML)).status_code == 404
    await site.close()


async def test_links_outlive_a_change_of_the_secret(node: StartNode) -> None:
    site = await site_with(node)
    path = path_of(await site.delivery())
    changed = await site_with(node, secret="the-next-secret-of-32-bytes-at-least", secret_accepted=SECRET)
    assert await stage(changed, path) == "received"
    await site.close()
    await changed.close()


async def test_the_headers_keep_the_page_private(node: StartNode) -> None:
    site = await site_with(node)
    path = path_of(await site.delivery())
    for accept in (HTML, JSON):
        for method in ("GET", "HEAD"):
            answer = await site.nobody.request(method, path, headers=accept)
            assert answer.headers["cache-control"] == "no-store"
            assert answer.headers["x-robots-tag"] == "noindex"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["x-frame-options"] == "DENY"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            assert "set-cookie" not in answer.headers
    assert (await site.nobody.get(path)).headers["content-type"].startswith("text/html"), "without a wish, the page"
    await site.close()


async def test_the_page_is_in_the_readers_language(node: StartNode) -> None:
    site = await site_with(node)
    path = path_of(await site.delivery())
    assert "Your order was received" in await shown(site, path, "fr")
    assert "Ihre Bestellung ist eingegangen" in await shown(site, path, "de-CH,en;q=0.5")
    assert "Hemos recibido su pedido" in await shown(site, path, "es")
    policy = (await site.ada.get("/admin/policy")).json()
    assert (await site.ada.put("/admin/policy", json=policy | {"language": "de"})).status_code == 200
    assert "Ihre Bestellung ist eingegangen" in await shown(site, path, "fr"), "the company's, if there is no own one"
    assert "Your order was received" in await shown(site, path, "en")
    await site.close()


async def test_only_who_may_see_the_pin_gets_the_link(node: StartNode, site: Site) -> None:
    assert (await site.delivery())["trackingUrl"] is None, "without a public address there is none"
    public = await site_with(node)
    delivery = await public.delivery()
    for role, client in public.roles.items():
        body = (await client.get(f"/deliveries/{delivery['id']}")).json()
        assert (body["trackingUrl"] is None) == (role == "viewer"), role
    link = path_of(delivery)
    for client, there in ((public.alice, True), (public.ada, True), (public.vic, False)):
        page = await client.get(f"/board/deliveries/{delivery['id']}", headers=HTML)
        assert page.status_code == 200
        assert (PUBLIC + link in page.text) == there
    await public.close()


async def test_the_webhook_of_an_assignment_has_the_link(node: StartNode, receiver: Receiver) -> None:
    site = await site_with(node, webhooks_allow_private=True)
    made = await site.ada.post("/admin/webhooks", json={"url": receiver.url, "events": ["delivery.assigned"]})
    assert made.status_code == 201, made.text
    dan = await site.driver(at_work=True)
    delivery, _ = await site.assignment(dan)
    await until(lambda: receiver.heard)
    assert receiver.heard[0].message["data"]["delivery"]["trackingUrl"] == PUBLIC + path_of(delivery)
    await site.close()


async def opened(stack: AsyncExitStack, site: Site, path: str, language: str = "en") -> BoardStream | httpx2.Response:
    """A stream, or the answer that refuses it."""
    headers = STREAM | {"Accept-Language": language}
    answer = await stack.enter_async_context(site.nobody.stream("GET", path, headers=headers))
    if answer.status_code != 200:
        await answer.aread()
        return answer
    return BoardStream(answer)


async def test_an_open_page_hears_of_changes_and_of_the_end(node: StartNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "LOOK_SECONDS", 0.1)
    site = await site_with(node)
    dan = await site.driver("Dan Quill", at_work=True)
    delivery = await site.delivery()
    async with AsyncExitStack() as stack:
        english = await opened(stack, site, path_of(delivery))
        german = await opened(stack, site, path_of(delivery), "de")
        assert isinstance(english, BoardStream)
        assert isinstance(german, BoardStream)
        assert english.response.headers["cache-control"] == "no-store"
        assert english.response.headers["referrer-policy"] == "no-referrer"
        offer = await dan.offer()
        assignment = (await dan.post(f"/offers/{offer['id']}/accept")).json()["assignment"]
        await until(lambda: any("A driver collects your order" in sent.data for sent in english.sent))
        await until(lambda: any("Ihre Bestellung wird abgeholt" in sent.data for sent in german.sent))
        await picked_up(dan, assignment)
        await until(lambda: any("Dan" in sent.data for sent in english.sent))
        assert not any("Quill" in sent.data for sent in english.sent)
        await dan.post(f"/assignments/{assignment['id']}/complete")
        await until(lambda: any("data-over" in sent.data for sent in english.sent))
        change = "UPDATE deliveries SET over_at = over_at - interval '2 hours' WHERE id = $1"
        await site.node.change(change, delivery["id"])
        await until(lambda: english.ended and german.ended)
        assert english.sent[-1].name == "gone"
    await site.close()


async def test_open_streams_have_a_limit_of_a_link_and_of_the_node(node: StartNode, problem: Check) -> None:
    site = await site_with(node, tracking_streams=STREAMS_PER_DELIVERY + 1)
    one, two, three = [path_of(await site.delivery()) for _ in range(3)]
    tracker = site.node.app.state.node.tracker
    async with AsyncExitStack() as stack:
        for _ in range(STREAMS_PER_DELIVERY):
            assert isinstance(await opened(stack, site, one), BoardStream)
        refused = await opened(stack, site, one)
        assert isinstance(refused, httpx2.Response)
        problem(refused, 429, "too_many_requests")
        assert refused.headers["retry-after"] == "30"
        assert isinstance(await opened(stack, site, two), BoardStream), "another link has room"
        refused = await opened(stack, site, three)
        assert isinstance(refused, httpx2.Response), "the node has none"
        problem(refused, 429, "too_many_requests")
        assert await stage(site, three) == "received", "the page itself is there"
    await until(lambda: not tracker.open_pages)
    async with AsyncExitStack() as stack:
        assert isinstance(await opened(stack, site, one), BoardStream), "a reader who leaves makes room"
        await site.node.stop()
    await site.close()


async def test_a_driver_who_lost_the_order_is_not_shown(node: StartNode) -> None:
    site = await site_with(node)
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan, pickup=PICKUP, dropoff=NORTH[2])
    await picked_up(dan, assignment)
    body = {"reason": "Vehicle trouble", "force": True}
    moved = await site.ada.post(f"/admin/assignments/{assignment['id']}/reassign", json=body)
    assert moved.status_code == 200, moved.text
    again = await seen(site, path_of(delivery))
    assert (again["stage"], again["driver"]) == ("received", None)
    await site.close()
