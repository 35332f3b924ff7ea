"""How often somebody may try: by device, name and network; and that nobody's tries keep another one out."""

from ipaddress import ip_address

import pytest

from server.web.access.login_limits import (
    ADDRESS_TRIES,
    NAME_TRIES,
    NAME_WINDOW_SECONDS,
    PAIR_TRIES,
    WINDOW_SECONDS,
    LoginLimits,
    Tries,
    Try,
)


def networks(count: int, first: str = "10.0.0.1") -> list[str]:
    start = int(ip_address(first))
    return [str(ip_address(start + n)) for n in range(count)]


def may(limits: LoginLimits, name: str, address: str, at: float = 0.0, device: str | None = None) -> bool:
    return isinstance(limits.begin(name, address, at, device), Try)


def log_in(limits: LoginLimits, name: str, address: str, device: str | None = None) -> None:
    begun = limits.begin(name, address, 0.0, device)
    assert isinstance(begun, Try)
    limits.succeeded(begun, 0.0)


def test_a_name_has_so_many_tries_from_one_network() -> None:
    limits = LoginLimits()
    assert [may(limits, "alice", "10.0.0.1") for _ in range(PAIR_TRIES + 1)] == [True] * PAIR_TRIES + [False]
    assert limits.begin("alice", "10.0.0.1", 0.0) == pytest.approx(WINDOW_SECONDS / PAIR_TRIES, abs=1)
    assert may(limits, "bob", "10.0.0.1")


@pytest.mark.parametrize("tries", [PAIR_TRIES, 200])
def test_whoever_tries_from_elsewhere_keeps_nobody_out(tries: int) -> None:
    limits = LoginLimits()
    for at in range(tries):
        limits.begin("admin", "10.0.0.1", float(at))
    assert may(limits, "admin", "192.0.2.7", float(tries))


def test_a_try_that_is_refused_is_charged_to_its_network() -> None:
    limits = LoginLimits()
    for _ in range(ADDRESS_TRIES):
        limits.begin("admin", "10.0.0.1", 0.0)
    assert not may(limits, "another", "10.0.0.1")


def test_guessing_one_name_from_many_networks_ends() -> None:
    limits = LoginLimits()
    tried = [may(limits, "admin", address) for address in networks(NAME_TRIES * 2)]
    assert sum(tried) == NAME_TRIES
    within_an_hour = sum(
        may(limits, "admin", address, at * NAME_WINDOW_SECONDS / 1000)
        for at, address in enumerate(networks(1000, "10.9.0.1"))
    )
    assert within_an_hour <= NAME_TRIES


def test_a_network_that_was_logged_in_to_a_name_is_not_kept_out_by_the_others() -> None:
    limits = LoginLimits()
    log_in(limits, "admin", "192.0.2.7")
    for address in networks(NAME_TRIES * 2):
        limits.begin("Admin", address, 0.0)
    assert not may(limits, "admin", "192.0.2.8")
    assert may(limits, "admin", "192.0.2.7")
    tried = [may(limits, "admin", "192.0.2.7") for _ in range(ADDRESS_TRIES)]
    assert sum(tried) == PAIR_TRIES - 1, "it is limited by itself"


def test_a_known_device_has_tries_of_its_own_wherever_it_is() -> None:
    limits = LoginLimits()
    for address in networks(NAME_TRIES * 2):
        limits.begin("admin", address, 0.0)
    for _ in range(ADDRESS_TRIES * 2):
        limits.begin("admin", "192.0.2.7", 0.0)
    assert not may(limits, "admin", "192.0.2.7")
    tried = [may(limits, "admin", "192.0.2.7", device="laptop") for _ in range(PAIR_TRIES + 1)]
    assert tried == [True] * PAIR_TRIES + [False]


def test_whoever_used_up_a_devices_tries_has_those_of_a_stranger() -> None:
    limits = LoginLimits()
    tried = [may(limits, "admin", "192.0.2.7", device="laptop") for _ in range(PAIR_TRIES * 3)]
    assert sum(tried) == PAIR_TRIES * 2


@pytest.mark.parametrize("device", [None, "laptop"])
def test_that_somebody_was_logged_in_is_seen_by_no_limit_of_a_stranger(device: str | None) -> None:
    """From the same network even: the limits of a name that exists are those of a name nobody has."""

    def left(limits: LoginLimits, with_login: bool) -> list[int]:
        for _ in range(3):
            limits.begin("admin", "10.0.0.1", 0.0)
        if with_login:
            log_in(limits, "admin", "10.0.0.1", device)
        return [sum(may(limits, "admin", address) for _ in range(10)) for address in ("10.0.0.1", "10.0.0.2")]

    assert left(LoginLimits(), True) == left(LoginLimits(), False)


def test_names_are_counted_in_whatever_case() -> None:
    limits = LoginLimits()
    for n in range(PAIR_TRIES):
        assert may(limits, " Alice" if n % 2 else "ALICE ", "10.0.0.1")
    assert not may(limits, "alice", "10.0.0.1")


def test_an_address_has_so_many_tries_for_whatever_names() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES):
        assert may(limits, f"name-{n}", "10.0.0.1")
    assert not may(limits, "another", "10.0.0.1")
    assert may(limits, "another", "10.0.0.2")


def test_a_network_of_ipv6_is_one_address() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES):
        assert may(limits, f"name-{n}", f"2001:db8::{n:x}")
    assert not may(limits, "another", "2001:db8::ffff:1")
    assert may(limits, "another", "2001:db8:0:1::1")
    assert may(limits, "another", "::ffff:10.0.0.1")
    for _ in range(PAIR_TRIES):
        limits.begin("alice", "2001:db8:0:2::1", 0.0)
    assert not may(limits, "alice", "2001:db8:0:2::2")


def test_tries_come_back_evenly() -> None:
    limits = LoginLimits()
    for _ in range(PAIR_TRIES):
        limits.begin("alice", "10.0.0.1", 0.0)
    wait = limits.begin("alice", "10.0.0.1", 0.0)
    assert isinstance(wait, int)
    assert may(limits, "alice", "10.0.0.1", float(wait))
    assert not may(limits, "alice", "10.0.0.1", float(wait))
    assert may(limits, "alice", "10.0.0.1", wait + WINDOW_SECONDS)


def test_the_right_password_costs_no_try_and_forgives_none() -> None:
    limits = LoginLimits()
    for n in range(ADDRESS_TRIES - 1):
        limits.begin(f"name-{n}", "10.0.0.1", 0.0)
    for _ in range(PAIR_TRIES * 2):
        log_in(limits, "alice", "10.0.0.1")
    assert may(limits, "bob", "10.0.0.1")
    assert not may(limits, "carol", "10.0.0.1")


def test_memory_is_bounded_and_the_longest_unused_go_first() -> None:
    tries = Tries(1, kept=3)
    for key in "abcd":
        tries.take(key, 0.0)
    assert len(tries) == 3
    assert tries.wait_seconds("a", 0.0) == 0.0
    assert tries.wait_seconds("d", 0.0) > 0.0


def test_what_one_process_counts_the_others_count_too() -> None:
    here, there = LoginLimits(), LoginLimits()

    def tell(news: str) -> None:
        for limits in (here, there):
            limits.hear(news.encode(), 0.0)

    here.tell = tell
    log_in(here, "alice", "10.0.0.1")
    for number in range(PAIR_TRIES):
        assert may(here, "admin", "10.0.0.1"), f"{number}: a try reported to oneself counts once"
    assert not may(there, "admin", "10.0.0.1")
    assert may(there, "admin", "10.0.0.2")
    for _ in range(ADDRESS_TRIES):
        here.begin("admin", "10.0.0.1", 0.0)
    assert not may(there, "another", "10.0.0.1"), "refused tries are charged there too"
    for address in networks(NAME_TRIES * 2, "10.7.0.1"):
        here.begin("alice", address, 0.0)
    assert not may(there, "alice", "10.9.0.1")
    assert may(there, "alice", "10.0.0.1") is False, "its network is used up"
    log_in(here, "bob", "10.0.0.3")
    for address in networks(NAME_TRIES * 2, "10.7.0.1"):
        here.begin("bob", address, 0.0)
    assert may(there, "bob", "10.0.0.3"), "a network that was logged in there is known here"


def test_a_refused_try_is_reported_only_while_it_changes_something() -> None:
    limits, reported = LoginLimits(), list[str]()
    limits.tell = reported.append
    for _ in range(ADDRESS_TRIES * 10):
        limits.begin("admin", "10.0.0.1", 0.0)
    assert len(reported) == ADDRESS_TRIES
