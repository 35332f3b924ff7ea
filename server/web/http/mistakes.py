"""All errors of a request, field by field: msgspec stops at the first one.

It is called only for refused requests, so it may be slow.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, get_args

import msgspec
from msgspec import UNSET, Struct

from server.web.http.errors import FieldError

LIMIT: Final = 20
"""Mistakes named at most."""
DEEPEST: Final = 4

_PLACE = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")


def mistakes_in(kind: type, value: object, first: msgspec.ValidationError, *, strict: bool = True) -> list[FieldError]:
    """The errors of a value for a struct of this type; `first` is the one that msgspec found."""
    found: list[FieldError] = []
    if isinstance(value, dict):
        for mistake in _of_struct(kind, value, "", strict, DEEPEST):
            found.append(mistake)
            if len(found) == LIMIT:
                break
    return found or [_field_error(first, "")]


def _of_struct(kind: type, value: Mapping[str, object], at: str, strict: bool, depth: int) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        place = f"{at}{name}"
        if name not in value:
            if field.required:
                yield FieldError(place, "is required")
            continue
        inner = _struct_in(field.type)
        held = value[name]
        if inner is not None and isinstance(held, dict) and depth:
            yield from _of_struct(inner, held, f"{place}.", strict, depth - 1)
            continue
        try:
            msgspec.convert(value[name], field.type, strict=strict)
        except msgspec.ValidationError as error:
            yield _field_error(error, place)
    if kind.__struct_config__.forbid_unknown_fields:  # type: ignore[attr-defined]
        for name in value:
            if name not in fields:
                yield FieldError(f"{at}{name}"[:200], "is an unknown field")


def with_whole_numbers(value: object, kind: object) -> object:
    """The value with `5.0` as 5 where the type allows only an integer."""
    inner = _struct_in(kind)
    if isinstance(value, dict) and inner is not None:
        types = {field.encode_name: field.type for field in msgspec.structs.fields(inner)}
        return {name: with_whole_numbers(item, types.get(name)) for name, item in value.items()}
    if isinstance(value, list):
        item_kind = next(iter(get_args(kind)), None)
        return [with_whole_numbers(item, item_kind) for item in value]
    if isinstance(value, float) and value.is_integer() and int in _plain_types(kind):
        return int(value)
    return value


def _plain_types(annotation: object) -> set[object]:
    """The types in an annotation, without what bounds them."""
    inside = get_args(annotation)
    return set().union(*map(_plain_types, inside)) if inside else {annotation}


def _struct_in(annotation: object) -> type | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Struct):
            return candidate
    return None


def _field_error(error: msgspec.ValidationError, at: str) -> FieldError:
    message = str(error)
    place = _PLACE.search(message)
    if place is not None:
        message = message[: place.start()]
        inside = place.group(1)
        at = f"{at}{inside}" if not at or inside.startswith("[") else f"{at}.{inside}"
    message = message.replace("`", "")
    return FieldError(at, message[:1].lower() + message[1:])


def missing_in(kind: type, value: Mapping[str, object], at: str = "") -> list[FieldError]:
    """The fields of a struct of this kind, and of structs in it, that a valid document leaves to their defaults."""
    missing = []
    for field in msgspec.structs.fields(kind):
        inner = _struct_in(field.type)
        held = value.get(field.encode_name, UNSET)
        if held is UNSET:
            missing.append(FieldError(at + field.encode_name, "is required, because this replaces the whole document"))
        elif inner is not None and isinstance(held, dict):
            missing += missing_in(inner, held, f"{at}{field.encode_name}.")
    return missing
