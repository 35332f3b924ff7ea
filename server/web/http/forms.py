"""Plain forms, as browsers post them: decoded strictly, each mistake one plain sentence."""

from typing import Final, TypeVar
from urllib.parse import parse_qs

from litestar.exceptions.http_exceptions import RequestEntityTooLarge

from server.texts.speech import later
from server.web.http.caller import Call
from server.web.http.errors import INVALID, TOO_LARGE, Problem

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FIELDS_LIMIT: Final = 1000
ADDRESS_TEXT_LIMIT: Final = 200
WHEN_TOO_LARGE: Final = "when_too_large"
"""The option of a route that has a text for a form that exceeds its limit."""


class FormInvalid(Problem):
    """422: what is wrong with a form, in a sentence for its user."""

    def __init__(self, detail: str) -> None:
        super().__init__(INVALID, detail)


class Form:
    def __init__(self, fields: dict[str, list[str]]) -> None:
        self._fields = fields

    def all(self, name: str) -> list[str]:
        return self._fields.get(name, [])

    def last(self, name: str) -> str:
        """The last value of a field, unchanged, such as a password; empty if it is missing."""
        return self._fields.get(name, [""])[-1]

    def text(self, name: str) -> str:
        """The last value of a field without surrounding blanks; empty if it is missing."""
        return self.last(name).strip()

    def ticked(self, name: str) -> bool:
        return bool(self.text(name))


AnyForm = TypeVar("AnyForm", bound=Form)


def address_text(request: Call, name: str) -> str:
    """A parameter of the address, empty if it is missing: at most 200 characters, and without NUL, which PostgreSQL
    cannot hold.
    """
    return request.query_params.get(name, "").replace("\0", "")[:ADDRESS_TEXT_LIMIT]


def is_form(request: Call) -> bool:
    """Whether the Content-Type is that of a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_TYPE


async def read_form(request: Call, kind: type[AnyForm]) -> AnyForm:
    """The form in the body; without fields if the body is not a form. Raises FormInvalid, or 413."""
    fields = await read_fields(request)
    # PostgreSQL's text holds any character but NUL.
    if any("\0" in value for values in fields.values() for value in values):
        raise FormInvalid(later("A text must not contain the character NUL."))
    return kind(fields)


async def read_fields(request: Call) -> dict[str, list[str]]:
    """The values of each field. The body can be read again. Raises FormInvalid, or 413."""
    if not is_form(request):
        return {}
    try:
        body = await request.body()
    except RequestEntityTooLarge:
        detail = request.route_handler.opt.get(WHEN_TOO_LARGE, later("That is too much text."))
        raise Problem(TOO_LARGE, detail) from None
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_LIMIT, errors="strict")
    except ValueError:
        raise FormInvalid(later("The form data is invalid.")) from None
