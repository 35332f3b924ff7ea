"""The modules of the HTTP API. Every handler that they declare is a route."""

from typing import Final

from server.web.api import (
    admin,
    alerts,
    api_keys,
    chat,
    deliveries,
    devices,
    documents,
    driver_calls,
    drivers,
    notices,
    operations,
    privacy,
    proofs,
    push,
    system,
    users,
    webhook_messages,
    webhooks,
    zones,
)  # fmt: skip

API: Final = (
    deliveries, drivers, devices, driver_calls, proofs, chat, push, admin, operations, alerts, notices, webhooks,
    webhook_messages, api_keys, users, privacy, zones, system, documents,
)  # fmt: skip
