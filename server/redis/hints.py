"""Hints between nodes about drivers' sockets and the fleet. Polling finds what a lost hint would have said."""

from datetime import datetime

import msgspec
from msgspec import Struct

from server.dispatch.model import Driver


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


class FleetHint(Struct, array_like=True, omit_defaults=True):
    """For the node with the lease: drivers as committed at a time, ids of deliveries that began to wait, places of
    drivers (id, lat, lon, Unix seconds), and calls of drivers (id, Unix seconds). Drivers come without name and phone.
    """

    drivers: list[tuple[datetime, Driver]] = []
    waiting: list[str] = []
    places: list[tuple[str, float, float, float]] = []
    calls: list[tuple[str, float]] = []


read_fleet_hint = msgspec.json.Decoder(FleetHint).decode


def write_fleet_hint(hint: FleetHint) -> bytes:
    """The payload on the channel DISPATCH."""
    return msgspec.json.encode(hint)
