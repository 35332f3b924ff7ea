"""Two devices of one driver that take the connection from each other: the next one waits longer and longer."""

from datetime import timedelta

import pytest

from server.dispatch.takeovers import (
    SHIFT,
    Connected,
    LastConnection,
    is_of_another,
    last_connection,
    may_connect_at,
    takeovers,
    two_devices,
)
from tests.builders import NOW


def turns(devices: str, *, superseded: bool = True) -> list[Connected]:
    """Connections of these devices, a letter each, the last one now."""
    return [
        Connected(NOW - timedelta(seconds=len(devices) - 1 - place), device, superseded)
        for place, device in enumerate(devices)
    ]


@pytest.mark.parametrize(("devices", "times"), [("", 0), ("a", 0), ("aaaa", 0), ("ab", 1), ("abba", 2), ("abab", 3)])
def test_a_takeover_is_by_another_device(devices: str, times: int) -> None:
    assert takeovers(turns(devices)) == times
    assert takeovers(turns(devices, superseded=False)) == 0
    assert two_devices(turns(devices)) is (times == 3)


@pytest.mark.parametrize(
    ("devices", "wait"),
    [("aba", None), ("abab", 5), ("ababa", 10), ("ababab", 20), ("abababa", 40), ("abababab", 60), ("ab" * 500, 60)],
)
def test_the_wait_grows_with_every_takeover(devices: str, wait: int | None) -> None:
    assert may_connect_at(turns(devices), "c") == (NOW + timedelta(seconds=wait) if wait else None)


def test_the_device_that_connected_last_never_waits() -> None:
    assert may_connect_at(turns("ababab"), "b") is None
    assert may_connect_at([], "b") is None


@pytest.mark.parametrize(("devices", "seconds"), [("b", 0), ("ab", 0), ("abb", 1), ("babbb", 2)])
def test_a_device_is_in_use_since_it_came_after_another_one(devices: str, seconds: int) -> None:
    since = NOW - timedelta(seconds=seconds)
    assert last_connection(turns(devices), "Phone", True) == LastConnection("b", "Phone", since, NOW, True)


def test_without_a_connection_no_device_is_in_use() -> None:
    assert last_connection([], None, True) is None
    assert not is_of_another(None, "a", NOW)


@pytest.mark.parametrize(
    ("last", "name", "connected", "after", "another"),
    [
        ("b", "Phone", True, 3 * SHIFT, True),
        ("b", "Phone", False, SHIFT - timedelta(seconds=1), True),
        ("b", "Phone", False, SHIFT, False),
        ("b", None, True, 3 * SHIFT, True),
        ("b", None, False, timedelta(0), False),
        ("a", "Phone", True, timedelta(0), False),
        (None, None, True, timedelta(0), False),
    ],
)
def test_a_device_asks_before_it_takes_over_from_the_one_in_use(
    last: str | None, name: str | None, connected: bool, after: timedelta, another: bool
) -> None:
    assert is_of_another(LastConnection(last, name, NOW, NOW, connected), "a", NOW + after) is another
