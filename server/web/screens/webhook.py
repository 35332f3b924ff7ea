"""The screen of one webhook: its delivery status, its log with every try, and what an admin does with it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, TypedDict

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.contract.webhook_events import EVERYTHING
from server.store.query import unless_away
from server.store.queues.webhook_log import (
    TEST,
    Attempted,
    LoggedMessage,
    WebhookStatus,
    read_message,
    read_messages,
    read_webhook_status,
)
from server.store.webhooks import TWO_SECRETS_HOURS, WebhookRow
from server.texts.speech import counted, said
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.api import webhook_messages as messages
from server.web.api import webhooks as api
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import Problem, not_found
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.live_lists import acted, address, chosen_of, live, not_done
from server.web.screens.shell import flash, see_other, with_now
from server.web.screens.webhook_form import (
    GROUPS,
    PATH,
    TOPIC,
    Bar,
    WebhookForm,
    bars,
    checked_webhook,
    filled_webhook,
    mistake_of,
)

LOG_PAGE: Final = 50
STATUSES: Final = ("pending", "delivered", "parked")


def about(message: LoggedMessage) -> str | None:
    """Where the page is of what a message is about."""
    match message.type.partition(".")[0]:
        case "delivery" | "offer" | "ticket":
            return f"/board/deliveries/{message.key}"
        case "driver":
            return f"/board/drivers/{message.key}"
        case "alert":
            return f"/alerts/{message.key}"
        case _:
            return None


@get(with_now(f"{PATH}/{{webhook_id:str}}"), guards=[VIEWERS])
async def webhook(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    return await _one(request, id_in_path(webhook_id))


class Log(TypedDict):
    """The values of the screen of one webhook."""

    webhook: WebhookStatus
    bars: Callable[[Sequence[Attempted]], list[Bar]]
    messages: list[LoggedMessage]
    about: Callable[[LoggedMessage], str | None]
    chosen: str | None
    before: int | None
    older: int | None
    test: str
    path: str
    at_now: datetime


async def _log(request: Call, webhook_id: str) -> Log:
    node = node_of(request)
    pool = node.database.pool
    found = await read_webhook_status(pool, webhook_id)
    if not found:
        raise not_found()
    status = chosen_of(request, "status", STATUSES)
    text = chosen_of(request, "before") or ""
    before = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
    messages = await read_messages(pool, webhook_id, before, status, LOG_PAGE + 1) or []
    return {
        "webhook": found[0],
        "bars": bars,
        "messages": messages[:LOG_PAGE],
        "about": about,
        "chosen": status,
        "before": before,
        "older": messages[LOG_PAGE - 1].seq if len(messages) > LOG_PAGE else None,
        "test": TEST,
        "path": f"{PATH}/{webhook_id}",
        "at_now": node.clock.now(),
    }


async def _one(request: Call, webhook_id: str, code: int = 200, *, filled: WebhookForm | None = None) -> ASGIResponse:
    shown = await _log(request, webhook_id)
    return await _screen(request, shown["webhook"], shown, code, filled=filled)


async def webhook_with_secret(request: Call, row: WebhookRow, secret: str, code: int = 200) -> ASGIResponse:
    """The screen with a new secret, also if the log cannot be read now."""
    return await _screen(request, row, await unless_away(_log(request, row.id)), code, secret=secret)


async def _screen(
    request: Call,
    row: WebhookRow,
    shown: Log | None,
    code: int,
    *,
    secret: str | None = None,
    filled: WebhookForm | None = None,
) -> ASGIResponse:
    path = f"{PATH}/{row.id}"
    chosen, before = (shown["chosen"], shown["before"]) if shown is not None else (None, None)
    context: Mapping[str, object] = shown or {"webhook": row, "messages": None, "path": path}
    return await live(
        request,
        "webhooks/one",
        code,
        nav="webhooks",
        topic=TOPIC if before is None else None,
        now=address(f"{path}/now", status=chosen, before=before),
        secret=secret,
        filled=filled or WebhookForm(row.url, row.events),
        groups=GROUPS,
        everything=EVERYTHING,
        action=path,
        hours=TWO_SECRETS_HOURS,
        **context,
    )


@post(f"{PATH}/{{webhook_id:str}}", guards=[ADMIN], status_code=200, opt={FORM: True})
async def change(request: Call, webhook_id: FromPath[str]) -> ASGIResponse:
    """`do=` save, activate, deactivate, rotate, test, redeliver or delete."""
    known = id_in_path(webhook_id)
    path = f"{PATH}/{known}"
    if not await read_webhook_status(pool_of(request), known):
        raise not_found()
    try:
        form = await read_form(request, Form)
    except FormInvalid as wrong:
        return see_other(path, flash(request, "bad", str(wrong)))
    match form.text("do"):
        case "save":
            return await _save(request, known, filled_webhook(form))
        case "activate":
            await api.changed(request, known, active=True)
            text = said("Started. It gets all new events, and the messages that are waiting.")
        case "deactivate":
            await api.changed(request, known, active=False)
            text = said("Stopped. It gets no messages until you start it again.")
        case "rotate":
            return await webhook_with_secret(request, *await api.rotated(request, known))
        case "test":
            return await _test(request, known)
        case "redeliver":
            return await _redeliver(request, known)
        case "delete":
            await api.removed(request, known)
            return see_other(PATH, flash(request, "good", said("The webhook is removed.")))
        case _:
            return see_other(path, flash(request, "bad", said("Choose what to do.")))
    return see_other(path, flash(request, "good", text))


async def _save(request: Call, webhook_id: str, filled: WebhookForm) -> ASGIResponse:
    try:
        await api.changed(request, webhook_id, url=checked_webhook(filled).url, events=filled.events)
    except FormInvalid as wrong:
        return await _one(request, webhook_id, 422, filled=WebhookForm(filled.url, filled.events, str(wrong)))
    except Problem as problem:
        shown = WebhookForm(filled.url, filled.events, mistake_of(problem))
        return await _one(request, webhook_id, problem.kind.status, filled=shown)
    return see_other(f"{PATH}/{webhook_id}", flash(request, "good", said("Saved.")))


async def _test(request: Call, webhook_id: str) -> ASGIResponse:
    tested = await messages.tested(request, webhook_id)
    (attempt,) = tested.made
    if attempt.error is None:
        kind = "good"
        text = said("The test was accepted: {status} in {ms} ms.", status=attempt.status, ms=attempt.ms)
    else:
        kind = "bad"
        text = said("The test was not accepted: {error} ({ms} ms).", error=attempt.error, ms=attempt.ms)
    return see_other(f"{PATH}/{webhook_id}", flash(request, kind, text))


async def _redeliver(request: Call, webhook_id: str) -> ASGIResponse:
    path = f"{PATH}/{webhook_id}"
    try:
        count = await messages.all_parked_again(request, webhook_id)
    except Problem as problem:
        if problem.kind.status != 409:
            raise
        return not_done(request, problem, path)
    return acted(
        request, counted("{count} message is being sent again.", "{count} messages are being sent again.", count), path
    )


@post(f"{PATH}/{{webhook_id:str}}/messages/{{message_id:str}}", guards=[ADMIN], status_code=200, opt={FORM: True})
async def redeliver(request: Call, webhook_id: FromPath[str], message_id: FromPath[str]) -> ASGIResponse:
    known, message = id_in_path(webhook_id), id_in_path(message_id)
    path = f"{PATH}/{known}"
    found = await read_message(pool_of(request), message)
    if found is None or found.webhook_id != known:
        raise not_found()
    try:
        await messages.sent_again(request, message)
    except Problem as problem:
        if problem.kind.status != 409:
            raise
        return not_done(request, problem, path)
    return acted(request, said("The message is being sent again."), path)
