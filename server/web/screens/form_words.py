"""The mistakes of a form in the words of its labels: the API names fields of the wire and types."""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from server.texts.speech import later, said
from server.web.http.errors import FieldError, Problem, invalid
from server.web.http.forms import FormInvalid
from server.web.http.mistakes import mistakes_in

T = TypeVar("T", bound=Struct)

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


def label_of(field: str, labels: Mapping[str, str]) -> str:
    """The label of a field on the wire; both numbers of a position are one field of a form."""
    name = re.sub(r"\[.*", "", field)
    if name.endswith((".lat", ".lon")):
        name = f"{name.rpartition('.')[0]}.at"
    return said(labels.get(name, name))


def mistake(labels: Mapping[str, str], field: str, text: str) -> FormInvalid:
    """422 for one field of a form, with its label."""
    return FormInvalid(said("{field}: {mistake}", field=label_of(field, labels), mistake=text))


def problem_text(
    problem: Problem, labels: Mapping[str, str], codes: Mapping[str, str], units: Mapping[str, int] | None = None
) -> str:
    """A problem as a sentence above a form: `codes` has those of the rules, `units` the divisors of `plain_words`."""
    errors: list[FieldError] = problem.more.get("errors", [])
    if errors:
        unit = (units or {}).get(errors[0].field, 1)
        words = plain_words(errors[0].message, unit)
        return said("{field}: {mistake}", field=label_of(errors[0].field, labels), mistake=words)
    return said(codes[problem.kind.code]) if problem.kind.code in codes else said(problem.detail)


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
