"""The driver page in the languages of its catalogues: by the settings, else by the phone's own."""

import gzip
import json
import re

import pytest

from server.texts.catalogues import page_texts
from tests.conftest import StartNode
from tests.web.conftest import Site
from tests.web.html_tree import parse
from tests.web.people import HTML


def asking(accepted: str) -> dict[str, str]:
    return HTML | {"Accept-Language": accepted}


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
    assert json.loads(texts[0].text) == page_texts(language) if texts else language == "en"


async def test_the_settings_choose_for_everybody(node: StartNode) -> None:
    site = Site(await node(language="es"))
    try:
        for accepted in ("de", "en", ""):
            assert "Terminar turno" in (await site.nobody.get("/driver", headers=asking(accepted))).text
        worker = (await site.nobody.get("/driver/sw.js", headers=asking("de"))).text
        assert 'const LANGUAGE = "es";' in worker
    finally:
        await site.close()


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
