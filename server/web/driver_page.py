"""The driver page."""

from typing import Final

from litestar.types import ControllerRouterHandler

HANDLERS: Final[list[ControllerRouterHandler]] = []
