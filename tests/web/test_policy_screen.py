"""The policy's screen: read by everybody, changed by admins, with its history and the way back."""

from typing import Any

import httpx2

from server.dispatch.policy import DEFAULT_POLICY, Policy
from server.web.screens.policy_fields import EXPIRY, FIELDS, RANGES, differences, document_of
from server.web.screens.policy_form import filled_with
from tests.web.conftest import Site
from tests.web.html_tree import Element, parse
from tests.web.people import HTML, Browser, logged_in


def fields_of(page: Element) -> dict[str, str | list[str]]:
    """The form as a browser would post it with its last button."""
    form = page.one("form", id="policy-form")
    fields: dict[str, Any] = {}
    for element in form.every("input"):
        if element.get("type") == "checkbox":
            if "checked" in element:
                fields.setdefault(element["name"], []).append(element["value"])
        else:
            fields[element["name"]] = element["value"]
    for select in form.every("select"):
        fields[select["name"]] = next(option["value"] for option in select.every("option") if "selected" in option)
    return fields | {"do": "save"}


async def see(browser: Browser, path: str = "/policy") -> Element:
    answer = await browser.see(path)
    assert answer.status_code == 200, answer.text
    return parse(answer.text)


async def save(browser: Browser, page: Element | None = None, /, **changes: Any) -> httpx2.Response:
    """Send the form of this page, or of the one now there, with some fields changed."""
    fields = fields_of(page or await see(browser)) | {"reason": "a quiet evening"} | changes
    return await browser.client.post("/policy", data=fields, headers=HTML)


def wrong_in(page: Element) -> dict[str, str]:
    return {error["id"].removeprefix("wrong-"): error.text for error in page.every("p", class_="error")}


async def in_force(site: Site) -> Any:
    return (await site.ada.get("/admin/policy")).json()


def test_every_tunable_has_a_label_and_a_range() -> None:
    assert set(document_of(DEFAULT_POLICY)) == set(FIELDS)
    for name, field in FIELDS.items():
        assert field.label
        assert (field.range is None) == (
            name in ("expiryPolicy", "currency", "language", "planning.hold", "planning.sameStoreOnly")
        )
    assert (RANGES["offerTimeoutSeconds"].least, RANGES["offerTimeoutSeconds"].largest) == (1, 600)
    assert FIELDS["alerts.rejectedShare"].bounds == "0 to 100"


def test_every_value_reads_back_as_it_is_written() -> None:
    for name, value in document_of(DEFAULT_POLICY).items():
        assert FIELDS[name].read(FIELDS[name].written(value)) == value
    for share in (0.333, 0.07, 0.29, 0.57):
        assert FIELDS["alerts.rejectedShare"].read(FIELDS["alerts.rejectedShare"].written(share)) == share


async def test_a_viewer_reads_every_value_and_changes_nothing(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    page = await see(vic)
    shown = {value["data-field"]: value.text for value in page.every("dd")}
    assert set(shown) == set(FIELDS)
    assert shown["offerTimeoutSeconds"] == "30 s (1 to 600)"
    assert shown["alerts.rejectedShare"] == "20 % (0 to 100)"
    assert not page.every("form", id="policy-form")
    assert [row.text for row in page.one("section", class_="ladder").every("tr")][1:] == [
        "1 300 s Support ticket, Ops notice", "2 900 s Wider search", "3 1800 s Critical notice",
    ]  # fmt: skip
    token = await vic.csrf_token("/policy")
    refused = await vic.client.post("/policy", data={"csrf_token": token}, headers=HTML)
    assert refused.status_code == 403
    assert (await in_force(site))["version"] == 1


async def test_an_admin_changes_it_and_the_history_says_who_when_why_and_what(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    saved = await save(
        ada, offerTimeoutSeconds="45", searchRadiusKm="4,5", expiryPolicy="next_driver", reason="riders are slow",
        language="de",
        **{"alerts.rejectedShare": "33.3", "escalation[1].afterSeconds": "600"},
    )  # fmt: skip
    assert (saved.status_code, saved.headers["location"]) == (303, "/policy")
    policy = await in_force(site)
    assert (policy["version"], policy["offerTimeoutSeconds"], policy["searchRadiusKm"]) == (2, 45, 4.5)
    assert (policy["expiryPolicy"], policy["alerts"]["rejectedShare"]) == ("next_driver", 0.333)
    assert policy["language"] == "de"
    assert [rung["afterSeconds"] for rung in policy["escalation"]] == [300, 600, 1800]
    page = await see(ada)
    assert page.one(class_="flash").text.startswith("Saved as version 2.")
    newest, first = page.one("section", id="history").every("li")
    assert newest.one("h3").text == "Version 2 in force"
    assert newest.one("p", class_="quiet").text.startswith("Ada, ")
    assert newest.one("p", class_="why").text == "riders are slow"
    assert [row.text for row in newest.every("tr")][1:] == [
        "Offer timeout 30 s 45 s",
        f"When an offer expires without an answer {EXPIRY['auto_accept']} {EXPIRY['next_driver']}",
        "Search radius 5 km 4.5 km",
        "Language Each phone’s own Deutsch",
        "Alert if more offers are rejected than 20% 33.3%",
        "Escalation level 2 after 15 min: wider search after 10 min: wider search",
    ]
    assert first.one("p", class_="why").text == "the defaults"


MISTAKES: list[tuple[dict[str, str], dict[str, str]]] = [
    ({"offerTimeoutSeconds": "0"}, {"offerTimeoutSeconds": "A whole number from 1 to 600."}),
    ({"offerTimeoutSeconds": "30.5"}, {"offerTimeoutSeconds": "A whole number from 1 to 600."}),
    ({"offerTimeoutSeconds": ""}, {"offerTimeoutSeconds": "A whole number from 1 to 600."}),
    ({"searchRadiusKm": "nan"}, {"searchRadiusKm": "A number from 0.1 to 100."}),
    ({"searchRadiusKm": "101"}, {"searchRadiusKm": "A number from 0.1 to 100."}),
    ({"searchRadiusKm": "11"}, {"wideSearchRadiusKm": "Must not be below the search radius."}),
    ({"alerts.rejectedShare": "101"}, {"alerts.rejectedShare": "A number from 0 to 100."}),
    ({"language": "tlh"}, {"language": "Choose a value."}),
    ({"currency": "euro"}, {"currency": "Three capital letters, like EUR."}),
    ({"expiryPolicy": "shrug"}, {"expiryPolicy": "Choose a value."}),
    ({"escalation[0].level": "11"}, {"escalation[0].level": "A whole number from 1 to 10."}),
    ({"escalation[1].afterSeconds": "300"}, {"escalation[1].afterSeconds": "Must rise from level to level."}),
    ({"escalation[2].level": "2"}, {"escalation[2].level": "Must rise from level to level."}),
    ({"reason": "  "}, {"reason": "Enter a reason for the history."}),
    ({"reason": "x" * 501}, {"reason": "At most 500 characters."}),
]  # fmt: skip


async def test_a_mistake_is_beside_its_field_and_what_was_typed_stays(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for changes, shown in MISTAKES:
        answer = await save(ada, **{"detourFactor": "1.4", **changes})
        assert answer.status_code == 422
        page = parse(answer.text)
        assert wrong_in(page) == shown
        for name in shown:
            field = page.one(id=name)
            assert field["aria-invalid"] == "true"
            assert f"wrong-{name}" in field["aria-describedby"].split()
        assert page.one("input", id="detourFactor")["value"] == "1.4"
        assert page.one("p", role="alert").text == "Not saved: 1 field needs a correction."
    assert (await in_force(site))["version"] == 1


async def test_a_form_that_changes_nothing_makes_no_version(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    answer = await save(ada)
    assert answer.status_code == 422
    assert parse(answer.text).one("p", role="alert").text.startswith("You changed nothing")
    assert (await in_force(site))["version"] == 1


async def test_the_second_admin_sees_who_was_faster(site: Site) -> None:
    ada, eve = await logged_in(site, "Ada", "admin"), await logged_in(site, "Eve", "admin")
    page = await see(ada)
    assert (await save(eve, offerTimeoutSeconds="20", reason="rush hour")).status_code == 303
    answer = await save(ada, page, offerTimeoutSeconds="60")
    assert answer.status_code == 409
    shown = parse(answer.text)
    alert = shown.one(role="alert").text
    assert alert.startswith("Not saved: Eve changed the policy on ")
    assert "Their reason: rush hour." in alert
    assert [row.text for row in shown.one(id="policy-message").every("tr")][1:] == ["Offer timeout 30 s 20 s"]
    assert shown.one("input", id="offerTimeoutSeconds")["value"] == "60"
    assert (await in_force(site))["offerTimeoutSeconds"] == 20


async def test_rungs_of_the_ladder_come_and_go(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    longer = parse((await save(ada, do="add", offerTimeoutSeconds="31")).text)
    assert [longer.one(id=f"escalation[3].{part}")["value"] for part in ("level", "afterSeconds")] == ["4", "2700"]
    assert longer.one("input", id="offerTimeoutSeconds")["value"] == "31"
    changed = fields_of(longer) | {"escalation[3].actions": ["cancel", "notify_ops"]}
    shorter = parse((await ada.client.post("/policy", data=changed | {"do": "remove-0"}, headers=HTML)).text)
    assert (await in_force(site))["version"] == 1
    saved = await save(ada, shorter)
    assert saved.status_code == 303, saved.text
    assert [(rung["level"], rung["actions"]) for rung in (await in_force(site))["escalation"]] == [
        (2, ["widen_search"]), (3, ["notify_critical"]), (4, ["notify_ops", "cancel"]),
    ]  # fmt: skip
    emptied = await see(ada)
    for _ in range(3):
        answer = await ada.client.post("/policy", data=fields_of(emptied) | {"do": "remove-0"}, headers=HTML)
        emptied = parse(answer.text)
    assert (await save(ada, emptied)).status_code == 303
    assert (await in_force(site))["escalation"] == []


async def test_going_back_is_a_new_version_with_the_old_values(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    await save(ada, offerTimeoutSeconds="45")
    await save(ada, basePayCents="500")
    [link] = [a for a in (await see(ada)).every("a", class_="button") if a["href"] == "/policy?version=1"]
    assert link.text == "Go back to version 1"
    page = await see(ada, link["href"])
    assert [row.text for row in page.one(id="policy-message").every("tr")][1:] == [
        "Offer timeout 45 s 30 s", "Per order 500 cents 300 cents",
    ]  # fmt: skip
    saved = await ada.client.post("/policy", data=fields_of(page), headers=HTML)
    assert saved.status_code == 303
    assert await in_force(site) == {**(await in_force(site)), "version": 4, "offerTimeoutSeconds": 30}
    assert (await see(ada)).one(id="version-4").one("p", class_="why").text == "Back to version 1"
    assert (await ada.see("/policy?version=9")).status_code == 404


async def test_with_a_script_a_saved_form_leads_on_and_a_token_is_needed(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    fields = fields_of(await see(ada)) | {"reason": "shorter", "offerTimeoutSeconds": "20"}
    forged = await ada.client.post("/policy", data=fields | {"csrf_token": "x"}, headers=HTML)
    assert forged.status_code == 403
    saved = await ada.client.post("/policy", data=fields, headers={"HX-Request": "true"})
    assert (saved.status_code, saved.headers["hx-redirect"]) == (204, "/policy")
    assert (await in_force(site))["version"] == 2


async def test_a_long_history_has_pages(site: Site) -> None:
    ada = await logged_in(site, "Ada", "admin")
    for timeout in range(31, 53):
        policy = await in_force(site)
        changed = await site.ada.put("/admin/policy?reason=step", json=policy | {"offerTimeoutSeconds": timeout})
        assert changed.status_code == 200
    page = await see(ada)
    versions = page.one("section", id="history").every("li")
    assert [versions[0]["id"], versions[-1]["id"], len(versions)] == ["version-23", "version-4", 20]
    assert versions[-1].every("tr")[1].text == "Offer timeout 32 s 33 s"
    older = await see(ada, "/policy?before=3")
    assert [li["id"] for li in older.one("section", id="history").every("li")] == [
        "version-3", "version-2", "version-1",
    ]  # fmt: skip


def test_differences_name_rungs_that_came_or_went() -> None:
    less = Policy(escalation=DEFAULT_POLICY.escalation[:2])
    [gone] = differences(DEFAULT_POLICY, less)
    assert (gone.label, gone.before, gone.after) == ("Escalation level 3", "after 30 min: critical notice", "none")
    assert filled_with(less, 7).version == 7
