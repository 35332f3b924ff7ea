"""Where outgoing calls may go: not to this machine, not into private networks, unless the settings allow it.

A name is resolved once, its addresses are checked, and the connection is made to a checked address: a name that answers
differently a moment later gains nothing. Redirects are not followed.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, TypeVar
from urllib.parse import urlsplit

from server.tasks import SharedReads
from server.texts.speech import later

Protocol = TypeVar("Protocol", bound=asyncio.Protocol)

_NAT64: Final = IPv6Network("64:ff9b::/96")
_NOT_CALLED: Final = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",  # Azure's own services, as its machines see them
        "192.88.99.0/24",  # relays from IPv4 to IPv6, gone
        "3fff::/20",  # for documentation; older Pythons do not know
        "fec0::/10",  # a site's own, from before fc00::/7
    )
)
"""Address ranges that count as public, but that no receiver of a customer uses."""
RESOLVING_AT_ONCE: Final = 16
ADDRESS_SECONDS: Final = 2.0
"""How long an address of a name may take to answer before the next one is tried."""
NOT_ALLOWED: Final = "the address is private"


class AddressNotAllowed(OSError):
    """The name has no allowed address."""


def is_public(address: str) -> bool:
    """Whether this is a public address. For an address that contains an IPv4 address, that one decides."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        inside = _inside(ip)
        if inside is not None:
            return is_public(str(inside))
    if any(ip in network for network in _NOT_CALLED):
        return False
    return ip.is_global and not ip.is_multicast and not ip.is_reserved and not ip.is_unspecified


def _inside(ip: IPv6Address) -> IPv4Address | None:
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip in _NAT64:
        return IPv4Address(int(ip) & 0xFFFF_FFFF)
    return None


def mistake_in(url: str, *, allow_private: bool) -> str | None:
    """What is wrong with the URL of a webhook, without resolving its name; or None."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return later("is not a URL")
    if parts.scheme not in ("https", "http") or not host:
        return later("must be an https or http URL such as https://shop.example/hooks")
    if any(character <= " " or character == "\x7f" for character in url) or port == 0:
        return later("is not a URL")
    if parts.username is not None or parts.password is not None or "#" in url:
        return later("must not contain a user, a password or a fragment")
    if allow_private:
        return None
    try:
        public = is_public(host)
    except ValueError:
        public = host.rstrip(".") != "localhost" and not host.rstrip(".").endswith(".localhost")
    return None if public else later("must not point to a private address")


class Network:
    """Connections by name, only to checked addresses unless `allow_private`.

    A name that resolves slowly occupies one thread, however many calls need it.
    """

    def __init__(self, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        self._lookups = SharedReads[list[str]]("resolve")

    async def connect(
        self, protocol: Callable[[], Protocol], host: str, port: int, context: ssl.SSLContext | None
    ) -> Protocol:
        """Connect to the first allowed address that answers; with `context` by TLS, with a certificate for `host`.
        Raises OSError, of which AddressNotAllowed is a subclass.
        """
        addresses = [found for found in await self._addresses(host, port) if self._allow_private or is_public(found)]
        if not addresses:
            raise AddressNotAllowed(NOT_ALLOWED)
        loop = asyncio.get_running_loop()
        name = host if context is not None else None
        for number, address in enumerate(addresses, start=1):
            last = number == len(addresses)
            try:
                async with asyncio.timeout(None if last else ADDRESS_SECONDS):
                    _, connected = await loop.create_connection(
                        protocol, address, port, ssl=context, server_hostname=name
                    )
            except OSError:
                if last:
                    raise
            else:
                return connected
        raise AssertionError("there was an address")

    async def _addresses(self, host: str, port: int) -> list[str]:
        return await self._lookups.of((host, port), lambda: _resolve(host, port))


async def _resolve(host: str, port: int) -> list[str]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_threads(), partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise OSError(f"the name {host} is not known") from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


@cache
def _threads() -> ThreadPoolExecutor:
    """Apart from the loop's own, which others wait for."""
    return ThreadPoolExecutor(RESOLVING_AT_ONCE, thread_name_prefix="resolve")
