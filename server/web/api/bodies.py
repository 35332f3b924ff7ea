"""What a request brings along, decoded strictly into structs: its body as JSON, its query, or a file."""

from codecs import BOM_UTF8
from collections.abc import Collection, Mapping
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from server.contract.unstorable import HALF_CHARACTER, half_character_in, nul_in
from server.web.http.caller import Call
from server.web.http.errors import MALFORMED, TOO_LARGE, UNSUPPORTED, FieldError, Problem, invalid
from server.web.http.mistakes import missing_in, mistakes_in, with_whole_numbers

BODY_LIMIT_BYTES: Final = 65_536
JSON: Final = "application/json"

_JSON: Final = JSON.encode()

T_co = TypeVar("T_co", covariant=True)


class Upload(Struct, frozen=True):
    """A request body that is a file, of one of these types by its content."""

    types: tuple[str, ...]
    limit_bytes: int

    async def of(self, request: Call) -> bytes:
        """The file. Raises 400 or 413."""
        return await _received(request, dict(request.scope["headers"]), self.limit_bytes)


class Body(Generic[T_co]):
    """The type of a request body. `optional`: the client may send no body, which counts as an empty object. `whole`:
    every field is required, even if the struct has a default for it, except those of `may_lack` (wire names), which get
    their default. `limit_bytes` is for bodies with much in them.
    """

    def __init__(
        self,
        kind: type[T_co],
        *,
        optional: bool = False,
        whole: bool = False,
        may_lack: Collection[str] = (),
        limit_bytes: int = BODY_LIMIT_BYTES,
    ) -> None:
        self.kind = kind
        self.limit_bytes = limit_bytes
        self.optional = optional
        self.whole = whole
        self.may_lack = frozenset(may_lack)
        self._decode = msgspec.json.Decoder(kind).decode

    async def of(self, request: Call) -> T_co:
        """The request's body. Raises 400, 413, 415 or 422."""
        return self.decoded(await read_body(request, self.limit_bytes))

    def decoded(self, raw: bytes) -> T_co:
        """These bytes as a body. Raises 400 or 422."""
        if not raw and self.optional:
            raw = b"{}"
        try:
            body = self._decode(raw)
        except msgspec.ValidationError as error:
            body = self._leniently(_untyped(raw), error)
        except (ValueError, RecursionError):
            if raw.startswith(BOM_UTF8):  # some libraries begin every text with it
                return self.decoded(raw.removeprefix(BOM_UTF8))
            raise _unreadable(raw) from None
        if self.whole:
            missing = [
                error for error in missing_in(self.kind, msgspec.json.decode(raw)) if error.field not in self.may_lack
            ]
            if missing:
                raise invalid(missing)
        # PostgreSQL's text type holds every character except this one.
        if b"\\u0000" in raw:
            found = nul_in(body)
            if found is not None:
                raise invalid([FieldError(found, "must not contain the character NUL")])
        return body

    def _leniently(self, value: object, error: msgspec.ValidationError) -> T_co:
        """The body, if its only error is that integers are written as `5.0`, which JSON allows."""
        try:
            return msgspec.convert(with_whole_numbers(value, self.kind), self.kind)
        except msgspec.ValidationError:
            raise invalid(mistakes_in(self.kind, value, error)) from None


class Query(Generic[T_co]):
    """The type of a query string. Empty values count as missing; unknown parameters are ignored."""

    def __init__(self, kind: type[T_co]) -> None:
        self.kind = kind
        self._known = {field.encode_name for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]

    def of(self, request: Call) -> T_co:
        """The request's query. Raises 422."""
        known = self._known
        given = {key: value for key, value in request.query_params.items() if value and key in known}
        for key, value in given.items():
            if "\x00" in value:
                raise invalid([FieldError(key, "must not contain the character NUL")])
        try:
            return msgspec.convert(given, self.kind, strict=False)
        except msgspec.ValidationError as error:
            raise invalid(mistakes_in(self.kind, given, error, strict=False)) from None


async def read_body(request: Call, limit_bytes: int = BODY_LIMIT_BYTES) -> bytes:
    """The bytes of the body. A Content-Type, if any, must be JSON. Raises 400, 413 or 415."""
    headers = dict(request.scope["headers"])
    body = await _received(request, headers, limit_bytes)
    if body:
        content_type, encoding = headers.get(b"content-type", _JSON), headers.get(b"content-encoding", b"identity")
        if content_type != _JSON and not _is_json(content_type):
            raise Problem(UNSUPPORTED, "Send JSON: `Content-Type: application/json`.")
        if encoding.strip().lower() != b"identity":
            raise Problem(UNSUPPORTED, "Send the body as it is, without Content-Encoding.")
    return body


async def _received(request: Call, headers: Mapping[bytes, bytes], limit_bytes: int) -> bytes:
    """The bytes of the body. Raises 400 if it ends early, and 413."""
    if _exceeds(headers.get(b"content-length", b"0"), limit_bytes):
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    length = 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Problem(MALFORMED, "The body ended early.")
        chunk: bytes = message["body"]  # type: ignore[typeddict-item]
        length += len(chunk)
        if length > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(chunk)
        if not message.get("more_body", False):
            return b"".join(parts)


def _exceeds(digits: bytes, limit: int) -> bool:
    """Whether this Content-Length exceeds the limit. A value with many digits is, even with leading zeros."""
    return len(digits) > 20 or int(digits) > limit


def _untyped(raw: bytes) -> object:
    """The decoded body, or None for numbers that are too large. Raises 400 for a body that is not valid JSON: the typed
    decoder stops at the first wrong field and does not see the rest.
    """
    try:
        return msgspec.json.decode(raw)
    except (msgspec.ValidationError, RecursionError):  # valid JSON with numbers too large or nesting too deep
        return None
    except ValueError:
        raise _unreadable(raw) from None


def _unreadable(raw: bytes) -> Problem:
    """422 if a text has half a character, which is JSON but cannot be stored; otherwise 400."""
    field = half_character_in(raw)
    if field is not None:
        return invalid([FieldError(field, HALF_CHARACTER)])
    return Problem(MALFORMED, "The body is not valid JSON in UTF-8.")


def _too_large(limit_bytes: int) -> Problem:
    return Problem(TOO_LARGE, f"The limit of a body is {limit_bytes} bytes.")


def _is_json(content_type: bytes) -> bool:
    kind, *parameters = content_type.decode("latin-1").lower().split(";")
    named = {name.strip(): value.strip(' "') for name, _, value in (part.partition("=") for part in parameters)}
    kind = kind.strip()
    is_json = kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))
    return is_json and named.get("charset", "utf-8") in ("utf-8", "utf8", "us-ascii")
