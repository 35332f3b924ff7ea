"""Links that leave the server begin with the path of the public URL: in answers, in the timeline, in webhooks."""

from typing import Any

from tests.conftest import StartNode
from tests.notify.conftest import a_webhook
from tests.receiver import Receiver
from tests.waiting import until
from tests.web.conftest import Site

ROOT = "/dispatch"


async def test_the_link_of_a_ticket_begins_with_the_path(node: StartNode, receiver: Receiver) -> None:
    site = Site(await node(public_url=f"https://fleet.example{ROOT}/", webhooks_allow_private=True))
    policy = (await site.ada.get("/admin/policy")).json()
    soon = [{"level": 1, "afterSeconds": 1, "actions": ["ticket"]}]
    assert (await site.ada.put("/admin/policy", json=policy | {"escalation": soon})).status_code == 200
    await a_webhook(site, receiver, "ticket.created")
    made = await site.shop.post("/deliveries", json=site.order())
    delivery_id = made.json()["id"]
    assert made.headers["location"] == f"{ROOT}/deliveries/{delivery_id}"
    link = f"{ROOT}/admin/unassigned-orders/{delivery_id}"

    async def tickets() -> Any:
        return (await site.alice.get("/admin/tickets")).json()["items"]

    assert [ticket["actionUrl"] for ticket in await until(tickets)] == [link]
    [sent] = await receiver.messages(1)
    assert sent.message["data"]["data"]["actionUrl"] == link
    timeline = (await site.shop.get(f"/deliveries/{delivery_id}/timeline")).json()["items"]
    assert [item["data"]["actionUrl"] for item in timeline if item["type"] == "ticket.created"] == [link]
    opened = await site.anonymous({"Accept": "text/html"}).get(link)
    assert opened.headers["location"].startswith(f"{ROOT}/login?next=")
    assert (await site.nobody.get("/openapi.json")).json()["servers"] == [{"url": ROOT}]
    for path in ("", "/", "/nowhere", "board"):
        assert (await site.nobody.get(f"{ROOT}{path}")).status_code in (303, 404)
    await site.close()
