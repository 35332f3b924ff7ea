"""What is wrong with the address of this site: only this machine reaches it, or it is without https."""

from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from server.texts.speech import said
from server.web.http.caller import Call
from server.web.http.current_node import node_of

UNREACHABLE: Final = ("localhost", "ip6-localhost")


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


def warnings_of(url: str) -> list[str]:
    """What does not work with this address, one sentence each. They do not name it: it may be what a caller made up."""
    if only_here(url):
        return [
            said(
                "A phone cannot reach this address: it leads the phone to itself. Set the public address under Set up."
            )
        ]
    if urlsplit(url).scheme != "https":
        return [said("Browsers give their position and show notifications only on https addresses.")]
    return []
