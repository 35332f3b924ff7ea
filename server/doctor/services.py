"""Checks of what the settings name besides the two servers: the public URL, the server of mails, the photo store."""

import re
import time
from typing import Final
from urllib.parse import urlsplit

import httpx2

from server.doctor.findings import Finding, bad, note, ok
from server.notify.mailer import reach_server
from server.object_store.s3 import CHECK_KEY, ObjectStore, ObjectStoreAway
from server.settings import Settings
from server.store.engine import Database
from server.store.primary import one_line
from server.store.proofs import count_objects

ADDRESS_SECONDS: Final = 3.0
OBJECTS_OVERDUE_SECONDS: Final = 3600.0
"""Photos may be in the S3-compatible store this long after they were erased."""


async def check_address(settings: Settings) -> list[Finding]:
    """Whether the public URL leads here, as a load balancer asks (HEAD), and through the proxy as it is."""
    if not settings.public_url:
        text = (
            "no public address is set: invitations have the address of who makes them, customers get no tracking page"
        )
        return [note("address", text, "set it in CALLBOARD_PUBLIC_URL or on the screen Set up")]
    url = f"{settings.public_url}/health/live"
    try:
        async with httpx2.AsyncClient(timeout=ADDRESS_SECONDS) as client:
            answer = await client.head(url)
    except (httpx2.HTTPError, OSError, ValueError) as error:
        reason = re.sub(r"^\[Errno -?[0-9]+\] ", "", one_line(error))
        text = f"{settings.public_url} cannot be reached from this machine: {reason}"
        return [note("address", text, "if people cannot reach it either, check DNS, certificate and proxy")]
    if answer.status_code != 200:
        todo = f"let the proxy pass on all paths{f' from {settings.root} on' if settings.root else ''} as they are"
        return [bad("address", f"{settings.public_url} leads elsewhere: {url} answers {answer.status_code}", todo)]
    return [ok("address", f"{settings.public_url} leads to Callboard")]


async def check_mail(settings: Settings) -> list[Finding]:
    """Whether the server of mails lets this machine in."""
    if not settings.smtp_url:
        if settings.recipients:
            return [note("mail", "recipients are set, but no server takes mails", "set CALLBOARD_SMTP_URL")]
        return []
    where = urlsplit(settings.smtp_url).hostname
    refused = await reach_server(settings)
    if refused is not None:
        todo = "correct CALLBOARD_SMTP_URL" if refused.permanent else "start it, or correct CALLBOARD_SMTP_URL"
        return [bad("mail", f"{where}: {refused.reason}", todo)]
    if settings.recipients and not settings.report_at:
        return [note("mail", f"{where} takes mails, but no report is sent", "set CALLBOARD_REPORT_AT")]
    return [ok("mail", f"{where} takes mails")]


async def check_proofs(settings: Settings, db: Database) -> list[Finding]:
    """Whether the S3-compatible store stores, returns and deletes an object, and whether erased photos are gone."""
    counts = await count_objects(db.pool, OBJECTS_OVERDUE_SECONDS)
    if not settings.proofs_s3_bucket:
        if counts.kept:
            text = f"{counts.kept} are in an S3-compatible store that is not set"
            return [bad("proofs", text, "set CALLBOARD_PROOFS_S3_BUCKET")]
        return []
    store = ObjectStore(settings)
    try:
        began = time.perf_counter()
        await store.check()
        if await store.get(CHECK_KEY) != b"":
            return [bad("proofs", f"{store.place} does not return what was stored", "use another store")]
        await store.delete(CHECK_KEY)
        took_ms = (time.perf_counter() - began) * 1000
    except ObjectStoreAway as error:
        text = f"{store.place} cannot be used: {error}"
        return [bad("proofs", text, "check the bucket, the address, the keys and their permissions")]
    findings = [ok("proofs", f"{counts.kept} in {store.place}, which stores, returns and deletes in {took_ms:.0f} ms")]
    if counts.overdue:
        text = f"{counts.overdue} erased photos are not removed from the store yet"
        findings.append(bad("proofs", text, "let a node run, or `callboard prune`"))
    return findings
