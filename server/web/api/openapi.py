"""`/openapi.json`: made from what the handlers declare and from the very structs that decode and encode.

Litestar's own generator does not see the strict decoding, so it would promise other bodies than those that pass.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, get_args, get_origin

import msgspec
from litestar.routes import BaseRoute, HTTPRoute
from msgspec import UNSET, Struct, UnsetType

from server import __version__
from server.web.api.answers import NotTaken
from server.web.api.endpoint import JSON, Described
from server.web.http import errors
from server.web.http.errors import FieldError, Kind

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"
DESCRIPTION: Final = """Callboard offers each delivery to the right driver and never leaves an order forgotten.

Instants are RFC 3339 in UTC with milliseconds, ids are UUIDs, distances km, money cents. Unknown fields in requests
are refused; clients must ignore unknown fields in answers. Every error is a problem of RFC 9457 with a stable `code`.
Drivers hold a websocket beside this API: see [/asyncapi.json](/asyncapi.json)."""
TAGS: Final = ("Deliveries", "Drivers", "Admin", "System")


class ProblemView(Struct, frozen=True):
    """An error. `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | UnsetType = UNSET
    reasons: list[NotTaken] | UnsetType = UNSET


class Parts:
    """Schemas of structs, gathered once under short names and referred to from everywhere."""

    def __init__(self, kinds: Iterable[Any]) -> None:
        self._kinds = list(dict.fromkeys(kinds))
        schemas, components = msgspec.json.schema_components(self._kinds, ref_template=REF + "{name}")
        self._renamed = {name: _short(name, components) for name in components}
        self.components = {self._renamed[name]: self._clean(schema) for name, schema in components.items()}
        self._of = {kind: self._clean(schema) for kind, schema in zip(self._kinds, schemas, strict=True)}

    def schema(self, kind: Any) -> Schema:
        """The schema of one of the kinds."""
        schema: Schema = self._of[kind]
        return schema

    def _clean(self, schema: Any) -> Any:
        if isinstance(schema, dict):
            return {
                key: REF + self._renamed[value.removeprefix(REF)] if key == "$ref" else self._clean(value)
                for key, value in schema.items()
                if key != "title"
            }
        return [self._clean(item) for item in schema] if isinstance(schema, list) else schema


def _short(name: str, names: Iterable[str]) -> str:
    short = name.removesuffix("View")
    return short if short not in names else name


def document(routes: Iterable[BaseRoute]) -> Schema:
    """The OpenAPI document of these routes: of every handler that was declared by `endpoint`."""
    operations = list(_operations(routes))
    parts = Parts([ProblemView, *(kind for _, _, _, told in operations for kind in _kinds(told))])
    for _, _, _, told in operations:
        if told.body is not None and told.body.whole:
            _require_all(parts, told.body.kind)
    paths: dict[str, Schema] = {}
    for path, method, name, told in operations:
        paths.setdefault(path, {})[method] = _operation(path, name, told, parts)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callboard",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in TAGS],
        "paths": paths,
        "components": {
            "schemas": parts.components,
            "responses": {_name(kind): _problem_response(kind) for kind in errors.OTHERS.values()},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token, or an API key (`cb_...`) of an order source.",
                }
            },
        },
    }


def _operations(routes: Iterable[BaseRoute]) -> Iterator[tuple[str, str, str, Described]]:
    for route in sorted(routes, key=lambda route: route.path):
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            told = handler.opt.get("described")
            if isinstance(told, Described):
                for method in handler.http_methods:
                    yield _camel_path(route.path_format), method.lower(), handler.handler_name, told


def _camel_path(path: str) -> str:
    return re.sub(r"\{([^}:]+)[^}]*\}", lambda found: "{" + _camel(found.group(1)) + "}", path)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _kinds(told: Described) -> Iterator[Any]:
    if told.body is not None:
        yield told.body.kind
    for kind in told.answers.values():
        if kind is not None:
            yield get_args(kind)[0] if get_origin(kind) is list else kind


def _require_all(parts: Parts, kind: Any) -> None:
    """A document that is replaced whole has no optional field, nor has any struct in it."""
    reached = [parts.schema(kind)]
    while reached:
        schema = reached.pop()
        if "$ref" in schema:
            reached.append(parts.components[schema["$ref"].removeprefix(REF)])
        elif "properties" in schema and schema.get("required") != list(schema["properties"]):
            schema["required"] = list(schema["properties"])
            reached += [part for part in schema["properties"].values() if "$ref" in part]
            reached += [one for part in schema["properties"].values() for one in part.get("anyOf", ())]


def _operation(path: str, name: str, told: Described, parts: Parts) -> Schema:
    parameters = [
        {"name": given, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
        for given in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += _query_parameters(told)
    operation: Schema = {
        "operationId": _camel(name),
        "tags": [told.tag],
        "summary": told.summary,
        "parameters": parameters,
        "responses": _responses(path, told, parts),
        "security": [] if told.roles is None else [{"bearer": []}],
    }
    if told.roles is not None:
        operation["description"] = f"For {', '.join(told.roles)}."
        operation["x-roles"] = list(told.roles)
    if told.body is not None:
        operation["requestBody"] = {
            "required": not told.body.optional,
            "content": {JSON: {"schema": parts.schema(told.body.kind)}},
        }
    return operation


def _query_parameters(told: Described) -> Iterator[Schema]:
    if told.query is None:
        return
    kind = told.query.kind
    _, components = msgspec.json.schema_components([kind])
    for name, schema in components[kind.__name__]["properties"].items():
        described = {key: value for key, value in schema.items() if key != "description"}
        parameter = {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": described}
        if "description" in schema:
            parameter["description"] = schema["description"]
        yield parameter


def _responses(path: str, told: Described, parts: Parts) -> Schema:
    responses: Schema = {}
    for status, kind in sorted(told.answers.items()):
        responses[str(status)] = _answer(status, kind, parts)
    expected = []
    if told.roles is not None:
        expected += [errors.UNAUTHORIZED, errors.FORBIDDEN, errors.TRY_AGAIN]
    if "{" in path:
        expected.append(errors.NOT_FOUND)
    if told.body is not None:
        expected += [errors.MALFORMED, errors.TOO_LARGE, errors.UNSUPPORTED]
    if told.body is not None or told.query is not None:
        expected.append(errors.INVALID)
    for kind in expected:
        responses.setdefault(str(kind.status), {"$ref": f"#/components/responses/{_name(kind)}"})
    if told.refusals:
        responses["409"] = _refused(told.refusals)
    return dict(sorted(responses.items()))


def _answer(status: int, kind: Any, parts: Parts) -> Schema:
    if kind is None:
        return {"description": "Done."}
    if get_origin(kind) is list:
        schema: Schema = {
            "type": "object",
            "properties": {
                "items": {"type": "array", "items": parts.schema(get_args(kind)[0])},
                "nextCursor": {"type": ["string", "null"]},
            },
            "required": ["items", "nextCursor"],
        }
    else:
        schema = parts.schema(kind)
    said = {201: "Made.", 200: "As asked.", 503: "Not fit for work."}
    return {"description": said[status], "content": {JSON: {"schema": schema}}}


def _name(kind: Kind) -> str:
    return "".join(part.capitalize() for part in kind.code.split("_"))


def _problem_response(kind: Kind) -> Schema:
    code = {"properties": {"code": {"const": kind.code}, "status": {"const": kind.status}}}
    schema = {"allOf": [{"$ref": REF + "Problem"}, code]}
    response: Schema = {"description": f"{kind.title}.", "content": {errors.MEDIA_TYPE: {"schema": schema}}}
    if kind in (errors.TOO_MANY, errors.TRY_AGAIN):
        response["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    if kind is errors.UNAUTHORIZED:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return response


def _refused(codes: Iterable[str]) -> Schema:
    code = {"properties": {"code": {"enum": list(codes)}, "status": {"const": 409}}}
    schema = {"allOf": [{"$ref": REF + "Problem"}, code]}
    told = "; ".join(f"`{code}`: {errors.conflict(code).title.lower()}" for code in codes)
    return {"description": f"Refused by the rules. {told}.", "content": {errors.MEDIA_TYPE: {"schema": schema}}}
