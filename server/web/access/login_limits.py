"""How often somebody may try to log in: counted in bounded memory, by every process what all of them hear. It knows no
clock and no request; instants are monotonic seconds.

A stranger's wrong passwords must not keep the right person out. So a name and a network are counted together, a network
for all names, and a name for all networks only where it was never logged in to: a device that was logged in before, or
a network, is not held to account for what others do. (OWASP, "Device Cookies".)
"""

import secrets
import unicodedata
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Final, Literal

import msgspec
from msgspec import Struct

PAIR_TRIES: Final = 8
"""For one name from one network, and for one name from one known device."""
ADDRESS_TRIES: Final = 30
"""From one network, for all names together."""
WINDOW_SECONDS: Final = 300.0
"""After this time without a try everything is forgotten; tries become available again evenly until then."""
NAME_TRIES: Final = 300
"""For one name, from all devices and networks together that were never logged in to it."""
NAME_WINDOW_SECONDS: Final = 3600.0
SIGN_IN_TRIES: Final = 30
"""From one network, with invalid invitations and device tokens of drivers."""
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

    def give_back(self, key: str, now: float) -> None:
        """Undo the last try."""
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


LimitKind = Literal["device", "pair", "network", "name"]
Counted = tuple[tuple[LimitKind, str], ...]


class Try(Struct, frozen=True):
    """A try in progress: the name with its network, and the counters that it used."""

    pair: str
    taken: Counted


class LoginNews(Struct, frozen=True, omit_defaults=True):
    """A message for other processes: tries that were used or undone, and a network that is known for a name."""

    sender: str
    taken: Counted = ()
    given_back: Counted = ()
    known: str | None = None


class LoginLimits:
    """Counts tries by device, by name and network, by network, and by name.

    A try counts when it begins, so that many at once do not bypass the limit. `tell` gets the messages that other
    processes must `hear`; a try in a lost message is counted by one process only.
    """

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self._me = secrets.token_hex(8)
        self._devices = Tries(PAIR_TRIES)
        self._pairs = Tries(PAIR_TRIES)
        self._addresses = Tries(ADDRESS_TRIES)
        self._names = Tries(NAME_TRIES, NAME_WINDOW_SECONDS)
        self._of: dict[LimitKind, Tries] = {
            "device": self._devices,
            "pair": self._pairs,
            "network": self._addresses,
            "name": self._names,
        }
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, name: str, address: str, now: float, device: str | None = None) -> "Try | int":
        """Take a try. The whole seconds to wait instead, if there is none.

        1. The network is charged whatever comes of it. 2. A `device` that was logged in to this name has separate
        tries. 3. Everybody else needs one of the network, one of the name from this network, and, unless this network
        was logged in to the name before, one of the name.
        """
        name, network = normalized(name), network_of(address)
        pair = f"{network} {name}"
        wait = self._addresses.wait_seconds(network, now)
        charged: Counted = (("network", network),)
        if device is not None and self._devices.wait_seconds(device, now) == 0.0:
            return self._begun(pair, (("device", device), *charged), now)
        wait = max(wait, self._pairs.wait_seconds(pair, now))
        known = pair in self._known
        if not known:
            wait = max(wait, self._names.wait_seconds(name, now))
        if wait > 0.0:
            if self._addresses.wait_seconds(network, now) == 0.0:  # otherwise its tries are used up anyway
                self._tell(taken=charged)
            self._take(charged, now)
            return max(1, ceil(wait))
        taken: Counted = (("pair", pair), *charged) if known else (("pair", pair), ("name", name), *charged)
        return self._begun(pair, taken, now)

    def _begun(self, pair: str, taken: Counted, now: float) -> Try:
        self._take(taken, now)
        self._tell(taken=taken)
        return Try(pair, taken)

    def _take(self, taken: Counted, now: float) -> None:
        for kind, key in taken:
            self._of[kind].take(key, now)

    def succeeded(self, begun: Try, now: float) -> None:
        """The password was right: undo this try, and remember the network for this name.

        Nothing else is undone, otherwise a stranger could see that a user has this name.
        """
        self._give_back(begun.taken, now)
        self._know(begun.pair)
        self._tell(given_back=begun.taken, known=begun.pair)

    def undo(self, begun: Try, now: float) -> None:
        """Nobody could look at the password, which says nothing about it: undo this try."""
        self._give_back(begun.taken, now)
        self._tell(given_back=begun.taken)

    def _give_back(self, taken: Counted, now: float) -> None:
        for kind, key in taken:
            self._of[kind].give_back(key, now)

    def _know(self, pair: str) -> None:
        self._known[pair] = None
        self._known.move_to_end(pair)
        while len(self._known) > KEPT_LIMIT:
            self._known.popitem(last=False)

    def _tell(self, *, taken: Counted = (), given_back: Counted = (), known: str | None = None) -> None:
        self.tell(msgspec.json.encode(LoginNews(self._me, taken, given_back, known)).decode())

    def hear(self, message: bytes, now: float) -> None:
        """A message of another process: count its tries here too. Raises ValueError for an invalid message."""
        news = _decode(message)
        if news.sender == self._me:
            return
        self._take(news.taken, now)
        self._give_back(news.given_back, now)
        if news.known is not None:
            self._know(news.known)


_decode: Final = msgspec.json.Decoder(LoginNews).decode


def normalized(name: str) -> str:
    """The name for counting, without regard to case and to how its characters are composed."""
    return unicodedata.normalize("NFC", name.strip().lower())[:200]


def network_of(address: str) -> str:
    """The address, or the network that an IPv6 provider gives to one customer."""
    try:
        ip = ip_address(address)
    except ValueError:
        return address[:100]
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(int(ip) >> (128 - IPV6_PREFIX))
    return str(ip)
