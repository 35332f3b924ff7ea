"""Every module of the HTTP API, and its handlers."""

from typing import Final

from litestar.handlers import HTTPRouteHandler

from server.web.api import (
    admin,
    alerts,
    api_keys,
    deliveries,
    devices,
    documents,
    driver_calls,
    drivers,
    notices,
    operations,
    privacy,
    push,
    system,
    users,
    webhooks,
    zones,
)  # fmt: skip

API: Final = (
    deliveries, drivers, devices, driver_calls, push, admin, operations, alerts, notices, webhooks, api_keys, users,
    privacy, zones, system, documents,
)  # fmt: skip


def api_handlers() -> list[HTTPRouteHandler]:
    """Every endpoint."""
    return [handler for module in API for handler in module.HANDLERS]
