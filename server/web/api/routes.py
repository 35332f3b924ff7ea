"""The modules of the HTTP API. Every handler that they declare is a route."""

from typing import Final

from server.web.api import (
    alerts,
    api_keys,
    chat,
    deliveries,
    devices,
    documents,
    driver_calls,
    drivers,
    imports,
    notices,
    operations,
    ops_actions,
    policy,
    privacy,
    proofs,
    push,
    sign_in,
    system,
    users,
    webhook_messages,
    webhooks,
    zones,
)  # fmt: skip

API: Final = (
    deliveries, drivers, sign_in, devices, driver_calls, proofs, chat, push, ops_actions, policy, operations, alerts,
    notices, webhooks, webhook_messages, api_keys, users, privacy, zones, imports, system, documents,
)  # fmt: skip
