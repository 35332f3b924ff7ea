"""The driver page's texts: every one is in every catalogue, none is stale, and none is written past the catalogues."""

import ast
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from babel.messages.catalog import Message
from babel.support import NullTranslations

from server.board.formats import REASONS_FOR_AVAILABILITY, REASONS_TO_CANCEL, REASONS_TO_REASSIGN
from server.board.templates import environment
from server.paths import ROOT
from server.texts.catalogues import DRIVER, SCREENS, catalogue, key_of, page_texts, path_of, short_key, worker_texts
from server.texts.languages import LANGUAGES, SOURCE, language_for
from tests.texts import SCRIPTS, SERVER, kept, screens_scripts, updated, used

OTHERS = [language for language in LANGUAGES if language != SOURCE]


def values_of(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def forms_of(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or ())


def test_german_and_spanish_are_there() -> None:
    assert LANGUAGES == ("en", "de", "es")


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_of_the_page_is_translated_and_no_other(language: str) -> None:
    kept = {message.id: message for message in catalogue(language) if message.id}
    assert kept.keys() == {message.id for message in used() if message.id}, "run: make texts"
    for message in kept.values():
        assert all(forms_of(message)), f"{language} has no words for {message.id!r}"
        assert not message.fuzzy, message.id
        sources = [message.id] if isinstance(message.id, str) else message.id
        for form in forms_of(message):
            assert values_of(form) == values_of(sources[-1]), message.id


@pytest.mark.parametrize(("language", "domain"), kept())
def test_a_catalogue_is_kept_as_the_tool_writes_it(language: str, domain: str) -> None:
    assert path_of(language, domain).read_text() == updated(language, domain), "run: make texts"


@pytest.mark.parametrize("language", OTHERS)
def test_scripts_get_their_texts_and_templates_keep_theirs(language: str) -> None:
    texts = page_texts(language)
    assert isinstance(texts[short_key("Start shift")], str)
    assert short_key("How long is your break?") not in texts, "a text of the template only"
    assert set(worker_texts()[language]) == {
        "New offer: {store}",
        "{distance} · {pay} · answer by {time}",
        "New message from your dispatcher.",
    }
    plural = texts[short_key("For {count} second.")]
    assert isinstance(plural, dict)
    assert {"one", "other"} <= plural.keys()
    assert plural["one"] != plural["other"]
    assert page_texts(SOURCE) == {}, "the source needs none"


def test_the_reasons_that_the_board_suggests_are_in_the_words_of_the_phone() -> None:
    words = (ROOT / "static/driver/words.js").read_text()
    known = set(
        re.findall(r'^  "?([^":\n]+)"?: text\(', words.partition("const REASONS = {")[2].partition("};")[0], re.M)
    )
    assert known == SUGGESTED | {"driver_gone"}


def test_scripts_find_their_texts_by_the_key_that_the_server_made() -> None:
    """tests/js/catalogue.test.js has the same."""
    texts = ["", "Start shift", "{count} delivery", "“Zoë” – 10 €", "🛵"]
    assert [short_key(text) for text in texts] == ["1472d", "ki1r", "9r2kc", "olbq", "1yd5z"]


@pytest.mark.parametrize(("language", "domain"), kept())
def test_no_two_texts_have_one_key(language: str, domain: str) -> None:
    english = {key_of(message) for message in catalogue(language, domain) if message.id}
    assert len({short_key(text) for text in english}) == len(english)


class Marked(NullTranslations):
    """Translations that show which text went through them."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    ugettext = gettext


class Shown(HTMLParser):
    """What of a page people read or hear."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._inside.append(tag)
        self.texts += [value for name, value in attrs if name in ("aria-label", "title", "placeholder", "alt")]

    def handle_endtag(self, tag: str) -> None:
        while self._inside and self._inside.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() not in ("", "{}") and self._inside[-1:] not in (["script"], ["style"]):
            self.texts.append(data.strip())


def test_the_template_writes_no_text_past_the_catalogues() -> None:
    env = environment.__wrapped__("UTC")
    env.translations = Marked()
    shown = Shown()
    template = env.from_string((ROOT / "templates/driver.html").read_text())
    values = {
        "asset": lambda path: path,
        "language": "en",
        "direction": "ltr",
        "zone": "UTC",
        "texts": {},
        "minor_units": {},
    }
    shown.feed(template.render(**values, dispatch_call="tel:0"))
    assert len(shown.texts) > 50
    assert [text for text in shown.texts if not (text.startswith("⟦") and text.endswith("⟧"))] == ["Callboard"]


LITERAL = re.compile(r"""//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`""", re.DOTALL)
"""A comment or a text; the scripts write no text in single quotes."""
SAYING = re.compile(r"[a-z]{2,}[,.:;]? [a-z]{2,}|[“A-Z][^_]*[a-z]{2,}[.!?…]?$")
"""What reads like words for people: more than one, or one with a capital."""
SUGGESTED = {*REASONS_TO_REASSIGN, *REASONS_TO_CANCEL, *REASONS_FOR_AVAILABILITY}
"""The reasons that the board suggests for what a driver hears."""
FOR_PROGRAMS = {
    "action-store.js": {"no answer"},
    "in-hand.js": {"callboard.inHand"},
    "alarm.js": {"AudioContext"},
    "connection.js": {"no answer", "connection lost"},
    "guard.js": {"button, summary, a[href]"},
    "hand-in.js": {
        "Content-Type", "${base}/drivers/${driverId}/assignments/${assignmentId}/${CALLS[type]}?present=0",
    },
    "last-seen.js": {"callboard.driver.lastSeen"},
    "main.js": {"serviceWorker"},
    "offer-screen.js": {"Escape"},
    "pin.js": {"Content-Type", "${base}/drivers/${driverId}/assignments/${assignmentId}/pin"},
    "push.js": {
        "PushManager", "Notification", "DELETE", "Content-Type", "no push service",
        "${path} answered ${response.status}",
    },
    "session.js": {"${base}/drivers/${encodeURIComponent(driverId)}/session"},
    "state.js": {"${state.seq} then ${message.seq}"},
    "sign-in.js": {"Content-Type"},
    "sw.js": {"Content-Type", "${ROOT}/driver", "${ROOT}/static/icons/callboard-192.png"},
    "tab.js": {"AbortError"},
    "token.js": {"callboard.driver.signingIn"},
    "upload.js": {
        (
            "${base}/drivers/${driverId}/assignments/${assignmentId}/proofs?"
            '${new URLSearchParams({ kind, actionId, present: "0" })}'
        ),
    },
    "view.js": {"Callboard"},
    "words.js": {reason for reason in SUGGESTED if " " in reason},
}  # fmt: skip


FOR_PROGRAMS_OF_SCREENS = {
    "app.js": {"use strict", "Content-Type", "X-CSRF-Token", "(prefers-color-scheme: dark)", "Escape"},
    "insights.js": {"use strict", "byDay", "(prefers-color-scheme: dark)"},
    "policy.js": {"use strict", "message bad"},
    "watch.js": {"Escape", "Enter"},
    "beyond.js": {'${summary} ${text("Search for more words to see all.")}', "HX-Request"},
    "dialogs.js": {"Content-Type", "input, button"},
    "docs.js": {"(prefers-color-scheme: dark)", "h3.opblock-tag, section.models > h4"},
    "hub.js": {
        "id: ${this.#position}\\nevent: resync\\ndata: ", "event: changed\\ndata: ${page.about}", "X-Session",
    },
    "keys.js": {"Escape", "Enter"},
    "import.js": {"Content-Type", "X-CSRF-Token", "HX-Request"},
    "order-form.js": {"(prefers-reduced-motion: reduce)", "storeName"},
    "zone-shape.js": {
        "Feature", "FeatureCollection", "MultiPolygon", "Polygon", "no position", "a ring is a list",
        "a polygon is a list of rings",
    },
    "zones.js": {"(prefers-reduced-motion: reduce)", "Enter", "Escape", "Leaflet is missing"},
    "lists.js": {
        "no table of ${list}", "button, input", "(prefers-reduced-motion: reduce)", "${row.offsetHeight}px",
        "moveBefore", "nextElementSibling", "previousElementSibling",
    },
    "live.js": {"DOMContentLoaded"},
    "map.js": {
        "setLatLng", "setLatLngs", "getLatLng", "(prefers-reduced-motion: reduce)", "(prefers-color-scheme: dark)",
        "Leaflet is missing", "dragstart zoomstart",
    },
    "notices.js": {"Callboard"},
    "page.js": {"innerMorph"},
    "subscription.js": {"Content-Type", "No stream", "AbortError"},
}  # fmt: skip


@pytest.mark.parametrize("path", sorted((ROOT / SCRIPTS).glob("*.js")), ids=lambda path: path.name)
def test_a_script_writes_no_text_past_the_catalogues(path: Path) -> None:
    assert past_the_catalogue(path, DRIVER) - FOR_PROGRAMS.get(path.name, set()) == set()


FOR_PROGRAMS_OF_MODULES = {
    "Subject",
    "Callboard", "NotDone", "Feature", "Changes", "Location", "Cookie", "Vary", "Deliveries", "MedianSeconds",
    "P90Seconds", "LaterShare", "the board cannot be read now", "the board could not be read again",
    "FeatureCollection", "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Europe",
    "Indian", "Pacific", "© OpenStreetMap contributors",
}  # fmt: skip
"""Header fields, keys, names of the time zone database, what is only logged, and an attribution as its owner asks."""
FOR_DEVELOPERS = {"Counter", "Gauge", "Histogram", "AssertionError"}
SAYING_OF_MODULES = re.compile(r"[a-z]{2,}[,.:;]? [a-z]{2,}|^[“A-Z][^_]*[a-z]{2,}[.!?…]?$")
HEADER = re.compile(r"[A-Z][A-Za-z0-9]*((-|, )[A-Z][A-Za-z]*)+")


def literals_of(path: Path) -> Iterator[str]:
    """The literals of a module, without docstrings, help of metrics and errors for developers."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(text)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr | ast.Assert)
        or (isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in FOR_DEVELOPERS)
        for text in ([node.value] if isinstance(node, ast.Expr) else ast.walk(node))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


@pytest.mark.parametrize("room", ["web/screens", "board"])
def test_a_module_of_a_screen_writes_no_text_past_the_catalogues(room: str) -> None:
    known = {text for domain in (DRIVER, SCREENS) for text in texts_in(domain)}
    found = {
        f"{path.name}: {text}"
        for path in sorted((SERVER / room).glob("*.py"))
        for text in literals_of(path)
        if SAYING_OF_MODULES.search(text)
        and not HEADER.fullmatch(text)
        and text not in known | FOR_PROGRAMS_OF_MODULES
        and not text.startswith(("<", "attachment;", "expected ", "invalid enum value", ": a text is written"))
    }
    assert found == set()


def texts_in(domain: str) -> Iterator[str]:
    for message in used(domain):
        yield from [message.id] if isinstance(message.id, str) else message.id


@pytest.mark.parametrize("path", screens_scripts(), ids=lambda path: path.name)
def test_a_script_of_a_screen_writes_none_either(path: Path) -> None:
    assert past_the_catalogue(path, SCREENS) - FOR_PROGRAMS_OF_SCREENS.get(path.name, set()) == set()


def past_the_catalogue(path: Path, domain: str) -> set[str]:
    """The literals of a script that read like words for people, and are not in the catalogue."""
    known = set(texts_in(domain))
    literals = {found[1:-1] for found in LITERAL.findall(path.read_text()) if found[0] != "/"}
    said = {text for text in literals if SAYING.search(text) and not text.startswith(("Bearer ", "./", "/", ".", "#"))}
    return said - known


def test_screens_say_order_and_the_api_says_delivery() -> None:
    """One word for one thing: the way to the customer may be called a delivery, the thing itself not."""
    ways = {"delivery about %(time)s", "Delivery late"}
    of_screens = ("templates/", "static/", "server/board/", "server/web/screens/")
    said = {
        text
        for message in used(SCREENS)
        if any(place.startswith(of_screens) for place, _ in message.locations)
        for text in ([message.id] if isinstance(message.id, str) else message.id)
    }
    assert {text for text in said if re.search(r"\bdeliver(y|ies)\b", text, re.IGNORECASE)} <= ways


@pytest.mark.parametrize(
    ("accepted", "chosen", "language"),
    [
        ("", "", "en"),
        ("de", "", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "", "de"),
        ("fr-FR,fr;q=0.9,es-MX;q=0.8,en;q=0.1", "", "es"),
        ("en;q=0.1, es;q=0.5", "", "es"),
        ("DE-de", "", "de"),
        ("fr, pl", "", "en"),
        ("*", "", "en"),
        ("de;q=0, es;q=0.1", "", "es"),
        ("de;q=x, es;q=0.1", "", "es"),
        (";;,,=;q=", "", "en"),
        ("es", "de", "de"),
        ("es", "tlh", "es"),
    ],
)
def test_a_phone_gets_the_language_of_the_policy_or_its_own(accepted: str, chosen: str, language: str) -> None:
    assert language_for(accepted, chosen) == language
