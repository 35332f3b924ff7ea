"""The previous release and this one on one database while orders flow: a rolling upgrade, and the way back."""

import json
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from tests.driver_app import driver_app
from tests.process import Process
from tests.receiver import Receiver
from tests.torture.evidence import Evidence, read_database
from tests.torture.promises.fold import folded
from tests.upgrade.balancer import Balancer
from tests.upgrade.conftest import Releases
from tests.waiting import until
from tests.web.conftest import DROPOFF, PICKUP

Call = Callable[..., Awaitable[httpx2.Response]]
CITY = ("--drivers", "30", "--orders-per-minute", "60", "--speed", "40")
ENOUGH = 20
"""So many orders are delivered before the next step."""
UNKNOWN_TO_THE_PREVIOUS = frozenset(
    {"promised_at", "estimated_pickup_at", "estimated_delivery_at", "over_at", "watch_at", "risk_since", "risks"}
)
"""Fields of deliveries that its nodes neither set nor clear."""


def errors(process: Process) -> list[dict[str, object]]:
    """What its log calls an error."""
    lines = [json.loads(line) for line in process.out.splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] in ("error", "critical")]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_orders_flow_while_nodes_are_replaced_and_while_they_are_put_back(
    releases: Releases,
    front: Balancer,
    call: Call,
    receiver: Receiver,
    delivered: Callable[[], Awaitable[set[str]]],
    empty_database_url: str,
) -> None:
    nodes: list[Process] = []

    async def start(release: str) -> str:
        nodes.append(releases.run(release, "serve", "--port", "0"))
        front.nodes.append(await nodes[-1].ready())
        return front.nodes[-1]

    async def more_delivered() -> None:
        goal = len(await delivered()) + ENOUGH

        async def reached() -> bool:
            assert city.code is None, city.err
            return len(await delivered()) >= goal

        await until(reached, within=120)

    async def end(url: str) -> None:
        node = nodes[front.nodes.index(url)]
        front.nodes.remove(url)
        nodes.remove(node)
        assert await node.end() == 0
        assert errors(node) == []

    async def all_sent() -> bool:
        return sent() == await delivered()

    def sent() -> set[str]:
        heard = [request.message for request in receiver.heard]
        return {message["data"]["deliveryId"] for message in heard if message["type"] == "delivery.delivered"}

    old = await start("previous")
    made = await call(old, "POST", "/admin/webhooks", role="admin", subject="ada", json={"url": receiver.url})
    assert made.status_code == 201, made.text
    city = releases.run("previous", "simulate", "--url", front.url, *CITY)
    await more_delivered()
    new = await start("this")
    await more_delivered()
    await end(old)
    await more_delivered()
    old = await start("previous")
    await more_delivered()
    await end(new)
    await more_delivered()
    assert await city.end() == 0
    await until(all_sent)
    await end(old)
    verdict = folded(Evidence(await read_database(empty_database_url)), apart_from=UNKNOWN_TO_THE_PREVIOUS)
    assert verdict.broken == []
    assert verdict.checked > 10 * ENOUGH


async def test_a_job_fails_only_when_every_node_can_read_that_and_is_still_shown_after_a_rollback(
    releases: Releases, call: Call
) -> None:
    old = releases.run("previous", "serve", "--port", "0")
    old_url = await old.ready()
    new = releases.run("this", "serve", "--port", "0")
    new_url = await new.ready()
    admin = {"role": "admin", "subject": "ada"}
    policy = (await call(new_url, "GET", "/admin/policy", **admin)).json()
    added = {"language": "de", "maxTripKm": 50.0, "offerTimeoutSeconds": 77}
    assert (await call(new_url, "PUT", "/admin/policy", json=policy | added, **admin)).status_code == 200

    async def read_by_the_old_node() -> bool:
        return bool((await call(old_url, "GET", "/admin/policy", **admin)).json()["offerTimeoutSeconds"] == 77)

    await until(read_by_the_old_node)
    registered = await call(new_url, "POST", "/drivers", json={"name": "Dan", "capacity": 2})
    driver_id = registered.json()["id"]
    async with driver_app(new_url.replace("http", "ws"), driver_id) as dan:
        await call(new_url, "POST", f"/drivers/{driver_id}/resume", role="driver", subject=driver_id)
        await dan.ask("location", lat=PICKUP["lat"], lon=PICKUP["lon"])
        jobs = [await _picked_up(call, url, driver_id, number) for number, url in enumerate((old_url, new_url))]
        failed = {"reason": "refused", "then": "end"}
        way = f"/drivers/{driver_id}/assignments/{jobs[0]}/failed"
        refused = await call(new_url, "POST", way, role="driver", subject=driver_id, json=failed)
        assert (refused.status_code, refused.json()["code"]) == (503, "not_yet_supported")
        assert await old.end() == 0

        async def taken() -> bool:
            answer = await call(new_url, "POST", way, role="driver", subject=driver_id, json=failed)
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        await until(taken)
        gone = (await call(new_url, "GET", "/deliveries?status=FAILED", role="ops", subject="alice")).json()["items"][
            0
        ]["id"]
    back = releases.run("previous", "serve", "--port", "0")
    back_url = await back.ready()
    assert await new.end() == 0
    for path in ("/deliveries", f"/deliveries/{gone}", "/drivers", f"/drivers/{driver_id}/state", "/board"):
        answer = await call(back_url, "GET", path, role="admin", subject="ada")
        assert answer.status_code == 200, (path, answer.text)
    assert (await call(back_url, "GET", f"/deliveries/{gone}", **admin)).json()["status"] == "FAILED"
    policy = (await call(back_url, "GET", "/admin/policy", **admin)).json()
    assert (policy["version"], policy["offerTimeoutSeconds"]) == (2, 77)
    changed = await call(back_url, "PUT", "/admin/policy", json=policy | {"offerTimeoutSeconds": 78}, **admin)
    assert changed.status_code == 200, changed.text
    way = f"/drivers/{driver_id}/assignments/{jobs[1]}/complete"
    completed = await call(back_url, "POST", way, role="driver", subject=driver_id)
    assert completed.json()["assignment"]["status"] == "COMPLETED", completed.text
    assert await back.end() == 0
    assert [errors(node) for node in (old, new, back)] == [[], [], []]


async def _picked_up(call: Call, url: str, driver_id: str, number: int) -> str:
    """An order that this driver has picked up: the assignment's id."""
    order = {"pickup": PICKUP, "dropoff": DROPOFF, "sellerOrderId": f"A-{number}", "storeName": "Corner Shop"}
    order |= {"sellerId": "corner"}
    posted = await call(url, "POST", "/deliveries", json=order)
    assert posted.status_code == 201, posted.text
    delivery_id = posted.json()["id"]

    async def offered() -> str | None:
        state = await call(url, "GET", f"/drivers/{driver_id}/state", role="driver", subject=driver_id)
        offers = [offer["id"] for offer in state.json()["offers"] if offer["deliveryId"] == delivery_id]
        return offers[0] if offers else None

    offer_id = await until(offered)
    way = f"/drivers/{driver_id}"
    accepted = await call(url, "POST", f"{way}/offers/{offer_id}/accept", role="driver", subject=driver_id)
    assert accepted.status_code == 200, accepted.text
    assignment_id = accepted.json()["assignment"]["id"]
    done = await call(url, "POST", f"{way}/assignments/{assignment_id}/pickup", role="driver", subject=driver_id)
    assert done.status_code == 200, done.text
    return str(assignment_id)
