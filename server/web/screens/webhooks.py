"""The screen of all webhooks: the events and the delivery status of each, and the form for one more.

Viewers read it; what an admin does on it is what the API does, by plain forms that need no script.
"""

from litestar import get, post
from litestar.response.base import ASGIResponse

from server.contract.webhook_events import EVERYTHING
from server.store.queues.webhook_log import read_webhook_status
from server.store.webhooks import WEBHOOKS_LIMIT
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.api import webhooks as api
from server.web.http.caller import Call
from server.web.http.current_node import pool_of
from server.web.http.errors import Problem
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.live_lists import live
from server.web.screens.shell import with_now
from server.web.screens.webhook import webhook_with_secret
from server.web.screens.webhook_form import (
    GROUPS,
    PATH,
    TOPIC,
    WebhookForm,
    bars,
    checked_webhook,
    filled_webhook,
    mistake_of,
)


@get(with_now(PATH), guards=[VIEWERS])
async def webhooks(request: Call) -> ASGIResponse:
    """Every webhook with its delivery status; the form for one more."""
    return await _all(request, WebhookForm())


async def _all(request: Call, filled: WebhookForm, status: int = 200) -> ASGIResponse:
    return await live(
        request,
        "webhooks/list",
        status,
        nav="webhooks",
        topic=TOPIC,
        now=f"{PATH}/now",
        action=PATH,
        webhooks=await read_webhook_status(pool_of(request)),
        bars=bars,
        filled=filled,
        groups=GROUPS,
        everything=EVERYTHING,
        limit=WEBHOOKS_LIMIT,
    )


@post(PATH, guards=[ADMIN], status_code=200, opt={FORM: True})
async def add(request: Call) -> ASGIResponse:
    """One more. Its secret is shown this once."""
    filled = WebhookForm()
    try:
        filled = filled_webhook(await read_form(request, Form))
        row, secret = await api.made(request, checked_webhook(filled).url, filled.events)
    except FormInvalid as wrong:
        return await _all(request, WebhookForm(filled.url, filled.events, str(wrong)), 422)
    except Problem as problem:
        return await _all(request, WebhookForm(filled.url, filled.events, mistake_of(problem)), problem.kind.status)
    return await webhook_with_secret(request, row, secret, 201)
