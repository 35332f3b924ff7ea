"""The plans of statements as they really ran: time, pages, and what was read whole."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from tests.bench.statements import LARGE, Statement


class Plan(Struct, frozen=True):
    """How a statement ran: milliseconds, pages of 8 KiB looked at, the tables it read whole, and its steps as lines."""

    name: str
    ms: float
    pages: int
    whole: list[str]
    lines: list[str]


async def plans(connection: Any, statements: Iterable[Statement]) -> list[Plan]:
    """Run each once to warm up and once to look, and undo what it did."""
    found = []
    for name, sql, arguments in statements:
        for _ in range(2):
            transaction = connection.transaction()
            await transaction.start()
            try:
                text = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}", *arguments)
            finally:
                await transaction.rollback()
        explained = json.loads(text)[0]
        top = explained["Plan"]
        pages = top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        whole = sorted({node["Relation Name"] for node, _ in nodes(top) if is_whole(node)})
        found.append(Plan(name, explained["Execution Time"], pages, whole, [_line(*step) for step in nodes(top)]))
    return found


def nodes(plan: dict[str, Any], depth: int = 0) -> Iterator[tuple[dict[str, Any], int]]:
    """Every node with its depth, the top first."""
    yield plan, depth
    for part in plan.get("Plans", ()):
        yield from nodes(part, depth + 1)


def is_whole(node: dict[str, Any]) -> bool:
    """Whether it reads a large table without an index."""
    return node["Node Type"] == "Seq Scan" and node["Actual Loops"] > 0 and node["Relation Name"] in LARGE


def _line(node: dict[str, Any], depth: int) -> str:
    about = " ".join(node[key] for key in ("Relation Name", "Index Name") if key in node)
    rows, loops = round(node["Actual Rows"]), node["Actual Loops"]
    times = f" x {loops:,}" if loops > 1 else ""
    spilled = f", {node['Temp Written Blocks']:,} pages to disk" if node.get("Temp Written Blocks") else ""
    return f"{'  ' * depth}{node['Node Type']} {about}: {rows:,} rows{times}{spilled}".replace(" :", ":")
