"""Asks whether any pinned version has a known hole: `python -m tests.audit PIP_AUDIT` where there is a network.

pip-audit counts what it could not look up as safe. Here that is a separate answer: unknown.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINS = Path(__file__).parent.parent / "constraints.txt"
GOOD, HOLES, UNKNOWN = 0, 1, 2


def verdict(found: dict[str, Any]) -> tuple[int, list[str]]:
    """The exit code and what to say, from pip-audit's JSON."""
    seen = []
    asked = found["dependencies"]
    unknown = [one for one in asked if "skip_reason" in one]
    for one in asked:
        for hole in one.get("vulns", ()):
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            seen.append(f"{one['name']} {one['version']}: {hole['id']}, fixed in {fixed}")
    if seen:
        return HOLES, seen
    if unknown or not asked:
        names = ", ".join(one["name"] for one in unknown)
        return UNKNOWN, [f"NOT CHECKED: {len(unknown)} of {len(asked)} packages could not be looked up: {names}"]
    return GOOD, [f"{len(asked)} packages, none of them with a known hole"]


def main(pip_audit: str, pins: Path = PINS) -> int:
    """Ask, say what was found, and return the exit code."""
    command = [pip_audit, "-r", str(pins), "--no-deps", "--disable-pip", "-f", "json", "--progress-spinner", "off"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        code, body = verdict(json.loads(asked.stdout))
    except ValueError:
        last = (asked.stderr.strip().splitlines() or ["it said nothing"])[-1]
        code, body = UNKNOWN, [f"NOT CHECKED: pip-audit could not ask, for want of a network? {last[:300]}"]
    print("\n".join(body))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
