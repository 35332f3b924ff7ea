"""The HTTP API of API keys: admins create and revoke them. Only the response to the creation contains the key."""

from server.web.access.api_keys import ApiKeys, shown
from server.web.access.guards import ADMIN, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import PathId, endpoint
from server.web.http.caller import Call
from server.web.http.errors import not_found
from server.web.http.paging import BY_ID, Page


@endpoint(
    "POST /admin/api-keys",
    "Create an API key for an order source or a seller. Only this response contains the key.",
    ADMIN,
    status=201,
)
async def make_key(request: Call, new: s.NewApiKey) -> a.NewApiKeyView:
    keys: ApiKeys = request.app.state.api_keys
    seller_id = new.seller_id.strip() if new.seller_id is not None else None
    key_id, key = await keys.make(new.name, request.user.subject, seller_id)
    return a.NewApiKeyView(key_id, new.name, key, shown(key), seller_id)


@endpoint("GET /admin/api-keys", "List API keys, including revoked ones, newest first.", VIEWERS)
async def list_keys(request: Call, query: s.PageQuery) -> Page[a.ApiKeyView]:
    keys: ApiKeys = request.app.state.api_keys
    found = await keys.page(BY_ID.only(query.cursor), query.limit + 1)
    return BY_ID.page(found, query.limit, lambda key: (key.id,), lambda key: a.view(a.ApiKeyView, key))


@endpoint("DELETE /admin/api-keys/{key_id}", "Revoke an API key. All nodes refuse it within a second.", ADMIN)
async def revoke_key(request: Call, key_id: PathId) -> None:
    keys: ApiKeys = request.app.state.api_keys
    if not await keys.revoke(key_id):
        raise not_found()
