"""Checks of the settings and of this process."""

import resource
from typing import Final

from server.doctor.findings import Finding, bad, note, ok
from server.setting_sources import misspelled
from server.settings import SECRET_BYTES, Settings
from server.web.screens.reach import only_here, only_near

TO_MAKE_ONE: Final = "make one with `openssl rand -hex 32`, for all nodes and back ends"
FILES_WANTED: Final = 4096


def check_names() -> list[Finding]:
    return [
        note("settings", f"{name} is no setting and has no effect: {setting} is one")
        for name, setting in misspelled().items()
    ]


def check_secrets(settings: Settings) -> list[Finding]:
    findings = [_secret("CALLBOARD_SECRET", settings.secret)]
    if settings.secret_accepted:
        other = _secret("CALLBOARD_SECRET_ACCEPTED", settings.secret_accepted)
        findings.append(
            other if other.bad else note("secret", "tokens signed with CALLBOARD_SECRET_ACCEPTED are accepted too")
        )
    return findings


def _secret(name: str, secret: str) -> Finding:
    length = len(secret.encode())
    if length < SECRET_BYTES:
        return bad("secret", f"{name} has {length} bytes, and needs {SECRET_BYTES} at least", TO_MAKE_ONE)
    if len(set(secret)) < 8:
        return bad("secret", f"{name} is easy to guess", TO_MAKE_ONE)
    if secret[0] == secret[-1] and secret[0] in "\"'":
        text = f"{name} begins and ends with a quote, which counts: `docker run --env-file` keeps quotes"
        return note("secret", text, "remove the quotes, here and wherever tokens are minted")
    return ok("secret", f"{length} bytes")


def check_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < FILES_WANTED:
        return note(
            "files", f"limit of {soft} open files; each driver needs about one: raise it (ulimit -n, at most {hard})"
        )
    return ok("files", f"limit of {soft} open files; each driver needs about one")


def check_phones(settings: Settings) -> list[Finding]:
    """What drivers' phones cannot do with the public URL."""
    url = settings.public_url
    if url and only_here(url):
        todo = "set the address that phones use, in CALLBOARD_PUBLIC_URL or on the screen Set up"
        return [bad("phones", f"{url} leads each phone to itself: no driver can sign in", todo)]
    if url and only_near(url):
        text = f"{url} is an address of your own network: phones reach it there, and not over mobile data"
        return [note("phones", text, "set the https address of a name that is known on the whole internet")]
    if url and not url.startswith("https:"):
        text = f"{url} is without https: browsers give no position and show no notifications"
        return [note("phones", text, "put a proxy with TLS in front, and set the https address")]
    return []


def check_time_zone(settings: Settings) -> Finding:
    if "time_zone" in settings.model_fields_set:
        return ok("time zone", f"times and days are those of {settings.time_zone}")
    todo = "set yours in CALLBOARD_TIME_ZONE or on the screen Set up"
    return note("time zone", "nobody set one: times and days on screens and in reports are those of UTC", todo)
