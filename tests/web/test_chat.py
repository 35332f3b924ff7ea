"""Messages between dispatch and drivers: over HTTP, on the socket, on the board."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from server.dispatch.commands import Command, SendMessage
from server.dispatch.refusals import TRY_AGAIN
from server.ids import new_id
from server.web.api.chat import TOGETHER
from tests.driver_app import driver_app
from tests.waiting import until
from tests.web.board_stream import board_stream, position_of
from tests.web.conftest import Check, Driver, Site
from tests.web.html_tree import Element, parse
from tests.web.test_board_actions import post, said


async def written(site: Site, driver: Driver, text: str = "Call me") -> dict[str, Any]:
    sent = await site.alice.post(f"/admin/drivers/{driver.id}/messages", json={"text": text})
    assert sent.status_code == 201, sent.text
    message: dict[str, Any] = sent.json()
    return message


async def chat_of(site: Site, driver: Driver) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await site.vic.get(f"/admin/drivers/{driver.id}/messages")).json()["items"]
    return items


async def test_a_message_waits_until_the_driver_has_seen_it(site: Site, problem: Check) -> None:
    dan, dora = await site.driver("Dan", at_work=True), await site.driver("Dora")
    message = await written(site, dan, "  Call me ")
    assert message.keys() == {"id", "text", "from", "at"}
    assert (message["text"], message["from"]) == ("Call me", "alice")
    assert (await dan.get("/state")).json()["messages"] == [message]
    assert (await chat_of(site, dan))[0] == message | {"byDriver": False, "seenAt": None}
    seen = f"/messages/{message['id']}/seen"
    problem(await dora.post(seen), 404, "not_found")
    problem(await dan.post(f"/messages/{new_id()}/seen"), 404, "not_found")
    for _ in range(2):
        assert (await dan.post(seen)).status_code == 204
    assert (await dan.get("/state")).json()["messages"] == []
    assert (await chat_of(site, dan))[0]["seenAt"] is not None


async def test_a_driver_writes_to_dispatch_and_ops_get_a_notice(site: Site, problem: Check) -> None:
    dan = await site.driver("Dan", at_work=True)
    action = new_id()
    first = await dan.post("/messages", {"text": "Flat tyre", "actionId": action})
    assert first.status_code == 201, first.text
    again = await dan.post("/messages", {"text": "Flat tyre", "actionId": action.upper()})
    assert (again.status_code, again.json()) == (200, first.json())
    [item] = await chat_of(site, dan)
    assert (item["id"], item["text"], item["byDriver"], item["from"]) == (first.json()["id"], "Flat tyre", True, dan.id)
    [notice] = (await site.vic.get("/admin/notices?kind=driver.message_sent")).json()["items"]
    assert (notice["to"], notice["text"]) == ("ops", "Dan wrote to dispatch: Flat tyre")
    assert notice["link"] == f"/board/drivers/{dan.id}"
    page = parse((await site.vic.get("/notices", headers={"Accept": "text/html"})).text.replace("<!doctype html>", ""))
    assert page.one("a", href=f"/board/drivers/{dan.id}").text == "Dan wrote to dispatch: Flat tyre"
    for n in range(9):
        assert (await dan.post("/messages", {"text": f"and {n}"})).status_code == 201
    limited = await dan.post("/messages", {"text": "and more"})
    assert problem(limited, 429, "too_many_requests")
    assert int(limited.headers["retry-after"]) > 0


def wrote(row: Element) -> str:
    marks = row.every("a", class_="wrote")
    return marks[0].one("span").text if marks else ""


async def test_open_boards_show_what_a_driver_wrote_until_somebody_answers_sees_or_erases_it(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    row_id = f"v-{dan.id}"
    page = parse((await site.vic.get("/board")).text)
    assert wrote(page.one("tr", id=row_id)) == ""
    async with board_stream(site.vic, after=position_of(page)) as live:
        assert (await dan.post("/messages", {"text": "Flat <tyre>"})).status_code == 201
        row = await live.hear_row(row_id, lambda row: wrote(row) == "Flat <tyre>")
        assert row.one("a", class_="wrote")["href"] == f"/board/drivers/{dan.id}#h-messages"
        assert wrote(parse((await site.vic.get("/board")).text).one("tr", id=row_id)) == "Flat <tyre>"
        await written(site, dan, "Stay there")
        await live.hear_row(row_id, lambda row: wrote(row) == "")

        assert (await dan.post("/messages", {"text": "Thanks"})).status_code == 201
        await live.hear_row(row_id, lambda row: wrote(row) == "Thanks")
        notice = (await site.vic.get("/admin/notices?kind=driver.message_sent")).json()["items"][0]
        assert (await site.alice.post(f"/admin/notices/{notice['id']}/acknowledge")).status_code == 200
        await live.hear_row(row_id, lambda row: wrote(row) == "")

        assert (await dan.post("/messages", {"text": "The bell of Mr Doe is broken"})).status_code == 201
        await live.hear_row(row_id, lambda row: wrote(row) != "")
        await site.node.change("UPDATE chat_messages SET text = NULL WHERE by_driver")
        await live.hear_row(row_id, lambda row: wrote(row) == "")
    notices = (await site.vic.get("/admin/notices?kind=driver.message_sent")).json()["items"]
    assert {notice["text"] for notice in notices} == {"Dan wrote to dispatch."}


async def test_the_socket_brings_messages_and_takes_what_drivers_say(site: Site) -> None:
    dan = await site.driver("Dan")
    before = await written(site, dan, "Before")
    async with driver_app(site.node.ws_url, dan.id) as app:
        hello = await app.hear("hello")
        assert hello["messages"] == [before]
        after = await written(site, dan, "After")
        assert (await app.hear("message"))["message"] == after
        assert (await app.ask("seen", messageId=after["id"]))["type"] == "ack"
        action = new_id()
        for _ in range(2):
            assert (await app.ask("say", text="On my way", actionId=action))["type"] == "ack"
        items = await chat_of(site, dan)
        assert [(item["text"], item["seenAt"] is not None) for item in items] == [
            ("On my way", False),
            ("After", True),
            ("Before", False),
        ]
        for wrong in ("", " ", "x" * 1001, "a\x00", 5):
            assert (await app.ask("say", text=wrong))["code"] == "invalid", wrong
        assert (await app.ask("say", text="x", actionId="x"))["code"] == "invalid"
        assert (await app.ask("seen", messageId="no"))["code"] == "not_found"
        assert (await app.ask("seen", messageId=items[0]["id"]))["code"] == "not_found"
    async with driver_app(site.node.ws_url, dan.id, last_seq=hello["seq"]) as app:
        again = await app.hear("hello")
        assert [m["message"] for m in again["missed"] if m["type"] == "message"] == [after]
        assert again["messages"] == [before]


async def test_a_message_to_all_reaches_those_on_shift_in_the_zone(site: Site) -> None:
    drivers = [await site.driver(f"Dan {n}", at_work=True, zone="Nord") for n in range(3)]
    elsewhere, home = await site.driver("Max", at_work=True, zone="Sued"), await site.driver("Hugo", zone="Nord")
    sent = await site.alice.post("/admin/messages", json={"zone": " nord", "text": "Ice on the roads"})
    assert (sent.status_code, sent.json()) == (200, {"sent": 3, "refused": 0})
    for driver in drivers:
        assert [item["text"] for item in await chat_of(site, driver)] == ["Ice on the roads"]
    assert await chat_of(site, elsewhere) == await chat_of(site, home) == []
    assert (await site.alice.post("/admin/messages", json={"text": "All"})).json() == {"sent": 4, "refused": 0}
    nobody = await site.alice.post("/admin/messages", json={"zone": "nowhere", "text": "Hi"})
    assert nobody.json() == {"sent": 0, "refused": 0}


async def test_a_message_to_many_goes_out_in_parts(site: Site) -> None:
    many = 2 * TOGETHER + 1
    await site.node.change(
        "INSERT INTO drivers (id, name, zone, capacity, availability, last_availability_change, expiries_in_a_row,"
        " stream_seq, active_count, created_at) SELECT gen_random_uuid(), 'D', 'far', 1, 'available', now(), 0, 0, 0,"
        f" now() FROM generate_series(1, {many})"
    )
    sent = await site.alice.post("/admin/messages", json={"zone": "far", "text": "Hi"})
    assert sent.json() == {"sent": many, "refused": 0}
    pool = site.node.app.state.node.database.pool
    assert await pool.fetchval("SELECT count(DISTINCT driver_id) FROM chat_messages") == many


@pytest.mark.parametrize("before", [0, 1])
async def test_a_message_to_all_that_some_got_is_no_error(
    site: Site, problem: Check, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Sent again, those would get it twice."""
    monkeypatch.setattr("server.web.api.chat.TOGETHER", 1)
    drivers = [await site.driver(f"Dan {n}", at_work=True) for n in range(3)]
    executor = site.node.app.state.node.executor
    submit, asked = executor.submit, []

    def away(command: Command) -> Any:
        if not isinstance(command, SendMessage):
            return submit(command)
        asked.append(command)
        if len(asked) <= before:
            return submit(command)
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(TRY_AGAIN)
        return answer

    monkeypatch.setattr(executor, "submit", away)
    sent = await site.alice.post("/admin/messages", json={"text": "Ice on the roads"})
    if before:
        assert (sent.status_code, sent.json()) == (200, {"sent": 1, "refused": 2})
    else:
        problem(sent, 503, "try_again")
    assert sum([len(await chat_of(site, driver)) for driver in drivers]) == before
    assert len(asked) == before + 1, "it does not go on"


async def test_a_driver_who_sees_nothing_gets_no_more_than_fifty(site: Site, problem: Check) -> None:
    dan = await site.driver("Dan", at_work=True)
    await site.node.change(
        "INSERT INTO chat_messages (id, driver_id, by_driver, author, text, at) SELECT gen_random_uuid(),"
        f" '{dan.id}', false, 'alice', 'Hi', now() FROM generate_series(1, 50)"
    )
    refused = await site.alice.post(f"/admin/drivers/{dan.id}/messages", json={"text": "Hi"})
    problem(refused, 409, "too_many_unseen")
    assert (await site.alice.post("/admin/messages", json={"text": "Hi"})).json() == {"sent": 0, "refused": 1}


async def test_messages_are_paged(site: Site, problem: Check) -> None:
    dan = await site.driver("Dan")
    texts = [(await written(site, dan, f"Message {n}"))["text"] for n in range(5)]
    path = f"/admin/drivers/{dan.id}/messages?limit=2"
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await site.vic.get(path + (f"&cursor={cursor}" if cursor else ""))).json()
        found += [item["text"] for item in page["items"]]
        cursor = page["nextCursor"]
    assert found == texts[::-1]
    problem(await site.vic.get(f"/admin/drivers/{new_id()}/messages"), 404, "not_found")


@pytest.mark.parametrize(
    "body", [{}, {"text": ""}, {"text": "  "}, {"text": "x" * 1001}, {"text": "a\x00b"}, {"text": 5}]
)
async def test_a_message_that_is_not_valid_is_refused(site: Site, problem: Check, body: dict[str, Any]) -> None:
    dan = await site.driver("Dan")
    problem(await site.alice.post(f"/admin/drivers/{dan.id}/messages", json=body), 422, "invalid")
    problem(await site.alice.post("/admin/messages", json=body), 422, "invalid")
    problem(await dan.post("/messages", body), 422, "invalid")


async def test_ops_write_from_the_drivers_page(site: Site) -> None:
    dan = await site.driver("Dan", at_work=True)
    path = f"/board/drivers/{dan.id}"
    dialog = parse((await site.alice.get(f"{path}/message", headers={"HX-Request": "true"})).text)
    assert dialog.one("h2").text == "Write to Dan"
    assert "Message sent to Dan." in said(await post(site.alice, f"{path}/message", text="Call <me>"))
    empty = await post(site.alice, f"{path}/message", text=" ")
    assert (empty.status_code, parse(empty.text).one("p").text) == (422, "Write a message.")
    await dan.post("/messages", {"text": "Flat tyre"})

    async def lines() -> list[str]:
        shown = parse((await site.vic.get(f"{path}/now")).text)
        panel = next(part for part in shown.every("section") if part["aria-labelledby"] == "h-messages")
        return [f"{line.one('b').text} / {line.one(class_='more').text[:8]}" for line in panel.every("li")]

    assert await lines() == ["Flat tyre / ", "Call <me> / not seen"]
    message = (await dan.get("/state")).json()["messages"][0]
    await dan.post(f"/messages/{message['id']}/seen")
    await until(lambda: _second_is_seen(lines))


async def _second_is_seen(lines: Callable[[], Awaitable[list[str]]]) -> bool:
    return (await lines())[1].startswith("Call <me> / seen ")
