"""docs/security.md names tests that there are, for every threat; and no hostile test goes unnamed there."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENT = (ROOT / "docs" / "security.md").read_text()
NAMED = re.compile(r"`(tests/[a-z_/]+\.py)::(test_[a-z0-9_]+)`")


@cache
def named_in(file: str) -> set[str]:
    """The names of the tests in a file."""
    tree = ast.parse((ROOT / file).read_text())
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    return {name for name in found if name.startswith("test_")}


def rows() -> list[tuple[str, str, str]]:
    """Threat, defence and what shows it, of every row but the headings."""
    table = DOCUMENT.partition("| threat | defence | test |\n|---|---|---|\n")[2].partition("\n\n")[0]
    cells = [tuple(cell.strip() for cell in line.strip("|").split(" | ")) for line in table.splitlines()]
    return [(row[0], row[1], row[2]) for row in cells if len(row) == 3 and row[1]]


def test_every_threat_has_a_defence_and_a_test_that_there_is() -> None:
    assert len(rows()) > 35
    for threat, defence, shown in rows():
        named = NAMED.findall(shown)
        assert defence, threat
        assert named, f"{threat}: no test shows it"
        assert shown == ", ".join(f"`{file}::{test}`" for file, test in named), threat
        for file, test in named:
            assert test in named_in(file), f"{threat}: {file} has no {test}"


def test_every_file_of_hostile_tests_shows_something() -> None:
    named = {file for file, _ in NAMED.findall(DOCUMENT)}
    there = {f"tests/abuse/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert there - {f"tests/abuse/{Path(__file__).name}"} <= named
