"""The driver page in the languages of its catalogues: by the policy, else by the phone's own."""

import gzip
import json
import re
from urllib.parse import unquote

import pytest
from msgspec import structs

from server.dispatch.commands import ChangePolicy
from server.dispatch.model import SYSTEM
from server.texts.catalogues import page_texts
from tests.conftest import StartNode
from tests.waiting import until
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import HTML, logged_in


def asking(accepted: str) -> dict[str, str]:
    return HTML | {"Accept-Language": accepted}


async def choose(site: Site, language: str) -> None:
    policy = (await site.ada.get("/admin/policy")).json()
    answer = await site.ada.put("/admin/policy", json=policy | {"language": language})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("accepted", "language", "words"),
    [("de-CH,de;q=0.9,en;q=0.8", "de", "Schicht beenden"), ("es", "es", "Terminar turno"), ("fr", "en", "End shift")],
)
async def test_the_page_is_in_the_language_of_the_phone(site: Site, accepted: str, language: str, words: str) -> None:
    answer = await site.nobody.get("/driver", headers=asking(accepted))
    assert answer.headers["content-language"] == language
    assert "Accept-Language" in answer.headers["vary"]
    page = parse(answer.text).one("html")
    assert (page["lang"], page["dir"]) == (language, "ltr")
    assert page.one(id="do-leave").text == words
    texts = page.every("template", id="texts")
    assert json.loads(texts[0].raw_text) == page_texts(language) if texts else language == "en"


async def test_the_policy_chooses_for_all_phones_on_every_node(site: Site, node: StartNode) -> None:
    other = Site(await node(language="de"))  # the language of the screens
    try:
        await choose(site, "es")
        await until(lambda: other.node.app.state.node.policies.current.language == "es")
        for at in (site, other):
            for accepted in ("de", "en", ""):
                page = await at.nobody.get("/driver", headers=asking(accepted))
                assert page.headers["content-language"] == "es"
                assert "Terminar turno" in page.text
            manifest = (await at.nobody.get("/driver/manifest.webmanifest", headers=asking("de"))).json()
            assert manifest["lang"] == "es"
            assert 'const LANGUAGE = "es";' in (await at.nobody.get("/driver/sw.js", headers=asking("de"))).text
        await choose(site, "")
        assert "Schicht beenden" in (await site.nobody.get("/driver", headers=asking("de"))).text
        assert 'const LANGUAGE = "";' in (await site.nobody.get("/driver/sw.js", headers=asking("de"))).text
    finally:
        await other.close()


async def test_an_invitation_is_in_the_language_of_the_policy(site: Site) -> None:
    """Without one, in the language of the screen, since nobody knows that of the phone."""
    alice, dan = await logged_in(site, "Alice", "ops"), await site.driver("Dan")

    async def invited() -> list[str]:
        page = parse((await alice.send(f"/board/drivers/{dan.id}/access", do="invite")).text)
        links = [unquote(a["href"]) for a in page.every("a") if (a.get("href") or "").startswith(("sms:", "mailto:"))]
        assert len(links) == 2
        return links

    assert all("Hello Dan, this link signs you in for deliveries." in link for link in await invited())
    await choose(site, "de")
    links = await invited()
    assert all("Hallo Dan, mit diesem Link meldest du dich für Lieferungen an." in link for link in links)
    assert "mailto:?subject=Deine Anmeldung für Lieferungen&" in links[1]


async def test_a_language_that_lost_its_catalogue_is_no_error(site: Site) -> None:
    """A release can remove one, or another release can have had one more."""
    node = site.node.app.state.node
    policy = structs.replace(node.policies.current, language="tlh")
    answer = await node.executor.submit(ChangePolicy(policy, SYSTEM, "another release"))
    assert node.policies.current.language == "tlh", answer
    assert "Schicht beenden" in (await site.nobody.get("/driver", headers=asking("de"))).text
    assert 'const LANGUAGE = "";' in (await site.nobody.get("/driver/sw.js", headers=HTML)).text
    ada = await logged_in(site, "Ada", "admin")
    assert "tlh" in (await ada.see("/policy")).text


async def test_the_page_comes_packed_to_those_who_can_unpack_it(site: Site) -> None:
    headers = asking("de")
    plain = await site.nobody.get("/driver", headers=headers | {"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = await site.nobody.get("/driver", headers=headers | {"Accept-Encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.content == plain.content
    assert len(gzip.compress(plain.content, 6)) < 8_000, "the first load of a phone on a slow network"


async def test_the_installed_app_and_the_notifications_speak_the_language_too(site: Site) -> None:
    manifest = (await site.nobody.get("/driver/manifest.webmanifest", headers=asking("de"))).json()
    assert (manifest["lang"], manifest["dir"]) == ("de", "ltr")
    assert manifest["description"] == "Deine Angebote und Lieferungen."
    worker = (await site.nobody.get("/driver/sw.js", headers=HTML)).text
    assert 'const LANGUAGE = "";' in worker
    found = re.search(r"^const TEXTS = (.*);$", worker, flags=re.MULTILINE)
    assert found is not None
    texts = json.loads(found.group(1))
    assert texts["en"] == {}
    assert texts["de"]["New offer: {store}"] == "Neues Angebot: {store}"
    assert texts["es"]["New offer: {store}"] == "Nueva oferta: {store}"
