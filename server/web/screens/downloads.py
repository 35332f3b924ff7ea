"""Tables as files for a spreadsheet, in the form that a person's spreadsheet program reads."""

from collections.abc import Iterable, Sequence
from typing import Final

from litestar.datastructures import Cookie
from litestar.response.base import ASGIResponse

from server.board.csv_forms import CHOICES, csv_form_for
from server.contract.csv_files import Cell, CsvForm, csv_of
from server.web.http.caller import Call
from server.web.screens.shell import NO_STORE, sessions_of

COOKIE: Final = "callboard_csv"
COOKIE_SECONDS: Final = 400 * 86_400


def csv_choice(request: Call) -> str:
    """What the person has chosen in this browser: a name of CHOICES, or nothing."""
    chosen = request.cookies.get(COOKIE, "")
    return chosen if chosen in CHOICES else ""


def browsers_csv(request: Call) -> CsvForm:
    """The form of the browser's language."""
    return csv_form_for(request.headers.get("accept-language", ""))


def csv_form(request: Call) -> CsvForm:
    """The form that the person has chosen in this browser, else that of its language."""
    return CHOICES.get(csv_choice(request)) or browsers_csv(request)


def csv_file(name: str, data: bytes) -> ASGIResponse:
    headers = {**NO_STORE, "Content-Disposition": f'attachment; filename="{name}"'}
    return ASGIResponse(body=data, headers=headers, media_type="text/csv")


def table_file(request: Call, name: str, rows: Iterable[Sequence[Cell]]) -> ASGIResponse:
    """The rows as a file of this name, in the form of `csv_form`."""
    return csv_file(name, csv_of(rows, csv_form(request)))


def choice_kept(request: Call, choice: str) -> dict[str, str]:
    """The header by which the browser remembers a choice of CHOICES, or forgets it."""
    cookie = Cookie(
        COOKIE,
        value=choice,
        max_age=COOKIE_SECONDS if choice else 0,
        httponly=True,
        samesite="strict",
        secure=sessions_of(request).is_secure(request),
    )
    return {"Set-Cookie": cookie.to_header(header="")}
