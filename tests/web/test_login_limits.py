"""How often somebody may try: by name, by address, over time, and never without bounds."""

import pytest

from server.web.login_limits import ADDRESS_TRIES, NAME_TRIES, WINDOW_SECONDS, LoginLimits, Tries


def test_a_name_has_so_many_tries_from_wherever() -> None:
    limits = LoginLimits()
    for n in range(NAME_TRIES):
        assert limits.begin("alice", f"10.0.0.{n}", 0.0) is None
    wait = limits.begin("alice", "10.0.0.99", 0.0)
    assert wait == pytest.approx(WINDOW_SECONDS / NAME_TRIES, abs=1)
    assert limits.begin("bob", "10.0.0.99", 0.0) is None


def test_names_are_counted_in_whatever_case() -> None:
    limits = LoginLimits()
    for n in range(NAME_TRIES):
        assert limits.begin(" Alice" if n % 2 else "ALICE ", f"10.0.0.{n}", 0.0) is None
    assert limits.begin("alice", "10.0.1.1", 0.0) is not None


def test_an_address_has_so_many_tries_for_whatever_names() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES):
        assert limits.begin(f"name-{n}", "10.0.0.1", 0.0) is None
    assert limits.begin("another", "10.0.0.1", 0.0) is not None
    assert limits.begin("another", "10.0.0.2", 0.0) is None


def test_a_network_of_ipv6_is_one_address() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES):
        assert limits.begin(f"name-{n}", f"2001:db8::{n:x}", 0.0) is None
    assert limits.begin("another", "2001:db8::ffff:1", 0.0) is not None
    assert limits.begin("another", "2001:db8:0:1::1", 0.0) is None
    assert limits.begin("another", "::ffff:10.0.0.1", 0.0) is None


def test_tries_come_back_evenly() -> None:
    limits = LoginLimits()
    for n in range(NAME_TRIES):
        limits.begin("alice", f"10.0.0.{n}", 0.0)
    wait = limits.begin("alice", "10.0.0.99", 0.0)
    assert wait is not None
    assert limits.begin("alice", "10.0.0.99", float(wait)) is None
    assert limits.begin("alice", "10.0.0.99", float(wait)) is not None
    assert limits.begin("alice", "10.0.0.99", wait + WINDOW_SECONDS) is None


def test_the_right_password_makes_good_for_the_name_but_not_for_the_address() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES - 1):
        limits.begin(f"name-{n}", "10.0.0.1", 0.0)
    for _ in range(NAME_TRIES * 2):
        assert limits.begin("alice", "10.0.0.1", 0.0) is None
        limits.succeeded("alice", "10.0.0.1", 0.0)
    assert limits.begin("bob", "10.0.0.1", 0.0) is None
    assert limits.begin("carol", "10.0.0.1", 0.0) is not None


def test_memory_is_bounded_and_the_longest_unused_go_first() -> None:
    tries = Tries(1, kept=3)
    for key in "abcd":
        tries.take(key, 0.0)
    assert len(tries) == 3
    assert tries.wait_seconds("a", 0.0) == 0.0
    assert tries.wait_seconds("d", 0.0) > 0.0
