"""A database role for each purpose that a node has connections for, with the right to write what is its own.

PostgreSQL itself then says who writes the state of dispatch: `save` alone, retention, which only deletes, and erasing,
which only updates the columns that hold personal data.
"""

from typing import Final

import asyncpg
import pytest

from server.store import engine, primary

SAVE: Final = "callboard_save"
RETENTION: Final = "callboard_retention"
PRIVACY: Final = "callboard_privacy"
OTHERS: Final = "callboard_others"

STATE: Final = {
    "alerts": "INSERT, UPDATE",
    "assignments": "INSERT, UPDATE",
    "chat_messages": "INSERT, UPDATE",
    "deliveries": "INSERT, UPDATE",
    "driver_availability_history": "INSERT",
    "driver_messages": "INSERT",
    "driver_offers": "INSERT, UPDATE",
    "driver_runs": "INSERT, UPDATE",
    "drivers": "INSERT, UPDATE",
    "events": "INSERT",
    "policy": "INSERT",
    "support_tickets": "INSERT",
    "unassigned_orders": "INSERT, UPDATE",
    "zones": "INSERT, UPDATE",
}
"""The state of dispatch, and what the write path does to it."""
WAITING: Final = {"notices": "INSERT", "stream_notices": "INSERT", "webhook_deliveries": "INSERT"}
"""Rows that the write path leaves for others, who send them and note what became of them."""
BOTH_WRITE: Final = {"delivery_search": "UPDATE"}
"""What the write path does to rows that others insert too: a trigger updates the text for the search of a changed
order.
"""
OTHERS_WRITE: Final = {
    "api_keys": "INSERT, UPDATE",
    "company_settings": "INSERT, UPDATE",
    "delivery_search": "INSERT, UPDATE",
    "driver_devices": "INSERT, UPDATE",
    "driver_invitations": "INSERT, UPDATE, DELETE",
    "driver_notices": "INSERT, UPDATE",
    "driver_positions": "INSERT, UPDATE",
    "insight_counts": "INSERT",
    "insight_days": "INSERT",
    "insight_estimates": "INSERT",
    "leases": "INSERT, UPDATE",
    "nodes": "INSERT, UPDATE, DELETE",
    "proof_objects": "INSERT, UPDATE, DELETE",
    "proofs": "INSERT, DELETE",
    "notices": "INSERT, UPDATE",
    "password_links": "INSERT, UPDATE, DELETE",
    "push_keys": "INSERT",
    "push_subscriptions": "INSERT, UPDATE, DELETE",
    "report_mails": "INSERT, UPDATE",
    "sessions": "INSERT, UPDATE, DELETE",
    "stream_notices": "UPDATE",
    "users": "INSERT, UPDATE",
    "webhook_attempts": "INSERT",
    "webhook_deliveries": "INSERT, UPDATE",
    "webhooks": "INSERT, UPDATE",
}
"""All that the pool, the lease and the senders of webhooks write: nothing of the state."""
RETENTION_DELETES: Final = (
    "alerts", "assignments", "chat_messages", "deliveries", "driver_availability_history", "driver_devices",
    "driver_invitations", "driver_messages", "driver_notices", "driver_offers", "events", "insight_counts",
    "insight_days", "insight_estimates", "nodes", "notices", "push_subscriptions", "report_mails", "sessions",
    "stream_notices", "support_tickets", "unassigned_orders", "webhook_attempts", "webhook_deliveries", "webhooks",
)  # fmt: skip


_PLACE: Final = ("lat", "lon", "address", "name", "phone", "notes")
PRIVACY_UPDATES: Final = {
    "assignments": ("details", "end_note", "end_reason"),
    "chat_messages": ("text",),
    "delivery_search": ("store", "words"),
    "deliveries": (
        *(f"{end}_{part}" for end in ("pickup", "dropoff") for part in _PLACE),
        *("details", "fingerprint", "notes", "posted"),
    ),
    "driver_messages": ("body",),
    "driver_offers": ("closing_reason", "offer_payload", "rejection_reason"),
    "events": ("data",),
    "stream_notices": ("text",),
    "unassigned_orders": ("acknowledgement_note",),
    "webhook_attempts": ("error",),
    "webhook_deliveries": ("body", "last_error"),
}
"""The columns that erasing writes: everything personal, and nothing else."""
PRIVACY_WRITES: Final = {"erasures": "INSERT, DELETE", "proof_objects": "UPDATE", "proofs": "DELETE"}
"""Its own record of what it still has to do, and the photos, of which nothing can be kept. A trigger marks their
objects in the S3-compatible store.
"""


async def divide(url: str) -> None:
    """Make the roles on this server, and give them their rights in this database and in its copies."""
    connection = await asyncpg.connect(url)
    try:
        for role in (SAVE, RETENTION, PRIVACY, OTHERS):
            await connection.execute(f"CREATE ROLE {role}")
        await connection.execute("\n".join(f"{grant};" for grant in grants()))
    finally:
        await connection.close()


def grants() -> list[str]:
    """In the order they run."""
    all_ = f"{SAVE}, {RETENTION}, {PRIVACY}, {OTHERS}"
    return [
        f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {all_}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {SAVE}, {OTHERS}",
        *(f"GRANT {rights} ON {table} TO {SAVE}" for table, rights in (STATE | WAITING | BOTH_WRITE).items()),
        *(f"GRANT {rights} ON {table} TO {OTHERS}" for table, rights in OTHERS_WRITE.items()),
        f"GRANT DELETE ON {', '.join(RETENTION_DELETES)} TO {RETENTION}",
        *(f"GRANT UPDATE ({', '.join(columns)}) ON {table} TO {PRIVACY}" for table, columns in PRIVACY_UPDATES.items()),
        *(f"GRANT {rights} ON {table} TO {PRIVACY}" for table, rights in PRIVACY_WRITES.items()),
        # Retention locks deliveries before it deletes them, and the search rows are written under a shared lock.
        # PostgreSQL requires the right to update at least one column for a lock.
        f"GRANT UPDATE (id) ON deliveries TO {RETENTION}, {OTHERS}",
        # An invitation or a device locks its driver, as a foreign key does, so that it cannot miss a deactivation.
        f"GRANT UPDATE (id) ON drivers TO {OTHERS}",
    ]


def connect_as_roles(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every connection that a node makes has the role of its purpose."""
    monkeypatch.setattr(primary, "AT_START", (*primary.AT_START, "role"))
    for settings in (engine.READING, engine.OUTBOX):
        monkeypatch.setitem(settings, "role", OTHERS)
    monkeypatch.setitem(engine.WRITING, "role", SAVE)
    monkeypatch.setitem(engine.RETENTION, "role", RETENTION)
    monkeypatch.setitem(engine.PRIVACY, "role", PRIVACY)
