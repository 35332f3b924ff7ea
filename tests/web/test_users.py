"""People managed by the API and on their screen, by admins only."""

import asyncio
from typing import Any

import pytest

from server.store.query import DatabaseAway
from server.store.typed import ask_one
from tests.web.conftest import Check, Site
from tests.web.people import HTML, PASSWORD, Browser, add, logged_in

NEW = {"name": "Alice", "role": "ops", "password": "long enough"}


async def test_the_api_makes_lists_and_changes_people(site: Site) -> None:
    made = await site.ada.post("/admin/users", json=NEW)
    assert made.status_code == 201
    alice = made.json()
    assert alice | {"id": "", "createdAt": ""} == {
        "id": "", "name": "Alice", "role": "ops", "active": True, "createdAt": "", "lastLoginAt": None,
    }  # fmt: skip
    assert "long enough" not in made.text
    assert (await Browser(site.anonymous()).log_in("alice", "long enough")).status_code == 303
    await site.ada.post("/admin/users", json=NEW | {"name": "Bob"})
    listed = (await site.vic.get("/admin/users?limit=1")).json()
    assert [user["name"] for user in listed["items"]] == ["Alice"]
    assert listed["items"][0]["lastLoginAt"]
    rest = (await site.vic.get(f"/admin/users?cursor={listed['nextCursor']}")).json()
    assert ([user["name"] for user in rest["items"]], rest["nextCursor"]) == (["Bob"], None)
    changed = await site.ada.patch(f"/admin/users/{alice['id']}", json={"role": "viewer", "active": False})
    assert (changed.json()["role"], changed.json()["active"]) == ("viewer", False)
    assert (await Browser(site.anonymous()).log_in("alice", "long enough")).status_code == 401
    await site.ada.patch(f"/admin/users/{alice['id']}", json={"active": True, "password": "another one"})
    assert (await Browser(site.anonymous()).log_in("alice", "another one")).status_code == 303


async def test_a_change_of_nothing_ends_no_session(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    [user] = (await site.ada.get("/admin/users")).json()["items"]
    for same in ({}, {"role": "admin"}, {"active": True}):
        assert (await site.ada.patch(f"/admin/users/{user['id']}", json=same)).status_code == 200
    assert (await ada.see("/users")).status_code == 200


async def test_what_is_no_person_is_refused(site: Site, problem: Check) -> None:
    made = (await site.ada.post("/admin/users", json=NEW)).json()
    taken = problem(await site.ada.post("/admin/users", json=NEW | {"name": "alice"}), 409, "user_exists")
    assert taken["id"] == made["id"]
    for wrong, field in (
        ({"name": ""}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "a\u200bb"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"role": "driver"}, "role"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 201}, "password"),
        ({"hat": True}, "hat"),
    ):
        refused = problem(await site.ada.post("/admin/users", json=NEW | wrong), 422, "invalid")
        assert [error["field"] for error in refused["errors"]] == [field]
    nobody = "01a20d95-bd15-7304-adfd-8e3a9c15409e"
    problem(await site.ada.patch(f"/admin/users/{nobody}", json={"active": False}), 404, "not_found")
    problem(await site.ada.patch("/admin/users/x", json={"active": False}), 404, "not_found")


async def test_the_last_admin_stays_one_even_if_two_demote_each_other_at_once(site: Site, problem: Check) -> None:
    ada, eve = await add(site.node, "Ada", "admin"), await add(site.node, "Eve", "admin")
    answers = await asyncio.gather(
        site.ada.patch(f"/admin/users/{ada}", json={"role": "ops"}),
        site.ada.patch(f"/admin/users/{eve}", json={"active": False}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    left = ada if answers[0].status_code == 409 else eve
    for change in ({"role": "viewer"}, {"active": False}):
        problem(await site.ada.patch(f"/admin/users/{left}", json=change), 409, "last_admin")
    assert (await site.ada.patch(f"/admin/users/{left}", json={"password": "a new one"})).status_code == 200


async def test_the_screen_shows_everybody_and_adds_one(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    await add(site.node, "<b>Max</b>", "viewer")
    page = (await ada.see("/users")).text
    assert "&lt;b&gt;Max&lt;/b&gt;" in page
    assert "<b>Max" not in page
    added = await ada.send("/users", name="Alice", role="ops", password="long enough")
    assert (added.status_code, added.headers["location"]) == (303, "/users")
    assert "Alice can now log in as ops." in (await ada.see("/users")).text
    assert "Alice can now log in as ops." not in (await ada.see("/users")).text
    generated = await ada.send("/users", name="Bob", role="viewer", password="")
    assert generated.status_code == 201
    password = generated.text.partition('secret">')[2].partition("<")[0]
    assert (await Browser(site.anonymous()).log_in("Bob", password)).status_code == 303


async def test_errors_are_shown_beside_the_form_which_keeps_its_input(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for fields, status, shown in (
        ({"name": "ADA", "role": "ops", "password": ""}, 409, "The user name ADA is taken."),
        ({"name": "Max", "role": "ops", "password": "short"}, 422, "A password must have 8 to 200 characters."),
        ({"name": "Max", "role": "king", "password": ""}, 422, "Choose a role."),
    ):
        answer = await ada.send("/users", **fields)
        assert answer.status_code == status
        assert shown in answer.text
        assert f'value="{fields["name"]}"' in answer.text


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"do": "role", "role": "viewer"}, "alice is now viewer."),
        ({"do": "deactivate"}, "alice can no longer log in."),
        ({"do": "password", "password": "a new password"}, "alice has a new password."),
        ({"do": "logout"}, "alice is logged out everywhere."),
    ],
    ids=lambda value: value["do"] if isinstance(value, dict) else "",
)
async def test_what_an_admin_changes_ends_the_persons_sessions(
    site: Site, fields: dict[str, str], message: str
) -> None:
    ada, alice = await logged_in(site, "Ada", "admin"), await logged_in(site, "alice", "ops")
    people = (await site.ada.get("/admin/users")).json()["items"]
    path = f"/users/{next(person['id'] for person in people if person['name'] == 'alice')}"
    assert (await alice.see("/board")).status_code == 200
    assert "alice" in (await ada.see(path)).text
    done = await ada.send(path, **fields)
    assert (done.status_code, done.headers["location"]) == (303, path)
    assert message in (await ada.see(path)).text
    assert (await alice.see("/board")).status_code == 303
    if fields["do"] == "deactivate":
        assert (await alice.log_in("alice")).status_code == 401
        await ada.send(path, do="activate")
        assert (await alice.log_in("alice")).status_code == 303


async def test_a_password_can_be_generated_and_the_last_admin_cannot_be_demoted(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    [person] = (await site.ada.get("/admin/users")).json()["items"]
    path = f"/users/{person['id']}"
    refused = await ada.send(path, do="deactivate")
    assert refused.status_code == 409
    assert "create another one first" in refused.text
    assert (await ada.send(path, do="dance")).status_code == 422
    fresh = await ada.send(path, do="password", password="")
    password = fresh.text.partition('secret">')[2].partition("<")[0]
    assert (await ada.log_in("Ada", PASSWORD)).status_code == 401
    assert (await ada.log_in("Ada", password)).status_code == 303


async def test_others_are_sent_away_with_a_screen(site: Site) -> None:
    alice = await logged_in(site, "alice", "ops")
    page = await alice.see("/users")
    assert page.status_code == 403
    assert "Your role does not allow this" in page.text
    assert "/users" not in page.text.partition("<main")[0].partition("<nav")[2]
    token = await alice.csrf_token("/board")
    answer = await alice.client.post("/users", data={"csrf_token": token, "name": "Max", "role": "admin"}, headers=HTML)
    assert answer.status_code == 403
    missing = await (await logged_in(site, "Ada", "admin")).see("/users/nobody")
    assert missing.status_code == 404
    assert "Page not found" in missing.text
    for path in ("/board", "/report", "/insights", "/nowhere/now"):
        sent = await alice.client.post(path, data={"csrf_token": token}, headers=HTML)
        assert sent.headers["content-type"].startswith("text/html"), path
        assert "Content-Security-Policy" in sent.headers
        if path != "/nowhere/now":
            assert (sent.status_code, "Nothing can be sent to this page" in sent.text) == (405, True), path
            assert "GET" in sent.headers["allow"].split(", ")


async def test_a_new_user_is_no_error_when_nothing_can_be_read_after(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent again, the name would be taken."""
    asked: list[object] = []

    async def away(db: Any, query: Any) -> Any:
        asked.append(query)
        if len(asked) > 1:
            raise DatabaseAway("for the test")
        return await ask_one(db, query)

    monkeypatch.setattr("server.store.users.ask_one", away)
    made = await site.ada.post("/admin/users", json={"name": "Olga", "role": "ops", "password": "correct horse"})
    assert (made.status_code, made.json()["name"], made.json()["lastLoginAt"]) == (201, "Olga", None)
