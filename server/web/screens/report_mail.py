"""The day report by mail: who gets it and when, a test, and what became of the latest mails."""

import asyncio
from datetime import date, timedelta
from typing import Final

import structlog
from litestar import get, post
from litestar.response.base import ASGIResponse
from pydantic import ValidationError

from server.board.csv_forms import csv_form_in
from server.ids import new_id
from server.node import Node
from server.notify.report_mails import AT_ONCE
from server.settings import time_zone_of
from server.store.query import database_errors
from server.store.queues.report_mails import record_test_mail, send_report_mails_again, shown_report_mails
from server.texts.speech import counted, later, said
from server.web.access.guards import ADMIN
from server.web.access.sessions import FORM
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.shell import flash, page, see_other

PATH: Final = "/report/mail"
FIELDS: Final = ("report_recipients", "report_at", "report_csv")

log = structlog.get_logger(__name__)


@get(PATH, guards=[ADMIN])
async def report_mail(request: Call) -> ASGIResponse:
    """The recipients, the time, and the latest mails."""
    return await _screen(request)


@post(PATH, guards=[ADMIN], status_code=200, opt={FORM: True})
async def change_report_mail(request: Call) -> ASGIResponse:
    """Set the recipients and the time, on all nodes: those that the environment leaves open."""
    form = await read_form(request, Form)
    node = node_of(request)
    given = {name: form.text(name) for name in FIELDS if _is_open(node, name)}
    if not given:
        raise FormInvalid(later("This cannot be set here."))
    try:
        after = node.settings.with_changes(**given)
    except ValidationError as error:
        field = str(error.errors()[0]["loc"][0])
        return await _screen(request, 422, typed=given, problem=_mistake(field))
    values = {name: str(getattr(after, name)) for name in given}
    if values.get("report_recipients") and not after.report_at:
        return await _screen(request, 422, typed=given, problem=_mistake("report_at"))
    with database_errors():
        await node.change_settings(values, request.user.subject)
    log.info("settings_changed", settings=sorted(values), by=request.user.subject)
    return see_other(PATH, flash(request, "good", said("Saved. It applies now.")))


@post(f"{PATH}/test", guards=[ADMIN], status_code=200, opt={FORM: True})
async def test_report_mail(request: Call) -> ASGIResponse:
    """Send yesterday's report to all recipients now, once, and say what the server answers."""
    await read_form(request, Form)
    node = node_of(request)
    recipients = node.settings.recipients
    if not node.settings.smtp_url or not recipients:
        raise FormInvalid(later("Set the server that takes mails and the recipients first."))
    day = _today(node) - timedelta(days=1)
    draft = await node.report_mails.draft(day)
    mistakes: list[str] = []
    for at in range(0, len(recipients), AT_ONCE):
        some = recipients[at : at + AT_ONCE]
        answers = await asyncio.gather(*(node.report_mails.send(draft, one, new_id()) for one in some))
        for recipient, refused in zip(some, answers, strict=True):
            reason = refused.reason if refused is not None else None
            await record_test_mail(node.database.pool, recipient, day, reason, request.user.subject)
            if reason is not None:
                log.warning("report_mail_test_failed", reason=reason)
        mistakes += [
            said("Not sent to {recipient}: {reason}", recipient=recipient, reason=refused.reason)
            for recipient, refused in zip(some, answers, strict=True)
            if refused is not None
        ]
        if mistakes:  # the admin waits for this answer
            break
    log.info("report_mail_tested", by=request.user.subject, refused=len(mistakes))
    if mistakes:
        return see_other(PATH, flash(request, "bad", " · ".join(mistakes)))
    text = counted("Sent to {count} recipient.", "Sent to {count} recipients.", len(recipients))
    return see_other(PATH, flash(request, "good", text))


@post(f"{PATH}/again", guards=[ADMIN], status_code=200, opt={FORM: True})
async def send_again(request: Call) -> ASGIResponse:
    """Let the failed mails of the last seven days go out again."""
    await read_form(request, Form)
    node = node_of(request)
    found = await send_report_mails_again(node.database.pool, node.settings.recipients, _today(node))
    text = counted("{count} mail goes out again.", "{count} mails go out again.", len(found))
    return see_other(PATH, flash(request, "good", text))


def _today(node: Node) -> date:
    return node.clock.now().astimezone(time_zone_of(node.settings.time_zone)).date()


def _is_open(node: Node, name: str) -> bool:
    return node.known_settings.origin(name) != "environment"


def _mistake(field: str) -> str:
    texts = {
        "report_recipients": said("Write mail addresses, one on each line, 20 at most."),
        "report_at": said("Choose the time at which the report is sent."),
        "report_csv": said("Choose the form of the CSV files."),
    }
    return texts[field]


async def _screen(
    request: Call, status: int = 200, *, typed: dict[str, str] | None = None, problem: str = ""
) -> ASGIResponse:
    node = node_of(request)
    settings = node.settings
    values = {"report_recipients": "\n".join(settings.recipients), "report_at": settings.report_at}
    values |= {"report_csv": settings.report_csv} | (typed or {})
    return await page(
        request,
        "report_mail.html",
        status,
        nav="insights",
        ready=bool(settings.smtp_url),
        sender=settings.mail_from,
        open_fields={name: _is_open(node, name) for name in FIELDS},
        fields=values,
        problem=problem,
        usual=csv_form_in(settings.time_zone),
        recipients=settings.recipients,
        mails=await shown_report_mails(node.database.pool),
    )
