"""Hints between nodes about drivers' sockets. Polling finds what a lost hint would have said."""

import msgspec
from msgspec import Struct


class NodeHint(Struct, frozen=True, array_like=True):
    """Messages as (driver id, seq, body), sessions no longer current as (driver id, session id), and drivers in another
    zone as (driver id, zone).
    """

    messages: list[tuple[str, int, str]]
    superseded: list[tuple[str, str]]
    zones: list[tuple[str, str]] = []


read_hint = msgspec.json.Decoder(NodeHint).decode


def write_hint(hint: NodeHint) -> bytes:
    """The payload on the node's channel."""
    return msgspec.json.encode(hint)
