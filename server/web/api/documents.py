"""The documents of the API: `/openapi.json`, `/asyncapi.json`, and `/docs` to read them; all of it works offline."""

from functools import cache
from typing import Final

from litestar import MediaType, Response, get
from litestar.response.base import ASGIResponse

from server.web.api import asyncapi, openapi
from server.web.api.endpoint import encode
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.protection import PROTECTION

PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Callboard API</title>
<link rel="icon" type="image/png" href="/static/vendor/swagger-ui/favicon-32x32.png">
<link rel="stylesheet" href="/static/vendor/swagger-ui/swagger-ui.css">
<link rel="stylesheet" href="/static/docs.css">
</head>
<body>
<div id="api"></div>
<noscript>This page needs JavaScript; the document itself is at <a href="/openapi.json">/openapi.json</a>.</noscript>
<script src="/static/vendor/swagger-ui/swagger-ui-bundle.js"></script>
<script src="/static/docs.js"></script>
</body>
</html>
"""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {**PROTECTION, "Content-Security-Policy": POLICY, "Referrer-Policy": "no-referrer"}
CACHED: Final = {"Cache-Control": "no-cache"}


@get("/openapi.json")
async def get_openapi(request: Call) -> ASGIResponse:
    state = request.app.state
    root = node_of(request).settings.root
    if state.get("openapi", ("", b""))[0] != f"{root}/":
        state.openapi = f"{root}/", encode(openapi.document(request.app.routes, root))
    return ASGIResponse(body=state.openapi[1], headers=CACHED)


@get("/asyncapi.json")
async def get_asyncapi(request: Call) -> ASGIResponse:
    return ASGIResponse(body=_asyncapi(node_of(request).settings.root), headers=CACHED)


@cache
def _asyncapi(root: str) -> bytes:
    return encode(asyncapi.document(root))


@get("/docs", media_type=MediaType.HTML)
async def get_docs(request: Call) -> Response[str]:
    root = node_of(request).settings.root
    return Response(
        PAGE.replace('="/', f'="{root}/'),
        media_type=MediaType.HTML,
        headers=PAGE_HEADERS,
    )
