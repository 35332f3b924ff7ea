"""The driver page: the page itself, what makes it installable, and the link by which a driver gets in.

The page has no session. It speaks the driver's websocket with a token that comes in the fragment of the link, which
no browser sends anywhere. It is in the language of the settings, else in the phone's own.
"""

import gzip
import json
from functools import cache
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import segno
from litestar import get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from markupsafe import Markup
from msgspec import Meta, Struct

from server.board.templates import environment
from server.dispatch.money import EXPONENTS
from server.paths import STATIC
from server.store.reads.drivers import read_driver
from server.texts.catalogues import direction, page_texts, translations, worker_texts
from server.texts.languages import language_for
from server.web.access.auth import mint_token
from server.web.access.guards import ADMIN
from server.web.api.endpoint import Call, Query, id_in_path
from server.web.http.assets import asset, build
from server.web.http.errors import not_found
from server.web.screens.shell import HTML, page

if TYPE_CHECKING:
    from server.node import Node

ASK_AGAIN: Final = {"Cache-Control": "no-cache"}
LINK_HOURS: Final = 24
MINOR_UNITS: Final = {currency: digits for currency, digits in EXPONENTS.items() if digits != 2}
"""The digits of the currencies that have not two: browsers know other ones for some than ISO 4217 does."""


class LinkAsked(Struct, frozen=True):
    """For how long the link is to be good."""

    hours: Annotated[int, Meta(ge=1, le=720)] = LINK_HOURS


LINK: Final = Query(LinkAsked)


@get("/driver", include_in_schema=False)
async def driver_page(request: Call) -> ASGIResponse:
    """The same for every driver who reads its language."""
    language = _language(request)
    plain, packed = _page(request.app.state.settings.time_zone, language)
    headers = {**ASK_AGAIN, "Content-Language": language, "Vary": "Accept-Encoding, Accept-Language"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return ASGIResponse(body=plain, headers=headers, media_type=HTML)
    return ASGIResponse(body=packed, headers={**headers, "Content-Encoding": "gzip"}, media_type=HTML)


def _language(request: Call) -> str:
    return language_for(request.headers.get("accept-language", ""), request.app.state.settings.language)


@cache
def _page(zone_name: str, language: str) -> tuple[bytes, bytes]:
    """The page, and the same packed."""
    template = environment(zone_name, language).get_template("driver.html")
    body = template.render(
        asset=asset,
        language=language,
        direction=direction(language),
        texts=page_texts(language),
        minor_units=MINOR_UNITS,
    ).encode()
    return body, gzip.compress(body, 6, mtime=0)


@get("/driver/manifest.webmanifest", include_in_schema=False)
async def manifest(request: Call) -> ASGIResponse:
    """What makes the page installable."""
    language = _language(request)
    headers = {**ASK_AGAIN, "Content-Language": language, "Vary": "Accept-Language"}
    return ASGIResponse(body=_manifest(language), headers=headers, media_type="application/manifest+json")


@cache
def _manifest(language: str) -> bytes:
    said = translations(language).gettext
    icons = [
        {"src": asset(f"icons/callboard-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png", "purpose": "any"}
        for size in (192, 512)
    ]
    masked = {
        "src": asset("icons/callboard-maskable-512.png"),
        "sizes": "512x512",
        "type": "image/png",
        "purpose": "maskable",
    }
    return msgspec.json.encode(
        {
            "id": "/driver",
            "lang": language,
            "dir": direction(language),
            "name": said("Callboard driver"),
            "short_name": "Callboard",
            "description": said("Your offers and deliveries."),
            "start_url": "/driver",
            "scope": "/driver",
            "display": "standalone",
            "orientation": "portrait",
            "background_color": "#101418",
            "theme_color": "#17324d",
            "icons": [*icons, masked],
        }
    )


@get("/driver/sw.js", include_in_schema=False)
async def service_worker(request: Call) -> ASGIResponse:
    """Keeps the page's files; another build is another worker."""
    headers = {**ASK_AGAIN, "Service-Worker-Allowed": "/driver"}
    body = _worker(request.app.state.settings.language)
    return ASGIResponse(body=body, headers=headers, media_type="text/javascript")


@cache
def _worker(language: str) -> str:
    """Its own language, where everybody has one, is chosen here, else by the phone."""
    script = STATIC / "driver" / "sw.js"
    own = sorted(path.name for path in script.parent.iterdir() if path.suffix in (".js", ".css") and path != script)
    files = ["app.css", "app.js", "icons/callboard.svg", *(f"driver/{name}" for name in own)]
    listed = json.dumps([asset(file) for file in files])
    constants = {
        "BUILD": json.dumps(build()),
        "FILES": listed,
        "LANGUAGE": json.dumps(language),
        "MINOR_UNITS": json.dumps(MINOR_UNITS),
        "TEXTS": json.dumps({"en": {}} | worker_texts(), ensure_ascii=False),
    }
    head = "".join(f"const {name} = {value};\n" for name, value in constants.items())
    return head + script.read_text()


@get("/board/drivers/{driver_id:str}/link", guards=[ADMIN], include_in_schema=False)
async def driver_link(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    """A link for a driver, to be sent or scanned: a fragment for htmx, else a screen."""
    hours = LINK.of(request).hours
    node: Node = request.app.state.node
    driver = await read_driver(node.database.pool, id_in_path(driver_id))
    if driver is None:
        raise not_found()
    token, _ = mint_token(node.settings.secret, "driver", driver.id, hours * 3600)
    home = node.settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")
    link = f"{home}/driver#token={token}"
    template = "driver_link_fragment.html" if "hx-request" in request.headers else "driver_link.html"
    return await page(request, template, nav="board", name=driver.name, hours=hours, link=link, code=qr_code(link))


def qr_code(text: str) -> Markup:
    """A QR code as SVG that takes its colours and its size from the style sheet."""
    code = segno.make_qr(text, error="l")
    return Markup(code.svg_inline(border=2, svgclass="qr", lineclass=None, omitsize=True, title="QR code of the link"))  # noqa: S704


HANDLERS: Final[list[HTTPRouteHandler]] = [driver_page, manifest, service_worker, driver_link]
