"""The driver page, and the files that make it installable.

The page has no session. It signs in with the code of an invitation, or has a token from a back end. Both are in the
fragment of a link, which browsers never send. It is in the language of the policy, else in the phone's own.
"""

import gzip
import json
import re
from functools import cache
from typing import Final
from urllib.parse import quote

import msgspec
from litestar import get
from litestar.response.base import ASGIResponse
from markupsafe import Markup
from msgspec import Struct

from server.board.templates import environment
from server.dispatch.money import EXPONENTS
from server.dispatch.phones import dialled
from server.paths import STATIC
from server.texts.catalogues import DRIVER, direction, page_texts, translations, worker_texts
from server.texts.languages import LANGUAGES, language_for
from server.web.http.assets import asset, build
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.screens.shell import HTML

ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
MINOR_UNITS: Final = {currency: digits for currency, digits in EXPONENTS.items() if digits != 2}
"""The digits of the currencies that have not two: browsers know other ones for some than ISO 4217 does."""


@get("/driver")
async def driver_page(request: Call) -> ASGIResponse:
    """The same for every driver who reads its language."""
    language = _language(request)
    settings = node_of(request).settings
    plain, packed = _page(settings.time_zone, language, settings.dispatch_phone, settings.root)
    headers = {**ASK_AGAIN, "Content-Language": language, "Vary": "Accept-Encoding, Accept-Language"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return ASGIResponse(body=plain, headers=headers, media_type=HTML)
    return ASGIResponse(body=packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=HTML)


def _language(request: Call) -> str:
    return language_for(request.headers.get("accept-language", ""), node_of(request).policies.current.language)


@cache
def _page(zone_name: str, language: str, dispatch_phone: str, root: str) -> tuple[bytes, bytes]:
    """The page, and the same packed."""
    template = environment(zone_name, language, DRIVER, root).get_template("driver.html")
    body = template.render(
        asset=asset,
        language=language,
        direction=direction(language),
        zone=zone_name,
        texts=_texts(language),
        minor_units=MINOR_UNITS,
        dispatch_call=_call_to(dispatch_phone) if dispatch_phone else None,
    ).encode()
    return body, gzip.compress(body, 6, mtime=0)


def _call_to(phone: str) -> str:
    return f"tel:{quote(re.sub(r'[ ()/.-]', '', dialled(phone)), safe='+*,;')}"


def _texts(language: str) -> Markup:
    """The texts of the scripts as JSON for a template element. Similar texts are neighbours, so that they pack well."""
    texts = dict(sorted(page_texts(language).items(), key=lambda item: str(item[1])))
    packed = json.dumps(texts, ensure_ascii=False, separators=(",", ":")) if texts else ""
    return Markup(packed.replace("&", "\\u0026").replace("<", "\\u003c"))  # noqa: S704 - escaped as `tojson` does


@get("/driver/manifest.webmanifest")
async def manifest(request: Call) -> ASGIResponse:
    """What makes the page installable."""
    language = _language(request)
    headers = {**ASK_AGAIN, "Content-Language": language, "Vary": "Accept-Language"}
    return ASGIResponse(
        body=_manifest(language, node_of(request).settings.root),
        headers=headers,
        media_type="application/manifest+json",
    )


@cache
def _manifest(language: str, root: str) -> bytes:
    said = translations(language).gettext
    icons = [
        {
            "src": root + asset(f"icons/callboard-{size}.png"),
            "sizes": f"{size}x{size}",
            "type": "image/png",
            "purpose": "any",
        }
        for size in (192, 512)
    ]
    masked = {
        "src": root + asset("icons/callboard-maskable-512.png"),
        "sizes": "512x512",
        "type": "image/png",
        "purpose": "maskable",
    }
    return msgspec.json.encode(
        {
            "id": f"{root}/driver",
            "lang": language,
            "dir": direction(language),
            "name": said("Callboard driver"),
            "short_name": "Callboard",
            "description": said("Your offers and deliveries."),
            "start_url": f"{root}/driver",
            "scope": f"{root}/driver",
            "display": "standalone",
            "orientation": "portrait",
            "background_color": "#101418",
            "theme_color": "#17324d",
            "icons": [*icons, masked],
        }
    )


def invitation_words(language: str, driver: str, url: str) -> tuple[str, str]:
    """The subject and the text with which dispatch sends an invitation."""
    said = translations(language).gettext
    text = said("Hello {driver}, this link signs you in for deliveries. It works once: {url}")
    return said("Your sign-in for deliveries"), text.format(driver=driver, url=url)


def words_of_strip(language: str, until: str) -> str:
    """What an invitation on paper says."""
    said = translations(language).gettext
    return said("Scan this code with the camera of your phone. It works once, until {time}.").format(time=until)


class WordsOfTestOrder(Struct, frozen=True):
    """What a test order says."""

    store: str
    pickup: str
    dropoff: str
    notes: str


def words_of_test_order(language: str) -> WordsOfTestOrder:
    """In the language of the driver who gets it."""
    said = translations(language).gettext
    return WordsOfTestOrder(
        said("Test store"),
        said("500 m from the driver"),
        said("1 km from the driver"),
        said("This is a test. There are no goods."),
    )


@get("/driver/sw.js")
async def service_worker(request: Call) -> ASGIResponse:
    """Keeps the page's files and shows notifications. It changes with the build and with the policy's language."""
    headers = {**ASK_AGAIN, "Service-Worker-Allowed": "/driver"}
    chosen = node_of(request).policies.current.language
    body = _worker(chosen if chosen in LANGUAGES else "", node_of(request).settings.root)
    return ASGIResponse(body=body, headers=headers, media_type="text/javascript")


@cache
def _worker(language: str, root: str) -> str:
    """The script with its constants. Without a language, the phone chooses."""
    script = STATIC / "driver" / "sw.js"
    own = sorted(path.name for path in script.parent.iterdir() if path.suffix in (".js", ".css") and path != script)
    files = ["app.css", "app.js", "elements.js", "icons/callboard.svg", *(f"driver/{name}" for name in own)]
    listed = json.dumps([root + asset(file) for file in files])
    constants = {
        "BUILD": json.dumps(build()),
        "FILES": listed,
        "LANGUAGE": json.dumps(language),
        "MINOR_UNITS": json.dumps(MINOR_UNITS),
        "ROOT": json.dumps(root),
        "TEXTS": json.dumps({"en": {}} | worker_texts(), ensure_ascii=False),
    }
    head = "".join(f"const {name} = {value};\n" for name, value in constants.items())
    return head + script.read_text()
