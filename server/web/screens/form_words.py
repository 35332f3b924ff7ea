"""The mistakes of a form in the words of its labels: the API names fields of the wire and types."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from server.texts.speech import later, said
from server.web.http.errors import FieldError, Problem, invalid
from server.web.http.forms import FormInvalid
from server.web.http.mistakes import mistakes_in

T = TypeVar("T", bound=Struct)
NOTHING_WRONG: Final[Mapping[str, str]] = {}

_WORDS: Final = (
    (r"expected (?:int|float) <= (?P<limit>\S+)", later("must be at most {limit}")),
    (r"expected (?:int|float) >= (?P<limit>\S+)", later("must be at least {limit}")),
    (r"expected str of length <= (?P<limit>\d+)", later("must have at most {limit} characters")),
    (r"expected array of length <= (?P<limit>\d+)", later("must have at most {limit} entries")),
    (r"expected str of length >= 1|expected str matching regex .*|is required", later("must not be empty")),
    (r"invalid enum value .*", later("is not one of the choices")),
)
"""What msgspec says, and what a person reads."""


def plain_words(message: str, unit: int = 1) -> str:
    """What is wrong with a field. `unit` is how many of the wire's units one of the form's has: 60 for minutes."""
    for pattern, text in _WORDS:
        found = re.fullmatch(pattern, message)
        if found is None:
            continue
        values = found.groupdict()
        if "limit" in values:
            values["limit"] = f"{float(values['limit']) / unit:g}" if unit > 1 else values["limit"].removesuffix(".0")
        return said(text, **values)
    return said(message)


def field_of(field: str) -> str:
    """The field of a form with a field on the wire; both numbers of a position are one field of a form."""
    name = re.sub(r"\[.*", "", field)
    return f"{name.rpartition('.')[0]}.at" if name.endswith((".lat", ".lon")) else name


class FieldsWrong(FormInvalid):
    """422: what is wrong with the fields of a form, by field. `detail` has all of it in one sentence each."""

    def __init__(self, labels: Mapping[str, str], wrong: Mapping[str, str]) -> None:
        texts = [
            said("{field}: {mistake}", field=said(labels.get(name, name)), mistake=text) for name, text in wrong.items()
        ]
        super().__init__(" ".join(texts))
        self.wrong = dict(wrong)


class Reading:
    """What a form says, as the API takes it, and all that is wrong with it."""

    def __init__(self) -> None:
        self.given: dict[str, object] = {}
        self.wrong: dict[str, str] = {}

    def read(self, field: str, value: Callable[[], object], name: str | None = None) -> None:
        """Take the value of a field, whose name on the wire may be another. It raises ValueError with a sentence."""
        try:
            self.given[name or field] = value()
        except ValueError as error:
            self.wrong[field] = str(error)

    def add(self, problem: Problem, units: Mapping[str, int] | None = None) -> None:
        """What the API says of the fields. Raises the problem if it is not about fields."""
        errors: list[FieldError] = problem.more.get("errors", [])
        if not errors:
            raise problem
        for error in errors:
            self.wrong.setdefault(field_of(error.field), plain_words(error.message, (units or {}).get(error.field, 1)))

    def checked(self, kind: type[T], labels: Mapping[str, str], units: Mapping[str, int] | None = None) -> T:
        """The form as a request of the API. Raises FieldsWrong with all mistakes, in the order of the labels."""
        new = None
        try:
            new = to_struct(kind, self.given)
        except Problem as problem:
            self.add(problem, units)
        if self.wrong or new is None:
            places = {name: place for place, name in enumerate(labels)}
            raise FieldsWrong(labels, dict(sorted(self.wrong.items(), key=lambda one: places.get(one[0], len(places)))))
        return new


def wrong_in(problem: Problem, units: Mapping[str, int] | None = None) -> dict[str, str]:
    """What is wrong by field of the form; empty if the problem is about the form as a whole."""
    if isinstance(problem, FieldsWrong):
        return problem.wrong
    if not problem.more.get("errors"):
        return {}
    found = Reading()
    found.add(problem, units)
    return found.wrong


def problem_text(
    problem: Problem, labels: Mapping[str, str], codes: Mapping[str, str], units: Mapping[str, int] | None = None
) -> str:
    """A problem as a text above a form: `codes` has those of the rules, `units` the divisors of `plain_words`."""
    wrong = wrong_in(problem, units)
    if wrong:
        return FieldsWrong(labels, wrong).detail
    return said(codes[problem.kind.code]) if problem.kind.code in codes else said(problem.detail)


def changed_meanwhile(
    sent: Mapping[str, str],
    was: Mapping[str, str],
    now: Mapping[str, str],
    together: Sequence[Sequence[str]] = (),
) -> dict[str, str]:
    """What somebody else has written since the form was opened (`was`) into fields that this form (`sent`) changes too,
    to something else; `together` are fields that count as one.
    """
    groups = [*together, *([name] for name in sent if not any(name in group for group in together))]
    found: dict[str, str] = {}
    for group in groups:
        mine = any(sent[name] != was[name] for name in group)
        theirs = [name for name in group if now[name] != was[name]]
        if mine and theirs and any(sent[name] != now[name] for name in group):
            found |= {name: now[name] for name in theirs}
    return found


def sentence_of(problem: Problem, *, with_field: bool = False) -> str:
    """A problem as a sentence, without labels of its fields."""
    errors: list[FieldError] = problem.more.get("errors", [])
    text = said(errors[0].message if errors else problem.detail)
    if errors and with_field:
        text = f"{errors[0].field} {text}"
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def to_struct(kind: type[T], given: Mapping[str, object]) -> T:
    """The form as a request of the API. Raises 422."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as error:
        raise invalid(mistakes_in(kind, dict(given), error)) from None
