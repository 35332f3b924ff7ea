"""How a simulation proves who it is: with the server's secret, or with one token it was given."""

import time
from collections.abc import Callable
from typing import Final

from server.simulate.api import Api

TOKEN_HOURS: Final = 24
RENEW_SECONDS: Final = TOKEN_HOURS * 1800.0

Mint = Callable[[str, str, int], str]
"""From a role, a subject and hours to a token."""


class Access:
    """Tokens for the simulation's calls and for its drivers' sockets."""

    def __init__(self, *, mint: Mint | None = None, token: str = "") -> None:
        assert (mint is None) == bool(token), "either a way to make tokens, or a token"
        self._mint = mint
        self._token = token
        self._made: dict[str, tuple[str, float]] = {}

    def service(self) -> str:
        """For orders and for registering drivers."""
        return self._token if self._mint is None else self._kept(self._mint, "service")

    def reader(self) -> str:
        return self._token if self._mint is None else self._kept(self._mint, "viewer")

    def admin(self) -> str:
        """For describing zones. Only who makes tokens has it."""
        assert self._mint is not None, "a given token describes no zones"
        return self._kept(self._mint, "admin")

    async def driver(self, api: Api, driver_id: str) -> str:
        if self._mint is not None:
            return self._mint("driver", driver_id, TOKEN_HOURS)
        return await api.driver_token(driver_id, TOKEN_HOURS)

    def _kept(self, mint: Mint, role: str) -> str:
        token, made_at = self._made.get(role, ("", 0.0))
        if not token or time.monotonic() - made_at > RENEW_SECONDS:
            token = mint(role, "simulation", TOKEN_HOURS)
            self._made[role] = (token, time.monotonic())
        return token
