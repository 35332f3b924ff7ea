"""Writes the messages of the driver's socket as types for the scripts (`python -m tests.wire_types`).

The schemas of the AsyncAPI document become TypeScript declarations in the namespace `Wire`. A test compares the file
with the document, so the driver page cannot read a field that the server does not send.
"""

import json
from typing import Any, Final, get_args

from server.contract import messages
from server.paths import ROOT
from server.web.api.asyncapi import REF, document

PATH: Final = ROOT / "tests/js/types/wire.d.ts"
HEAD: Final = """// The driver's socket: `python -m tests.wire_types` writes this from the AsyncAPI document.

declare namespace Wire {
"""
SAID_BY_THE_SERVER: Final = {"Hello.missed": "Numbered[]"}
"""What the document leaves open, because the server sends it as it was kept."""
UNIONS: Final = ("Numbered", "ToDriver", "FromDriver")
PLAIN: Final = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def declarations() -> str:
    """The file as it should be."""
    parts = [_interface(name, schema) for name, schema in document()["components"]["schemas"].items()]
    parts += [
        f"  type {name} = {' | '.join(kind.__name__ for kind in get_args(getattr(messages, name)))};\n"
        for name in UNIONS
    ]
    return HEAD + "\n".join(parts) + "}\n"


def _interface(name: str, schema: dict[str, Any]) -> str:
    needed = set(schema.get("required", ()))
    if "type" in schema["properties"] and name in {kind.__name__ for kind in get_args(messages.FromDriver)}:
        needed.add("type")
    fields = [
        f"    {field}{'' if field in needed else '?'}: {SAID_BY_THE_SERVER.get(f'{name}.{field}') or _type(kind)};\n"
        for field, kind in schema["properties"].items()
    ]
    return f"  interface {name} {{\n{''.join(fields)}  }}\n"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(REF)
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(_type(one) for one in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        inner = _type(schema.get("items", {}))
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if kind == "object":
        return "Record<string, unknown>"
    return PLAIN.get(str(kind), "unknown")


if __name__ == "__main__":
    PATH.write_text(declarations())
