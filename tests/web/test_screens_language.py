"""A language can follow: with a catalogue, each screen is in it, and no text of ours is written past the catalogue.

The catalogue of the test has each text in «brackets». What a screen shows outside of them must be data: what people
and sellers wrote, and what the rules recorded in English (alerts, tickets, notices), as API and webhooks have it.
"""

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from babel import Locale
from babel.messages.catalog import Catalog

from server.board.templates import environment
from server.texts import catalogues, speech
from server.texts.catalogues import SCREENS, path_of
from server.texts.languages import SOURCE
from tests.conftest import StartNode
from tests.notify.test_alerts_live import look, set_alerts
from tests.texts import used, written
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.people import HTML, Browser, logged_in
from tests.web.test_watch_screens import escalate

LANGUAGE = "de"
CACHES = (
    catalogues.catalogue,
    catalogues.translations,
    catalogues.is_complete,
    catalogues.page_texts,
    speech.speech,
    environment,
)
READ = ("aria-label", "title", "placeholder", "alt", "data-label", "data-confirm")
UNREAD = {"script", "style", "kbd", "code", "template", "textarea", "output"}
VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
GERMAN = Locale("de")
DATES = {
    word
    for names in (GERMAN.months["format"]["abbreviated"], GERMAN.days["format"]["abbreviated"])
    for name in names.values()
    for word in re.findall(r"[^\W\d_]+", name)
}
DATA = {
    "Pizza", "Roma", "Torstr", "default", "Dan", "Dora", "Ada", "ada", "Alice", "alice", "north", "Zoo", "closed",
    "corner", "shop", "the", "defaults",
}  # fmt: skip
"""What the test and the first version of the policy put in."""
NAMES = {"Callboard", "Slack", "UTC", "JSON", "EUR", "USD", "curl", "English", "Deutsch", "Español"}
"""Proper names, the same in every language."""


class Shown(HTMLParser):
    """What people read or hear of a page, outside of the brackets of the catalogue."""

    def __init__(self) -> None:
        super().__init__()
        self.lang: str | None = None
        self.direction: str | None = None
        self._inside: list[str] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self._own: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "html":
            self.lang, self.direction = given["lang"], given["dir"]
        if tag not in VOID:
            self._inside.append("code" if given.get("translate") == "no" else tag)
            self._open.append(tag)
        self._own += [given[name] for name in READ if given.get(name) and not (tag == "time" and name == "title")]
        self._texts.append(" ")

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._inside.pop() and self._open.pop() != tag:
            pass
        self._texts.append(" ")

    def handle_data(self, data: str) -> None:
        if not UNREAD & set(self._inside):
            self._texts.append(data)

    def unknown(self, recorded: Sequence[str] = ()) -> set[str]:
        """Words that are in no text of the catalogue, and in none that was recorded."""
        texts = (*self._own, "".join(self._texts))
        for record in recorded:
            texts = tuple(text.replace(record, "") for text in texts)
        found = [outside(text) for text in texts]
        words = {word for text in found for token in text.split() for word in words_in(token)}
        return words - DATES - DATA - NAMES


def outside(text: str) -> str:
    """What of a text is in no brackets."""
    kept, depth = [], 0
    for character in text:
        depth += {"«": 1, "»": -1}.get(character, 0)
        kept.append(" " if depth or character == "»" else character)
    assert depth == 0, text
    return "".join(kept)


def words_in(token: str) -> list[str]:
    """The words between two blanks; an id, an address or a type of the API has none."""
    if re.search(r"\d|://|[a-z]\.[a-z]", token):
        return []
    return re.findall(r"[^\W\d_]{2,}", token)


@pytest.fixture
def bracketed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """German has a catalogue of the screens, each text in brackets."""
    monkeypatch.setattr(catalogues, "LOCALES", tmp_path)
    catalog = Catalog(locale=LANGUAGE, domain=SCREENS)
    for message in used(SCREENS):
        if message.id:
            plural = not isinstance(message.id, str)
            string = tuple(f"«{text}»" for text in message.id) if plural else f"«{message.id}»"
            catalog.add(message.id, string, locations=message.locations)
    path = path_of(LANGUAGE, SCREENS)
    path.parent.mkdir(parents=True)
    path.write_text(written(catalog, LANGUAGE))
    for cache in CACHES:
        cache.cache_clear()
    yield
    for cache in CACHES:
        cache.cache_clear()


@pytest.fixture
async def abroad(node: StartNode, bracketed: None) -> AsyncIterator[Site]:
    """A site whose screens are in that language."""
    site = Site(await node(language=LANGUAGE))
    yield site
    await site.close()


async def shown(browser: Browser, path: str, status: int = 200, **headers: str) -> Shown:
    answer = await browser.client.get(path, headers=HTML | headers)
    assert answer.status_code == status, answer.text
    page = Shown()
    page.feed(answer.text)
    return page


async def test_every_screen_takes_every_text_from_the_catalogue(abroad: Site) -> None:
    site, unknown = abroad, dict[str, set[str]]()
    ada = await logged_in(site, "Ada", "admin")
    for path in (
        "/board",
        "/orders",
        "/board/drivers",
        "/alerts",
        "/notices",
        "/unassigned?all=1",
        "/at-risk",
        "/tickets",
        "/tickets?only=open",
    ):
        unknown[f"{path}, empty"] = (await shown(ada, path)).unknown()
    nobody = Browser(site.anonymous())
    assert (await shown(nobody, "/login")).unknown() == set()
    refused = await nobody.log_in("Ada", "wrong")
    page = Shown()
    page.feed(refused.text)
    assert page.unknown() == set()

    dan = await site.driver("Dan", at_work=True, phone="+49 30 1234")
    await site.ada.put("/admin/zones/north", json={"name": "Zoo", "helpedBy": ["default"]})
    await set_alerts(site, unassignedCount=0)
    held, _ = await site.assignment(dan)
    waiting = await site.delivery(driverPayCents=540)
    await escalate(site, waiting)
    await look(site)
    await site.alice.post(f"/deliveries/{waiting['id']}/acknowledge", json={"note": "closed"})
    made = await site.ada.post("/admin/webhooks", json={"url": "https://shop.example/hooks", "events": ["*"]})
    assert made.status_code == 201, made.text
    people = (await site.ada.get("/admin/users")).json()["items"]
    alert = (await site.vic.get("/admin/alerts")).json()["items"][0]
    delivery, driver = f"/board/deliveries/{waiting['id']}", f"/board/drivers/{dan.id}"

    tickets = (await site.vic.get("/admin/tickets")).json()["items"]
    notices = (await site.vic.get("/admin/notices")).json()["items"]
    recorded = [
        *(of["text"] for of in notices if of["alertId"]),
        *(of["title"] for of in tickets),
        *(of["description"] for of in tickets),
    ]
    recorded += [of["text"] for of in notices]

    async def is_shown() -> bool:
        return held["id"] in (await ada.see("/board")).text and waiting["id"] in (await ada.see("/board")).text

    await until(is_shown)
    for path in (
        "/board", delivery, f"/board/deliveries/{held['id']}", driver, f"{driver}/access", "/orders", "/orders?q=xyz",
        "/orders/new", f"/orders/{waiting['id']}/edit", "/board/drivers", "/board/drivers/new",
        "/board/drivers/invite", f"{driver}/edit", "/orders/import", "/board/drivers/import", "/start",
        "/alerts", f"/alerts/{alert['id']}", "/notices", "/unassigned", "/unassigned?all=1", "/at-risk", "/tickets",
        "/policy", "/policy?version=1", "/insights", "/insights?window=90d", "/users", f"/users/{people[0]['id']}",
        "/keys", "/account", "/privacy", "/webhooks", f"/webhooks/{made.json()['id']}", "/zones",
    ):  # fmt: skip
        page = await shown(ada, path)
        assert (page.lang, page.direction) == (LANGUAGE, "ltr"), path
        unknown[path] = page.unknown(recorded)
    for path in (
        f"{delivery}/assign", f"{delivery}/search", f"{delivery}/cancel", f"{delivery}/acknowledge",
        f"/board/deliveries/{held['id']}/reassign",
        f"/board/deliveries/{held['id']}/cancel", f"{driver}/availability",
        *(f"/board/deliveries/{held['id']}/steps/{step}" for step in ("ready", "delay", "pickup", "release")),
        *(f"/board/bulk/{do}?id={waiting['id']}" for do in ("acknowledge", "cancel", "reassign")),
        f"/board/bulk/availability?id={dan.id}",
    ):  # fmt: skip
        unknown[path] = (await shown(ada, path)).unknown()
    for path, status in (("/orders?q=x", 422), ("/nowhere", 404), ("/users/nobody", 404)):
        unknown[path] = (await shown(ada, path, status)).unknown()
    unknown = {path: words for path, words in unknown.items() if words}
    assert not unknown, unknown
    vic = await logged_in(site, "Vic", "viewer")
    assert (await shown(vic, "/users", 403)).unknown() == {"Vic"}


async def test_what_a_form_answers_is_in_the_language_too(abroad: Site) -> None:
    ada = await logged_in(abroad, "Ada", "admin")
    added = await ada.send("/users", name="Dora", role="ops", password="correct horse battery")
    assert added.status_code == 303
    assert "«Dora can now log in as «ops».»" in (await ada.see("/users")).text
    policy = (await ada.see("/policy")).text
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', policy)) | {"do": "save", "searchRadiusKm": "x"}
    answer = await ada.client.post("/policy", data=fields, headers=HTML)
    page = Shown()
    page.feed(answer.text)
    assert answer.status_code == 422
    assert page.unknown() == set()
    dan = await abroad.driver("Dan", at_work=True)
    held, _ = await abroad.assignment(dan)
    path, headers = f"/board/deliveries/{held['id']}/assign", HTML | {"X-CSRF-Token": await ada.csrf_token("/board")}
    refused = await ada.client.post(path, data={"driver": dan.id, "reason": "other"}, headers=headers)
    assert refused.text == '<p class="error">«Choose a reason, or write your own.»</p>'
    refused = await ada.client.post(path, data={"driver": dan.id, "reason": "x"}, headers=headers)
    assert refused.status_code == 409
    assert refused.text == '<p class="error">«This order is no longer waiting for a driver.»</p>'


def test_half_a_catalogue_is_not_shown(bracketed: None) -> None:
    assert speech.screens_language(LANGUAGE) == LANGUAGE
    path = path_of(LANGUAGE, SCREENS)
    path.write_text(path.read_text().replace('msgstr "«Board»"', 'msgstr ""'))
    for cache in CACHES:
        cache.cache_clear()
    assert speech.screens_language(LANGUAGE) == SOURCE


async def test_without_a_catalogue_of_the_screens_they_are_in_english(node: StartNode) -> None:
    site = Site(await node(language="es"))
    try:
        page = (await site.nobody.get("/login", headers=HTML)).text
        assert f'<html lang="{SOURCE}" dir="ltr">' in page
        assert "Log in to Callboard" in page
        assert "End shift" in (await site.nobody.get("/driver", headers=HTML)).text, "the policy's, not the screens'"
    finally:
        await site.close()
