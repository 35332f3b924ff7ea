"""One outgoing call: a POST with a deadline for all of it, and what came back as one line. It never raises."""

import asyncio
import ssl
import time
from collections.abc import Mapping
from functools import cache
from typing import Final

import httpcore2
import httpx2
from msgspec import Struct

from server.notify.addresses import AddressNotAllowed, Network

TIMEOUT_SECONDS: Final = 10.0
"""From the name's resolution to the answer's last byte that is looked at."""
EXCERPT_BYTES: Final = 500
CONNECTIONS_KEPT: Final = 20
KEPT_SECONDS: Final = 30.0
LONGEST_WAIT_ASKED_SECONDS: Final = 3600.0


class Result(Struct, frozen=True):
    """What became of a call. `error` is None for one that was taken (2xx); `retry_after` is what the receiver asked."""

    status: int | None
    ms: int
    error: str | None
    retry_after: float | None = None
    outcome: str = "delivered"

    @property
    def receiver_is_down(self) -> bool:
        """Nobody answers, or only to say that they cannot: other messages would fare no better now."""
        return self.status is None or self.status == 429 or self.status >= 500


class Sender:
    """Connections for outgoing calls. No proxies, no redirects; with `allow_private` to any address at all."""

    def __init__(self, *, allow_private: bool) -> None:
        context = _tls()
        transport = httpx2.AsyncHTTPTransport(verify=context, trust_env=False)
        # The transport has no parameter for the network below it.
        transport._pool = httpcore2.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=CONNECTIONS_KEPT,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=Network(allow_private=allow_private),
        )
        self._client = httpx2.AsyncClient(
            transport=transport, timeout=TIMEOUT_SECONDS, follow_redirects=False, trust_env=False
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, within: float | None = None) -> Result:
        """Send it, within so many seconds."""
        seconds = TIMEOUT_SECONDS if within is None else within
        started = time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                status, excerpt, retry_after = await self._post(url, body, headers)
        except (TimeoutError, httpx2.TimeoutException):
            return Result(None, _ms(started), f"no answer within {seconds:.3g} s", outcome="timeout")
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            refused = isinstance(error.__cause__, AddressNotAllowed)
            return Result(None, _ms(started), _line(error), outcome="not_allowed" if refused else "unreachable")
        if 200 <= status < 300:
            return Result(status, _ms(started), None)
        told = f"answered {status}" + (f": {excerpt}" if excerpt else "")
        return Result(status, _ms(started), told, retry_after, "refused")

    async def _post(self, url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, str, float | None]:
        async with self._client.stream("POST", url, content=body, headers=dict(headers)) as response:
            taken = 200 <= response.status_code < 300
            excerpt = b""
            async for chunk in response.aiter_raw():
                excerpt += chunk
                if len(excerpt) >= EXCERPT_BYTES:
                    break
            text = "" if taken else " ".join(excerpt[:EXCERPT_BYTES].decode("utf-8", "replace").split())
            return response.status_code, text.replace("\x00", "\ufffd"), _retry_after(response.headers)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes tens of milliseconds."""
    return httpx2.create_ssl_context(trust_env=False)


def _ms(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _line(error: BaseException) -> str:
    told = " ".join(str(error).split())[:EXCERPT_BYTES].replace("\x00", "\ufffd")
    return told or type(error).__name__


def _retry_after(headers: httpx2.Headers) -> float | None:
    try:
        asked = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(asked, LONGEST_WAIT_ASKED_SECONDS) if asked > 0 else None
