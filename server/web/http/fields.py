"""The fields of a plain form, as browsers post it without a script."""

from typing import Any, Final
from urllib.parse import parse_qsl

from litestar import Request

from server.web.http.errors import MALFORMED, Problem

FORM_TYPE: Final = "application/x-www-form-urlencoded"
FIELDS_LIMIT: Final = 100


async def read_fields(request: Request[Any, Any, Any]) -> dict[str, str]:
    """The fields, the last value of each; none if the body is no form. Raises 400 or 413. It may be asked again."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM_TYPE:
        return {}
    body = await request.body()
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_LIMIT)
    except ValueError:
        raise Problem(MALFORMED, "The body is not a form.") from None
    # PostgreSQL's text holds any character but NUL.
    return {name: value.replace("\0", "\ufffd") for name, value in pairs}
