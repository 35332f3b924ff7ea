"""The policy as a form: its values, what was typed into it, and what is wrong with that, field by field."""

from typing import Any, Final

import msgspec
from msgspec import Struct

from server.contract.words import LEVEL_ACTIONS
from server.dispatch.policy import Policy, contradictions
from server.texts.speech import later, said
from server.web.http.forms import Form
from server.web.screens.board_form import REASON_LIMIT
from server.web.screens.policy_fields import AFTER, FIELDS, LEVEL, SECTIONS, Field, document_of

RUNGS_LIMIT: Final = 10
TEXT_LIMIT: Final = 100
REASON_MISSING: Final = later("Enter a reason for the history.")
CONTRADICTIONS: Final = {"wideSearchRadiusKm": later("Must not be below the search radius.")}
"""What the rules say of fields that do not fit together, in words of the form."""
LADDER_FALLS: Final = later("Must rise from level to level.")


class Rung(Struct, frozen=True):
    """A rung of the ladder as written."""

    level: str
    after: str
    actions: tuple[str, ...]


class PolicyForm(Struct, frozen=True):
    """A form as somebody sees it, made from this version of the policy."""

    version: int
    values: dict[str, str]
    rungs: list[Rung]
    reason: str


def filled_with(policy: Policy, version: int, reason: str = "") -> PolicyForm:
    """The form with this policy in it, to become the one after `version`."""
    values = {name: FIELDS[name].written(value) for name, value in document_of(policy).items()}
    rungs = [Rung(str(rung.level), str(rung.after_seconds), rung.actions) for rung in policy.escalation]
    return PolicyForm(version, values, rungs, reason)


def filled_from(form: Form, current: int) -> PolicyForm:
    """The form as it was posted; `current` replaces a version that cannot be read."""
    values = {name: form.text(name)[:TEXT_LIMIT] for name in FIELDS}
    rungs = []
    for index in range(RUNGS_LIMIT):
        at = f"escalation[{index}]"
        level, after = form.all(f"{at}.level"), form.all(f"{at}.afterSeconds")
        if not level and not after:
            break
        actions = form.all(f"{at}.actions")
        rungs.append(
            Rung(
                form.text(f"{at}.level")[:TEXT_LIMIT],
                form.text(f"{at}.afterSeconds")[:TEXT_LIMIT],
                tuple(action for action in LEVEL_ACTIONS if action in actions),
            )
        )
    version = form.text("version")
    made_from = int(version) if version.isascii() and version.isdigit() and len(version) <= 9 else current
    return PolicyForm(made_from, values, rungs, form.text("reason"))


def with_another_rung(filled: PolicyForm) -> PolicyForm:
    """One level more, later than those there are."""
    if len(filled.rungs) >= RUNGS_LIMIT:
        return filled
    last = filled.rungs[-1] if filled.rungs else Rung("0", "0", ())
    level = min(int(last.level) + 1, RUNGS_LIMIT) if last.level.isascii() and last.level.isdigit() else ""
    after = int(last.after) + 900 if last.after.isascii() and last.after.isdigit() else ""
    return msgspec.structs.replace(filled, rungs=[*filled.rungs, Rung(str(level), str(after), ())])


def without_rung(filled: PolicyForm, index: int) -> PolicyForm:
    """One level less."""
    return msgspec.structs.replace(filled, rungs=[rung for at, rung in enumerate(filled.rungs) if at != index])


def policy_in(filled: PolicyForm) -> tuple[Policy | None, dict[str, str]]:
    """The policy that was written, or what is wrong by field.

    1. Each field by itself. 2. What no field shows by itself. 3. The reason.
    """
    wrong: dict[str, str] = {}
    document: dict[str, Any] = {"version": filled.version, "escalation": []} | {section: {} for section in SECTIONS}

    def read(field: Field, text: str, place: str) -> object:
        try:
            return field.read(text)
        except ValueError as error:
            wrong[place] = str(error)
            return None

    for name, field in FIELDS.items():
        value = read(field, filled.values[name], name)
        part, _, key = name.rpartition(".")
        (document[part] if part else document)[key] = value
    for index, rung in enumerate(filled.rungs):
        at = f"escalation[{index}]"
        document["escalation"].append(
            {
                "level": read(LEVEL, rung.level, f"{at}.level"),
                "afterSeconds": read(AFTER, rung.after, f"{at}.afterSeconds"),
                "actions": rung.actions,
            }
        )
    wrong |= _out_of_range(document, wrong)
    policy = None
    if not wrong:
        policy = msgspec.convert(document, Policy)
        wrong |= {field: said(CONTRADICTIONS.get(field, LADDER_FALLS)) for field, _ in contradictions(policy)}
    if not filled.reason:
        wrong["reason"] = said(REASON_MISSING)
    elif len(filled.reason) > REASON_LIMIT:
        wrong["reason"] = said("At most {count} characters.", count=REASON_LIMIT)
    return (None if wrong else policy), wrong


def _out_of_range(document: dict[str, Any], wrong: dict[str, str]) -> dict[str, str]:
    """The fields that could be read, but are not what the policy takes there."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(Policy)}
    found = {}
    for name, field in FIELDS.items():
        if name in wrong:
            continue
        part, _, key = name.rpartition(".")
        kind = types[key] if not part else {f.encode_name: f.type for f in msgspec.structs.fields(types[part])}[key]
        if not _fits(document[part][key] if part else document[key], kind):
            found[name] = field.wanted
    for index, rung in enumerate(document["escalation"]):
        for field, key in ((LEVEL, "level"), (AFTER, "afterSeconds")):
            place, value = f"escalation[{index}].{key}", rung[key]
            bounds = field.range
            assert bounds is not None
            if place not in wrong and not bounds.least <= value <= bounds.largest:
                found[place] = field.wanted
    return found


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True
