"""How often somebody may try to log in: counted by name and by address, in this process, in bounded memory.

It knows no clock and no request; instants are monotonic seconds.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final

from msgspec import Struct

NAME_TRIES: Final = 8
ADDRESS_TRIES: Final = 30
WINDOW_SECONDS: Final = 300.0
"""After so long without a try everything is forgotten; tries come back evenly meanwhile."""
KEPT_LIMIT: Final = 20_000
IPV6_PREFIX: Final = 64


class _Bucket(Struct):
    left: float
    at: float


class Tries:
    """A bucket of tries for each key, refilled within a window. The longest unused are forgotten first."""

    def __init__(self, tries: int, window_seconds: float = WINDOW_SECONDS, kept: int = KEPT_LIMIT) -> None:
        self._tries = tries
        self._rate = tries / window_seconds
        self._kept = kept
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def wait_seconds(self, key: str, now: float) -> float:
        """How long until there is a try: 0 if there is one now."""
        left = self._refilled(key, now).left
        return 0.0 if left >= 1.0 else (1.0 - left) / self._rate

    def take(self, key: str, now: float) -> None:
        """One try is used up."""
        bucket = self._refilled(key, now)
        bucket.left = max(0.0, bucket.left - 1.0)
        self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        while len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)

    def forgive(self, key: str) -> None:
        """It was they: nothing is held against this key."""
        self._buckets.pop(key, None)

    def give_back(self, key: str, now: float) -> None:
        """The last try did not count."""
        bucket = self._buckets.get(key)
        if bucket is not None:
            bucket.left = min(float(self._tries), self._refilled(key, now).left + 1.0)
            bucket.at = now

    def _refilled(self, key: str, now: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            return _Bucket(float(self._tries), now)
        left = min(float(self._tries), bucket.left + (now - bucket.at) * self._rate)
        return _Bucket(left, now)

    def __len__(self) -> int:
        return len(self._buckets)


class LoginLimits:
    """Tries by name and by address. A try counts when it begins, so that many at once are no way around."""

    def __init__(self) -> None:
        self._names = Tries(NAME_TRIES)
        self._addresses = Tries(ADDRESS_TRIES)

    def begin(self, name: str, address: str, now: float) -> int | None:
        """Take a try. The whole seconds to wait instead, if there is none."""
        name, address = _name(name), _network(address)
        wait = max(self._names.wait_seconds(name, now), self._addresses.wait_seconds(address, now))
        if wait > 0.0:
            return max(1, ceil(wait))
        self._names.take(name, now)
        self._addresses.take(address, now)
        return None

    def succeeded(self, name: str, address: str, now: float) -> None:
        """The password was right. The address is still held to account for its other tries."""
        self._names.forgive(_name(name))
        self._addresses.give_back(_network(address), now)


def _name(name: str) -> str:
    return name.strip().lower()[:200]


def _network(address: str) -> str:
    """The address, or the network that one customer of an IPv6 provider has."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(int(ip) >> (128 - IPV6_PREFIX))
    return str(ip)
