"""What is pinned is what runs, and an audit that could not ask says so. Whether versions have holes: `make audit`."""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests import audit

PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """The pinned versions by name."""
    found = {}
    for line in audit.PINS.read_text().splitlines():
        if line and not line.startswith("#"):
            pinned = PIN.match(line)
            assert pinned is not None, f"{line}: no exact pin"
            found[normal(pinned[1])] = pinned[2]
    return found


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """This installed distribution and all that it needs, of what is installed."""
    from packaging.requirements import Requirement

    seen: set[str] = set()
    todo = [(name, extras)]
    while todo:
        one, with_extras = todo.pop()
        if normal(one) in seen and not with_extras:
            continue
        seen.add(normal(one))
        for text in metadata.requires(one) or ():
            requirement = Requirement(text)
            if requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in ("", *with_extras)
            ):
                todo.append((requirement.name, tuple(requirement.extras)))
    return seen


def test_all_that_callboard_needs_is_pinned_and_is_what_runs() -> None:
    """An audit of the pins is an audit of what is installed."""
    pinned = pins()
    used = needed("callboard", ("dev",)) - {"callboard"}
    assert len(used) > 60
    assert used - set(pinned) == set(), "needed, but not pinned"
    running = {name: metadata.version(name) for name in used}
    assert {name: (version, pinned[name]) for name, version in running.items() if version != pinned[name]} == {}


HOLE = {"id": "PYSEC-2026-1", "fix_versions": ["2.0"], "aliases": [], "description": "bad"}
GOOD = {"name": "a", "version": "1.0", "vulns": []}
BAD = {"name": "b", "version": "1.0", "vulns": [HOLE]}
SKIPPED = {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited: c (1.0)"}


@pytest.mark.parametrize(
    ("found", "code", "message"),
    [
        ([GOOD], audit.GOOD, "1 packages, none"),
        ([GOOD, BAD, SKIPPED], audit.HOLES, "b 1.0: PYSEC-2026-1, fixed in 2.0"),
        ([GOOD, SKIPPED], audit.UNKNOWN, "NOT CHECKED: 1 of 2"),
        ([], audit.UNKNOWN, "NOT CHECKED"),
    ],
)
def test_an_audit_that_could_not_look_up_a_package_is_no_good_news(found: list[Any], code: int, message: str) -> None:
    exit_code, lines = audit.verdict({"dependencies": found, "fixes": []})
    assert exit_code == code
    assert lines[0].startswith(message)


def test_an_audit_without_a_network_says_that_nothing_was_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "pip-audit"
    program.write_text("#!/bin/sh\necho 'requests.exceptions.ConnectionError: no network' >&2\nexit 1\n")
    program.chmod(0o755)
    assert audit.main(str(program)) == audit.UNKNOWN
    assert "NOT CHECKED" in capsys.readouterr().out
