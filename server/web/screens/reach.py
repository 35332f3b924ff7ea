"""What is wrong with the address of this site: it is no address of a site, only this machine reaches it, or it is
without https.
"""

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, urlsplit

from pydantic import ValidationError

from server.settings import ADDRESS_LIMIT, Settings
from server.texts.speech import later, said
from server.web.http.caller import Call
from server.web.http.current_node import node_of

NEAR: Final = (".local", ".lan", ".internal", ".home.arpa", ".fritz.box")
"""Ends of names that are known in one network only."""
UNREACHABLE: Final = ("localhost", "ip6-localhost")
SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
UNLIKE: Final = later("This is not the address of a site.")


def home_of(request: Call) -> str:
    """The address that people and phones use: that of the settings, else the one that this request came to."""
    return node_of(request).settings.public_url.rstrip("/") or str(request.base_url).rstrip("/")


def only_here(url: str) -> bool:
    """Whether the address leads each device to itself, so that no other one reaches this server by it."""
    host = (urlsplit(url).hostname or "").lower()
    if host in UNREACHABLE or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def only_near(url: str) -> bool:
    """Whether only devices of the same network reach this server by the address."""
    host = (urlsplit(url).hostname or "").lower()
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(NEAR)
    return not address.is_global


def address_mistake(url: str, root: str) -> str | None:
    """What is wrong with a public address that a person writes, with the one that they may have meant. `root` is the
    path that is in force: another one is a matter of the settings, because a proxy has to pass it on.
    """
    if not url:
        return None
    parts = _split(url)
    why = UNLIKE if parts is None else _why_not(url, parts, root)
    if why is None:
        return None
    meant = _meant(parts, root) if parts is not None else None
    if meant is not None:
        return said("{why} Write {address}.", why=said(why, path=parts.path if parts else ""), address=meant)
    return said("{why} Write an address such as https://board.example.com.", why=said(why, path=""))


def _split(url: str) -> SplitResult | None:
    """The parts of an address, which people also write without https."""
    try:
        parts = urlsplit(url if SCHEME.match(url) else f"https://{url}")
        _ = parts.port
    except ValueError:
        return None
    return parts if parts.hostname and len(url) <= ADDRESS_LIMIT else None


def _why_not(url: str, parts: SplitResult, root: str) -> str | None:
    if not SCHEME.match(url):
        return later("An address begins with https://.")
    if parts.scheme not in ("https", "http"):
        return later("Browsers open addresses that begin with https://.")
    if "@" in parts.netloc:
        return later("A name and a password are no part of this address: everybody who gets a link would see them.")
    if "?" in url or "#" in url:
        return later("The address ends before ? and #.")
    if parts.path.rstrip("/") != root:
        return later(
            "This leads to {path} on that site. Callboard is under a path only with the setting CALLBOARD_PUBLIC_URL."
        )
    return None if _is_good(url) else UNLIKE


def _meant(parts: SplitResult, root: str) -> str | None:
    scheme = "http" if parts.scheme == "http" else "https"
    url = f"{scheme}://{parts.netloc.rpartition('@')[2]}{root}"
    return url if _is_good(url) else None


def _is_good(url: str) -> bool:
    try:
        Settings(public_url=url)
    except ValidationError:
        return False
    return True


def warnings_of(url: str, *, is_set_up: bool = False) -> list[str]:
    """What does not work with this address, one sentence each. They do not name it: it may be what a caller made up.
    `is_set_up`: the screen on which a person sets it.
    """
    if only_here(url):
        why = said("A phone cannot reach this address: it leads the phone to itself.")
        todo = (
            said("Save another one here.") if is_set_up else said("An admin can set the public address under Set up.")
        )
        return [f"{why} {todo}"]
    if urlsplit(url).scheme != "https":
        return [said("Browsers give their position and show notifications only on https addresses.")]
    return []
