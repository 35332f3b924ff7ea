"""`/asyncapi.json`: the driver's websocket, made from the very types that its messages are decoded and encoded with."""

from typing import Any, Final, get_args

import msgspec
from msgspec import Struct

from server import __version__
from server.contract import messages as m
from server.sockets import session
from server.sockets.session import CloseCode

REF: Final = "#/components/schemas/"
ADDRESS: Final = "/ws/driver"
DESCRIPTION: Final = """Each driver's app opens one websocket, at `/ws/driver?lastSeq=N`.

Send the token in the header `Authorization: Bearer`. A browser sends it as a subprotocol instead:
`callboard.v1, bearer.TOKEN`. Each text frame is one JSON object; `type` names the message. The server sends `hello`
first. Messages with a `seq` are numbered per driver without a gap, across reconnects and nodes. Reconnect with the last
number that you received; `hello` then contains the messages that you missed. With `takeOver=0` the server closes the
connection with 4106 if another device of the driver is in use: ask the driver, then connect without it.

The server answers each message that has an `id` with one `ack` or `error` with that `id` (`ping` with `pong`)."""

CLOSING: Final = "Close codes (4100-4199: do not reconnect; 4200-4299: reconnect):"
CLOSE_CODES: Final = sorted((code.code, code.reason) for code in vars(session).values() if isinstance(code, CloseCode))


def document(root: str = "") -> dict[str, Any]:
    """The AsyncAPI document; addresses begin with `root`."""
    sent, received = get_args(m.ToDriver), get_args(m.FromDriver)
    kinds = (*received, *sent)
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF + "{name}")
    messages = {_name(kind): _message(kind) for kind in kinds}
    closes = "\n".join(f"- {code}: {reason}" for code, reason in CLOSE_CODES)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Callboard: the driver's websocket",
            "version": __version__,
            "description": f"{DESCRIPTION}\n\n{CLOSING}\n\n{closes}",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "driver": {
                "address": root + ADDRESS,
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "query": {
                            "type": "object",
                            "properties": {
                                "lastSeq": {"type": "integer", "minimum": 0},
                                "takeOver": {"type": "integer", "enum": [0, 1], "default": 1},
                            },
                        },
                    }
                },
            }
        },
        "operations": {
            "fromDriver": _operation("receive", "Messages from a driver's app.", received),
            "toDriver": _operation("send", "Messages to a driver's app.", sent),
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _name(kind: type[Struct]) -> str:
    return str(kind.__struct_config__.tag)


def _message(kind: type[Struct]) -> dict[str, object]:
    return {
        "name": _name(kind),
        "summary": (kind.__doc__ or "").strip(),
        "payload": {"$ref": REF + kind.__name__},
    }


def _operation(action: str, summary: str, kinds: tuple[type[Struct], ...]) -> dict[str, object]:
    return {
        "action": action,
        "summary": summary,
        "channel": {"$ref": "#/channels/driver"},
        "messages": [{"$ref": f"#/channels/driver/messages/{_name(kind)}"} for kind in kinds],
    }
