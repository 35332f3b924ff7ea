"""`/openapi.json`: generated from the declarations of the handlers and from the structs that decode and encode.

Litestar's generator does not know the strict decoding, so it would describe other bodies than those that are accepted.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final, get_args, get_origin

import msgspec
from litestar.routes import BaseRoute, HTTPRoute
from msgspec import UNSET, Struct, UnsetType

from server import __version__
from server.dispatch.model import Nearest
from server.web.api.answers import NotChosen
from server.web.api.bodies import JSON
from server.web.api.endpoint import Described, Download
from server.web.http import errors
from server.web.http.errors import FieldError, Kind
from server.web.http.paging import Page

Schema = dict[str, Any]

REF: Final = "#/components/schemas/"
DESCRIPTION: Final = """Callboard offers each delivery to the right driver and escalates every delivery that finds none.

Instants are RFC 3339 in UTC with milliseconds, ids are UUIDs, distances are in km, and money is in minor units (cents).
Unknown fields in requests are refused; clients must ignore unknown fields in responses. Every error is a problem of
RFC 9457 with a stable `code`. Drivers' apps also use a websocket: see [/asyncapi.json](/asyncapi.json)."""
_ID: Final[Schema] = {"type": "string", "format": "uuid"}
_KEY: Final[Schema] = {"type": "string", "maxLength": 64, "pattern": "^[^/\\u0000]*[^\\s/\\u0000][^/\\u0000]*$"}
_IN_PATH: Final = {"key": _KEY}
TAGS: Final = {
    "/deliveries": "Deliveries",
    "/driver": "Drivers",
    "/imports": "Imports",
    "/admin/webhook": "Webhooks",
    "/admin": "Admin",
    "/health": "System",
}
"""The group of an endpoint, by how its path begins."""


class ProblemView(Struct, frozen=True):
    """An error. `code` is stable; `detail` is for people."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: list[FieldError] | UnsetType = UNSET
    reasons: list[NotChosen] | UnsetType = UNSET
    nearest: Nearest | UnsetType | None = UNSET


class Parts:
    """The schemas of all structs, under short names, for references."""

    def __init__(self, kinds: Iterable[object]) -> None:
        self._kinds = list(dict.fromkeys(kinds))
        schemas, components = msgspec.json.schema_components(self._kinds, ref_template=REF + "{name}")
        self._renamed = {name: _short(name, components) for name in components}
        self.components = {self._renamed[name]: self._clean(schema) for name, schema in components.items()}
        self._of = {kind: self._clean(schema) for kind, schema in zip(self._kinds, schemas, strict=True)}

    def schema(self, kind: object) -> Schema:
        schema: Schema = self._of[kind]
        return schema

    def _clean(self, schema: object) -> Any:
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


def document(routes: Iterable[BaseRoute], root: str = "") -> Schema:
    """The OpenAPI document of these routes below `root`: every handler declared with `endpoint`."""
    operations = list(_operations(routes))
    parts = Parts([ProblemView, *(kind for _, _, _, described in operations for kind in _kinds(described))])
    for _, _, _, described in operations:
        if described.body is not None and described.body.whole:
            _require_all(parts, described.body.kind, described.body.may_lack)
    paths: dict[str, Schema] = {}
    for path, method, name, described in operations:
        paths.setdefault(path, {})[method] = _operation(path, name, described, parts)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Callboard",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": root or "/"}],
        "tags": [{"name": tag} for tag in TAGS.values()],
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
            described = handler.opt.get("described")
            if isinstance(described, Described):
                for method in handler.http_methods:
                    yield _camel_path(route.path_format), method.lower(), handler.handler_name, described


def _camel_path(path: str) -> str:
    return re.sub(r"\{([^}:]+)[^}]*\}", lambda found: "{" + _camel(found.group(1)) + "}", path)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def _kinds(described: Described) -> Iterator[object]:
    if described.body is not None:
        yield described.body.kind
    for kind in described.answers.values():
        if kind is not None and not isinstance(kind, Download):
            yield get_args(kind)[0] if get_origin(kind) is Page else kind


def _require_all(parts: Parts, kind: object, may_lack: Collection[str]) -> None:
    """When a request replaces a whole document, every field of it is required, in nested structs too, except those
    that it may lack.
    """
    reached = [parts.schema(kind)]
    while reached:
        schema = reached.pop()
        if "$ref" in schema:
            reached.append(parts.components[schema["$ref"].removeprefix(REF)])
        elif "properties" in schema and schema.get("required") != _required(schema, may_lack):
            schema["required"] = _required(schema, may_lack)
            reached += [part for part in schema["properties"].values() if "$ref" in part]
            reached += [one for part in schema["properties"].values() for one in part.get("anyOf", ())]


def _required(schema: Schema, may_lack: Collection[str]) -> list[str]:
    return [name for name in schema["properties"] if name not in may_lack]


def _operation(path: str, name: str, described: Described, parts: Parts) -> Schema:
    parameters = [
        {"name": given, "in": "path", "required": True, "schema": _IN_PATH.get(given, _ID)}
        for given in re.findall(r"\{(\w+)\}", path)
    ]
    parameters += _query_parameters(described)
    operation: Schema = {
        "operationId": _camel(name),
        "tags": [next(tag for beginning, tag in TAGS.items() if path.startswith(beginning))],
        "summary": described.summary,
        "parameters": parameters,
        "responses": _responses(path, described, parts),
        "security": [] if described.roles is None else [{"bearer": []}],
    }
    if described.roles is not None:
        operation["description"] = f"Roles: {', '.join(described.roles)}."
        operation["x-roles"] = list(described.roles)
    if described.body is not None:
        operation["requestBody"] = {
            "required": not described.body.optional,
            "content": {JSON: {"schema": parts.schema(described.body.kind)}},
        }
    if described.upload is not None:
        operation["requestBody"] = {"required": True, "content": _files(described.upload.types)}
    return operation


def _files(types: Iterable[str]) -> Schema:
    return {kind: {"schema": {"type": "string", "format": "binary"}} for kind in types}


def _query_parameters(described: Described) -> Iterator[Schema]:
    if described.query is None:
        return
    kind = described.query.kind
    _, components = msgspec.json.schema_components([kind])
    required = components[kind.__name__].get("required", ())
    for name, schema in components[kind.__name__]["properties"].items():
        bare = {key: value for key, value in schema.items() if key != "description"}
        parameter = {"name": name, "in": "query", "required": name in required, "schema": bare}
        if name not in required:
            parameter["allowEmptyValue"] = True
        if "description" in schema:
            parameter["description"] = schema["description"]
        yield parameter


def _responses(path: str, described: Described, parts: Parts) -> Schema:
    responses: Schema = {}
    for status, kind in sorted(described.answers.items()):
        responses[str(status)] = _answer(status, kind, parts)
    expected = [*described.problems]
    if described.roles is not None:
        expected += [errors.UNAUTHORIZED, errors.FORBIDDEN, errors.TRY_AGAIN]
    if "{" in path:
        expected.append(errors.NOT_FOUND)
    if described.body is not None or described.upload is not None:
        expected += [errors.MALFORMED, errors.TOO_LARGE, errors.UNSUPPORTED]
    if described.body is not None or described.upload is not None or described.query is not None:
        expected.append(errors.INVALID)
    for kind in expected:
        responses.setdefault(str(kind.status), {"$ref": f"#/components/responses/{_name(kind)}"})
    if described.refusals:
        responses["409"] = _refused(described.refusals)
    return dict(sorted(responses.items()))


def _answer(status: int, kind: object, parts: Parts) -> Schema:
    if kind is None:
        return {"description": "Done, no content."}
    if isinstance(kind, Download):
        return {"description": "The file.", "content": _files(kind.types)}
    if get_origin(kind) is Page:
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
    text = {201: "Created.", 200: "OK.", 503: "This node is not ready."}
    return {"description": text[status], "content": {JSON: {"schema": schema}}}


def _name(kind: Kind) -> str:
    return "".join(part.capitalize() for part in kind.code.split("_"))


def _problem_response(kind: Kind) -> Schema:
    code = {"properties": {"code": {"const": kind.code}, "status": {"const": kind.status}}}
    schema = {"allOf": [{"$ref": REF + "Problem"}, code]}
    response: Schema = {"description": f"{kind.title}.", "content": {errors.MEDIA_TYPE: {"schema": schema}}}
    if kind in (errors.TOO_MANY, errors.TRY_AGAIN):
        response["headers"] = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
    if kind is errors.UNAUTHORIZED:
        response["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    return response


def _refused(codes: Iterable[str]) -> Schema:
    code = {"properties": {"code": {"enum": list(codes)}, "status": {"const": 409}}}
    schema = {"allOf": [{"$ref": REF + "Problem"}, code]}
    meanings = "\n".join(f"- `{code}`: {errors.conflict(code).title}." for code in codes)
    return {
        "description": f"Refused. The code says why:\n\n{meanings}",
        "content": {errors.MEDIA_TYPE: {"schema": schema}},
    }
