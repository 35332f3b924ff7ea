"""The contract's HTTP side, as an order source and a registrar of drivers see it: kept-alive, patient, bounded."""

import asyncio
import random
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Required, Self, TypedDict
from urllib.parse import quote

import httpx2 as httpx

TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 6
AGAIN_STATUSES: Final = (429, 502, 503)
CONNECTIONS: Final = 32


class CallFailed(Exception):
    """The server refused, or could not be reached; `status` is None then. The text is one line."""

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class NewDriver(TypedDict, total=False):
    """A driver to register, as on the wire."""

    name: Required[str]
    externalRef: Required[str]
    phone: str
    vehicle: str
    tags: tuple[str, ...]


class KnownDriver(TypedDict):
    """What the simulation reads of a driver, as on the wire."""

    id: str
    externalRef: str | None


class Api:
    """Calls with the token of `token()`. Used as `async with`. `http` is the client, for calls with other tokens."""

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        self._token = token
        self.http = httpx.AsyncClient(
            base_url=url.rstrip("/"),
            timeout=TIMEOUT_SECONDS,
            trust_env=False,
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """One call, tried again when the server is not there or asks for it. The decoded answer. Raises CallFailed."""
        pause = 0.2
        for tries_left in reversed(range(TRIES)):
            try:
                answer = await self.http.request(
                    method, path, json=body, headers={"Authorization": f"Bearer {self._token()}"}
                )
            except httpx.TransportError as error:
                if not tries_left:
                    raise CallFailed(f"{method} {path}: {str(error) or type(error).__name__}") from None
            else:
                if answer.is_success:
                    return answer.json() if answer.content else None
                if answer.status_code not in AGAIN_STATUSES or not tries_left:
                    raise _failed(method, path, answer)
                pause = max(pause, _asked_to_wait(answer))
            await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            pause = min(pause * 2, 5.0)
        raise AssertionError("the last try either answers or raises")

    async def register_driver(self, **driver: object) -> str:
        """A new driver's id; fields as on the wire."""
        return str((await self.call("POST", "/drivers", driver))["id"])

    async def driver_token(self, driver_id: str, hours: int) -> str:
        return str((await self.call("POST", f"/drivers/{driver_id}/token", {"hours": hours}))["token"])

    async def drivers(self, zone: str) -> list[KnownDriver]:
        """All drivers of a zone. The service's token may not ask; an operator's may."""
        found: list[KnownDriver] = []
        cursor = ""
        while True:
            page = await self.call("GET", f"/drivers?zone={quote(zone)}&limit=100{cursor}")
            found += page["items"]
            if not page.get("nextCursor"):
                return found
            cursor = f"&cursor={page['nextCursor']}"

    async def create_delivery(self, **order: object) -> str:
        """A new delivery's id; fields as on the wire."""
        return str((await self.call("POST", "/deliveries", order))["id"])

    async def cancel_delivery(self, delivery_id: str, reason: str) -> None:
        await self.call("POST", f"/deliveries/{delivery_id}/cancel", {"reason": reason})

    async def mark_ready(self, delivery_id: str) -> None:
        await self.call("POST", f"/deliveries/{delivery_id}/ready")

    async def delay(self, delivery_id: str, minutes: int, reason: str) -> None:
        """The goods take longer."""
        await self.call("POST", f"/deliveries/{delivery_id}/delay", {"minutes": minutes, "reason": reason})


def _asked_to_wait(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), 10.0) if text.isdigit() else 0.0


def _failed(method: str, path: str, answer: httpx.Response) -> CallFailed:
    try:
        problem = answer.json()
        code, detail = str(problem.get("code", "")), str(problem.get("detail") or problem.get("title", ""))
    except (ValueError, AttributeError):
        code, detail = "", ""
    return CallFailed(f"{method} {path}: {answer.status_code} {code} {detail}".rstrip(), answer.status_code, code)
