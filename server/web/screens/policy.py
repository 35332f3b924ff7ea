"""The policy's screen: every tunable with its range, who changed what when and why, and the way back.

An admin's form is an ordinary ChangePolicy. It works without a script; with one only the form is drawn anew.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from litestar import get, post
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.contract.words import LEVEL_ACTIONS
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.refusals import Refusal
from server.store.policies import Version, read_versions
from server.texts.speech import counted, later, said
from server.web.access.guards import ADMIN, VIEWERS
from server.web.access.sessions import FORM
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import not_found
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.board_answers import STATUSES
from server.web.screens.policy_fields import AFTER, GROUPS, LEVEL, Difference, differences
from server.web.screens.policy_form import (
    RUNGS_LIMIT,
    PolicyForm,
    filled_from,
    filled_with,
    policy_in,
    with_another_rung,
    without_rung,
)
from server.web.screens.shell import flash, page, see_other

PATH: Final = "/policy"
PAGE: Final = 20
NOTHING_CHANGED: Final = later("You changed nothing, so there is nothing to save.")


class Entry(Struct, frozen=True):
    """A version in the history; `changes` is None where the one before is not known."""

    version: Version
    changes: list[Difference] | None


@get(PATH, guards=[VIEWERS])
async def policy_screen(request: Call) -> ASGIResponse:
    """The policy in force, or in the form an older version (`?version=`) to go back to; the history from `?before=`."""
    node = node_of(request)
    (newest,) = await read_versions(node.database.pool, None, 1)
    wanted = _number(request.query_params.get("version"))
    shown = newest
    if wanted is not None and wanted != newest.number:
        found = await read_versions(node.database.pool, wanted, 1)
        if not found or found[0].number != wanted:
            raise not_found()
        (shown,) = found
    if shown.policy is None:
        raise not_found()
    going_back = shown is not newest
    reason = said("Back to version {number}", number=shown.number) if going_back else ""
    filled = filled_with(shown.policy, newest.number, reason)
    return await _screen(request, filled, newest, back=shown if going_back else None)


@post(PATH, guards=[ADMIN], status_code=200, opt={FORM: True})
async def change_policy(request: Call) -> ASGIResponse:
    """`do=` add or remove-N change the ladder in the form only; anything else saves.

    1. What is wrong, beside the fields: 422. 2. Nothing changed: 422. 3. Somebody was faster: 409, who and when.
    """
    node = node_of(request)
    (newest,) = await read_versions(node.database.pool, None, 1)
    try:
        form = await read_form(request, Form)
    except FormInvalid as error:
        policy = newest.policy or node.policies.current
        return await _screen(request, filled_with(policy, newest.number), newest, 422, problem=str(error))
    filled = filled_from(form, newest.number)
    do = form.text("do")
    if do == "add":
        return await _screen(request, with_another_rung(filled), newest, focus=len(filled.rungs))
    if do.startswith("remove-"):
        index = _number(do.removeprefix("remove-"))
        return await _screen(request, without_rung(filled, -1 if index is None else index), newest, focus=-1)
    changed, wrong = policy_in(filled)
    if changed is None:
        count = len(wrong)
        problem = counted(
            "Not saved: {count} field needs a correction.", "Not saved: {count} fields need a correction.", count
        )
        return await _screen(request, filled, newest, 422, wrong=wrong, problem=problem)
    if changed == newest.policy:
        return await _screen(request, filled, newest, 422, problem=NOTHING_CHANGED)
    answer = await node.executor.submit(c.ChangePolicy(changed, request.user.actor, filled.reason))
    if isinstance(answer, Refusal):
        return await _refused(request, filled, answer)
    text = said("Saved as version {number}. All nodes use it within a second.", number=filled.version + 1)
    headers = flash(request, "good", text)
    if "hx-request" in request.headers:
        return ASGIResponse(status_code=204, headers={**headers, "HX-Redirect": PATH, "Cache-Control": "no-store"})
    return see_other(PATH, headers)


async def _refused(request: Call, filled: PolicyForm, refusal: Refusal) -> ASGIResponse:
    newest, *_ = await read_versions(pool_of(request), None, 1)
    if refusal.code == r.VERSION_CHANGED.code:
        theirs: list[Difference] = []
        for made_from in await read_versions(pool_of(request), filled.version, 1):
            if made_from.policy is not None and newest.policy is not None:
                theirs = differences(made_from.policy, newest.policy)
        return await _screen(request, filled, newest, 409, overtaken=newest, theirs=theirs)
    return await _screen(request, filled, newest, STATUSES.get(refusal.code, 409), problem=refusal.message)


async def _screen(
    request: Call,
    filled: PolicyForm,
    newest: Version,
    status: int = 200,
    *,
    back: Version | None = None,
    **context: object,
) -> ASGIResponse:
    before = _number(request.query_params.get("before"))
    versions = await read_versions(pool_of(request), before, PAGE + 1)
    shown: dict[str, object] = {
        "wrong": {},
        "problem": None,
        "overtaken": None,
        "theirs": [],
        "focus": None,
        **context,
    }
    going_back = differences(newest.policy, back.policy) if back and back.policy and newest.policy else []
    return await page(
        request,
        "policy/policy.html",
        status,
        nav="policy",
        groups=GROUPS,
        level=LEVEL,
        after=AFTER,
        actions=LEVEL_ACTIONS,
        rungs_limit=RUNGS_LIMIT,
        filled=filled,
        newest=newest,
        going_back=going_back,
        history=_entries(versions),
        older=versions[PAGE].number if len(versions) > PAGE else None,
        is_first_page=before is None,
        back=back,
        values=shown,
    )


def _entries(versions: Sequence[Version]) -> list[Entry]:
    entries = []
    for version, before in zip_longest(versions[:PAGE], versions[1 : PAGE + 1]):
        changes = None
        if before is not None and before.policy is not None and version.policy is not None:
            changes = differences(before.policy, version.policy)
        entries.append(Entry(version, changes))
    return entries


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 9 else None
