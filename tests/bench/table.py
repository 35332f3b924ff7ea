"""The results as JSON, and as a table in Markdown."""

from typing import Any

import msgspec

from tests.bench.figures import Line, Result, short

HEADINGS = ("", "reached", "wanted", "", "limit in the same run", "CPU s: server / database / Redis", "others")


def as_json(run: dict[str, Any], results: list[Result]) -> bytes:
    """All of it, for machines."""
    return msgspec.json.format(msgspec.json.encode({**run, "results": results}), indent=1) + b"\n"


def as_markdown(run: dict[str, Any], results: list[Result]) -> str:
    """The table."""
    machine = run["machine"]
    lines = [
        f"{run['date']}. {machine['cpu']}, {machine['cores']} cores, {short(machine['memoryGb'])} GB, "
        f"{machine['system']}, Python {machine['python']}; a durable write of 8 KiB takes {machine['fdatasyncMs']} ms. "
        "Server, PostgreSQL, Valkey and the load share these cores; PostgreSQL's durability is its default."
        + (" A quick run: its figures are no measure." if run["quick"] else ""),
        "",
    ]
    for result in results:
        lines += [f"**{result.title}** ({_setting(result)})", "", _row(HEADINGS), _row(["---"] * len(HEADINGS))]
        lines += [_row(_cells(result, line)) for line in result.lines]
        if result.errors:
            counted = ", ".join(f"{kind}: {count}" for kind, count in result.errors.items())
            lines += ["", f"What should not have happened: {counted}."]
        lines.append("")
    return "\n".join(lines)


def _setting(result: Result) -> str:
    setting = ", ".join(f"{name} {value:,}" for name, value in result.setting.items())
    return f"{setting}; others used {short(result.others_before)} cores just before"


def _cells(result: Result, line: Line) -> list[str]:
    verdict = "" if line.met is None else "yes" if line.met else "**no**"
    window = result.windows.get(line.window)
    used = others = ""
    if window is not None:
        used = f"{short(window.server)} / {short(window.database)} / {short(window.redis)} in {short(window.seconds)} s"
        others = f"{100 * window.others / window.seconds:.0f} %"
    return [line.what, line.reached, line.wanted, verdict, line.limit, used, others]


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
