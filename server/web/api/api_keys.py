"""The HTTP API of API keys: admins create and revoke them. Only the response to the creation contains the key."""

from typing import Final

from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.store.api_keys import ApiKey
from server.web.access.api_keys import ApiKeys, shown
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import Body, Query, answer, endpoint, id_in_path, no_content
from server.web.api.operations import TAG
from server.web.http.caller import Call
from server.web.http.errors import not_found
from server.web.http.paging import BY_ID

NEW_KEY: Final = Body(s.NewApiKey)
PAGE: Final = Query(s.PageQuery)


@endpoint(
    "POST",
    "/admin/api-keys",
    tag=TAG,
    summary="Create an API key for an order source or a seller. Only this response contains the key.",
    guard=ADMIN,
    body=NEW_KEY,
    answers={201: a.NewApiKeyView},
)
async def make_key(request: Call) -> ASGIResponse:
    new = await NEW_KEY.of(request)
    keys: ApiKeys = request.app.state.api_keys
    seller_id = new.seller_id.strip() if new.seller_id is not None else None
    key_id, key = await keys.make(new.name, request.user.subject, seller_id)
    return answer(a.NewApiKeyView(key_id, new.name, key, shown(key), seller_id), 201)


@endpoint(
    "GET",
    "/admin/api-keys",
    tag=TAG,
    summary="List API keys, including revoked ones, newest first.",
    guard=VIEWERS,
    query=PAGE,
    answers={200: list[a.ApiKeyView]},
)
async def list_keys(request: Call) -> ASGIResponse:
    query = PAGE.of(request)
    keys: ApiKeys = request.app.state.api_keys
    found = await keys.page(BY_ID.only(query.cursor), query.limit + 1)
    return answer(BY_ID.page(found, query.limit, lambda key: (key.id,), key_view))


def key_view(key: ApiKey) -> a.ApiKeyView:
    """The view of a key."""
    return a.view(a.ApiKeyView, key)


@endpoint(
    "DELETE",
    "/admin/api-keys/{key_id:str}",
    tag=TAG,
    summary="Revoke an API key. All nodes refuse it within a second.",
    guard=ADMIN,
    answers={204: None},
)
async def revoke_key(request: Call, key_id: FromPath[str]) -> ASGIResponse:
    keys: ApiKeys = request.app.state.api_keys
    if not await keys.revoke(id_in_path(key_id)):
        raise not_found()
    return no_content()
