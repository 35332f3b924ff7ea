"""The driver page: the page itself, what makes it installable, and the link by which a driver gets in.

The page has no session. It speaks the driver's websocket with a token that comes in the fragment of the link, which
no browser sends anywhere.
"""

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
from server.paths import STATIC
from server.store.reads.drivers import read_driver
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


class LinkAsked(Struct, frozen=True):
    """For how long the link is to be good."""

    hours: Annotated[int, Meta(ge=1, le=720)] = LINK_HOURS


LINK: Final = Query(LinkAsked)


@get("/driver", include_in_schema=False)
async def driver_page(request: Call) -> ASGIResponse:
    """The same for every driver."""
    return ASGIResponse(body=_page(request.app.state.settings.time_zone), headers=ASK_AGAIN, media_type=HTML)


@cache
def _page(zone_name: str) -> str:
    return environment(zone_name).get_template("driver.html").render(asset=asset)


@get("/driver/manifest.webmanifest", include_in_schema=False)
async def manifest() -> ASGIResponse:
    """What makes the page installable."""
    return ASGIResponse(body=_manifest(), headers=ASK_AGAIN, media_type="application/manifest+json")


@cache
def _manifest() -> bytes:
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
            "name": "Callboard driver",
            "short_name": "Callboard",
            "description": "Offers of deliveries, and what you do with them.",
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
async def service_worker() -> ASGIResponse:
    """Keeps the page's files; another build is another worker."""
    headers = {**ASK_AGAIN, "Service-Worker-Allowed": "/driver"}
    return ASGIResponse(body=_worker(), headers=headers, media_type="text/javascript")


@cache
def _worker() -> str:
    script = STATIC / "driver" / "sw.js"
    own = sorted(path.name for path in script.parent.iterdir() if path.suffix in (".js", ".css") and path != script)
    files = ["app.css", "app.js", "icons/callboard.svg", *(f"driver/{name}" for name in own)]
    listed = json.dumps([asset(file) for file in files])
    return f"const BUILD = {json.dumps(build())};\nconst FILES = {listed};\n{script.read_text()}"


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
