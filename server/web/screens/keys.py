"""The screen of API keys: who made which, when it was last used, and how an admin creates or revokes one."""

from typing import Final

import msgspec
import structlog
from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.store.query import unless_away
from server.texts.speech import said
from server.web.access.api_keys import ApiKeys
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.api import schemas as s
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.errors import not_found
from server.web.http.forms import Form, read_form
from server.web.screens.shell import flash, page, see_other

SHOWN_LIMIT: Final = 500

log = structlog.get_logger(__name__)


@get("/keys", guards=[VIEWERS])
async def keys(request: Call) -> ASGIResponse:
    """All keys, and the form for one more."""
    return await _keys(request)


@post("/keys", guards=[ADMIN], status_code=200, opt={FORM: True})
async def create(request: Call) -> ASGIResponse:
    """One more key, which is shown this once."""
    form = await read_form(request, Form)
    name, bound, seller = form.text("name"), form.text("bound") == "1", form.text("seller_id")
    fields = {"name": name} | ({"sellerId": seller} if bound else {})
    try:
        new = msgspec.convert(fields, s.NewApiKey)
    except msgspec.ValidationError as error:
        text = (
            said("Write the seller as it is in the orders, with at most 200 characters.")
            if "sellerId" in str(error)
            else said("Write a name, with at most 100 characters.")
        )
        return await _keys(request, 422, problem=text, filled_name=name, filled_seller=seller, bound=bound)
    _, key = await _api_keys(request).make(new.name, request.user.subject, new.seller_id)
    log.info("api_key_created", name=new.name, seller=new.seller_id, by=request.user.subject)
    return await _keys(request, 201, fresh=(new.name, key, new.seller_id))


@post("/keys/{key_id:str}/revoke", guards=[ADMIN], status_code=200, opt={FORM: True})
async def revoke(request: Call, key_id: FromPath[str]) -> ASGIResponse:
    """End a key. All nodes refuse it within a second."""
    await read_form(request, Form)
    known = id_in_path(key_id)
    if not await _api_keys(request).revoke(known):
        raise not_found()
    log.info("api_key_revoked", keyId=known, by=request.user.subject)
    return see_other("/keys", flash(request, "good", said("The key is revoked. Requests with it are refused.")))


def _api_keys(request: Call) -> ApiKeys:
    known: ApiKeys = request.app.state.api_keys
    return known


async def _keys(request: Call, status: int = 200, **context: object) -> ASGIResponse:
    read = _api_keys(request).page(None, SHOWN_LIMIT)
    found = await (unless_away(read) if "fresh" in context else read)
    shown: dict[str, object] = {
        "problem": None,
        "filled_name": "",
        "filled_seller": "",
        "bound": False,
        "fresh": None,
        **context,
    }
    return await page(
        request,
        "keys.html",
        status,
        nav="keys",
        keys=None if found is None else sorted(found, key=lambda key: key.revoked_at is not None),
        values=shown,
    )
