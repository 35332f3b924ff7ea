"""The promise of rest: once everything is quiet, nothing is held that was not held before, and nobody is a ghost."""

from typing import Final

from tests.torture.evidence import Evidence
from tests.torture.promises.verdict import Verdict

FILES_MORE: Final = 57
"""Open files of a node beyond those it had before: connections to the database (8 in its pool, one for webhooks), to
two webhooks (16 each) and to Redis, which it may keep for a while.
"""
THREADS_MORE: Final = 12
"""Threads of a node beyond those it had before: those that wait for blocking work, of which Python keeps some."""


def rest(evidence: Evidence) -> Verdict:
    """How processes ended; sockets, tasks, files, threads, locks, connections; who is connected; the index of Redis."""
    verdict = Verdict("at rest no resource is in use, and only connected drivers are shown as connected")
    for complaint in evidence.complaints:
        verdict.must(False, complaint)
    found = evidence.rest
    if found is None:
        return verdict
    for driver_id, session in found.open_sessions.items():
        there = found.sessions.get(driver_id)
        verdict.must(there == session, f"driver {driver_id}: the app holds session {session}, the database {there}")
        shown = found.connected.get(driver_id)
        verdict.must(shown == (session is not None), f"driver {driver_id}: connected is {shown}, session {session}")
    verdict.must(
        found.geo == found.dispatchable,
        f"in the index of Redis but not dispatchable {found.geo - found.dispatchable}, "
        f"dispatchable but not in it {found.dispatchable - found.geo}",
    )
    before, after = found.before, found.after
    for node, sockets in enumerate(after.sockets):
        verdict.must(sockets == 0, f"node {node} still counts {sockets} driver sockets")
    for what, most, was, now in (
        ("open files", FILES_MORE, before.files, after.files),
        ("threads", THREADS_MORE, before.threads, after.threads),
    ):
        for node, (then, count) in enumerate(zip(was, now, strict=True)):
            verdict.must(count <= then + most, f"node {node} has {count} {what}, {then} before")
    verdict.must(not after.dead_tasks, f"background tasks that do not run: {after.dead_tasks}")
    verdict.must(after.idle_in_transaction == 0, f"{after.idle_in_transaction} connections idle in a transaction")
    verdict.must(after.waiting_for_locks == 0, f"{after.waiting_for_locks} waiting for locks")
    verdict.must(after.locks == 0, f"{after.locks} locks held")
    verdict.must(
        after.connections <= found.connections_allowed,
        f"{after.connections} connections to the database, {found.connections_allowed} allowed",
    )
    verdict.counts.append(f"{after.connections} database connections ({before.connections} before)")
    return verdict
