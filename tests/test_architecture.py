"""Imports point one way, the rules stay pure, and what changes the state of dispatch does so in one place."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SERVER = Path(__file__).parent.parent / "server"

# `web, dispatcher -> execute -> store, realtime -> dispatch`, and beside them what needs nothing of ours but dispatch.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("dispatch",),
    (
        "account",
        "bounds",
        "embedded",
        "gathered",
        "ids",
        "log_lines",
        "metrics",
        "paths",
        "people",
        "pings",
        "serve",
        "settings",
        "siblings",
        "supervise",
        "wire",
    ),
    ("store", "realtime"),
    ("batch", "transact", "execute"),
    ("policies", "logs"),
    ("dispatcher", "notify"),
    ("board",),
    ("node",),
    ("web",),
    ("app", "doctor", "simulate"),
    ("workers",),
    ("running", "cli"),
)
"""From the bottom up; a package imports from its own layer and those below."""

PURE_THIRD_PARTIES = {"msgspec", "numpy", "scipy"}
IMPURE_STANDARD = {
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "threading", "time", "urllib", "uuid",
}  # fmt: skip
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "time_ns"}
STATE_TABLES = "deliveries|driver_offers|assignments|drivers|unassigned_orders|support_tickets|alerts|policy|events"


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def modules(package: str = "") -> list[Path]:
    """The modules of a package of the server, or of all of it; a package may be a single module."""
    single = SERVER / f"{package}.py"
    return [single] if package and single.exists() else sorted((SERVER / package).rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """The dotted names a module imports at any depth, but for what only the type checker sees."""
    hidden = {
        inner
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree_of(path)):
        if node in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            assert node.module is not None
            if node.module == "server":
                yield from (f"server.{alias.name}" for alias in node.names)
            else:
                yield node.module


def ours(path: Path) -> set[str]:
    """The parts of the server that a module imports: `store`, `wire` and so on."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("server.")} - {"__version__"}


def parts() -> set[str]:
    """Every package and module of the server."""
    return {path.name.removesuffix(".py") for path in SERVER.iterdir() if not path.name.startswith("_")}


def named(path: Path) -> str:
    return str(path.relative_to(SERVER.parent))


def test_everything_has_its_layer() -> None:
    """Whatever is new must be given one."""
    assert parts() <= {package for layer in LAYERS for package in layer}


@pytest.mark.parametrize("layer", range(len(LAYERS)), ids=lambda layer: ", ".join(LAYERS[layer]))
def test_imports_point_one_way(layer: int) -> None:
    allowed = {package for below in LAYERS[: layer + 1] for package in below}
    for package in LAYERS[layer]:
        for path in modules(package):
            assert ours(path) <= allowed, f"{named(path)} must not import {ours(path) - allowed}"


def test_dispatch_imports_nothing_of_ours_outside_itself() -> None:
    for path in modules("dispatch"):
        assert ours(path) <= {"dispatch"}, named(path)


def test_nothing_imports_the_command_line() -> None:
    for path in modules():
        assert path.name in ("cli.py", "__main__.py") or "cli" not in ours(path), named(path)


def test_the_simulated_city_knows_the_contract_and_not_the_server() -> None:
    """Its drivers and shops come from outside."""
    for path in modules("simulate"):
        assert ours(path) <= {"simulate", "ids"}, f"{named(path)} imports {ours(path)}"


def test_the_rules_need_little_more_than_python() -> None:
    for path in modules("dispatch"):
        roots = {name.split(".")[0] for name in imports(path)} - {"server"}
        foreign = roots - set(sys.stdlib_module_names) - PURE_THIRD_PARTIES
        assert not foreign, f"{named(path)} imports {foreign}"
        if path.name != "lifecycle.py":
            assert not roots & IMPURE_STANDARD, f"{named(path)} imports {roots & IMPURE_STANDARD}"


def test_the_rules_read_no_clock_and_await_nothing() -> None:
    for path in modules("dispatch"):
        for node in ast.walk(tree_of(path)):
            where = f"{named(path)}:{getattr(node, 'lineno', 0)}"
            assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), where
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                assert node.func.attr not in CLOCKS, f"{where} reads a clock"


def test_only_the_world_moves_a_state_machine() -> None:
    for path in modules("dispatch"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                moved = node.attr in ("status", "availability")
                assert not moved or path.name == "world.py", f"{named(path)}:{node.lineno} changes a status"


def test_only_the_world_is_given_events() -> None:
    """`World.apply` has one caller: the write path."""
    callers = {
        named(path)
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("world.apply", "self.world.apply")
    }
    assert callers == {"server/batch.py"}
    assert {named(path) for path in modules() if "server.transact" in imports(path)} == {"server/execute.py"}
    assert {named(path) for path in modules() if "server.batch" in imports(path)} == {
        "server/execute.py",
        "server/transact.py",
    }


def test_the_state_of_dispatch_is_written_in_one_place() -> None:
    writing = re.compile(rf"\b(UPDATE|INSERT INTO|DELETE FROM)\s+({STATE_TABLES})\b")
    writers = {named(path) for path in modules() if path.name != "save.py" and writing.search(path.read_text())}
    assert writers == set()


def test_one_place_opens_write_transactions_on_it() -> None:
    """Migrations have their own, before anything else runs; the engine only lends Piccolo its kind of them."""
    opening = re.compile(r"['\"]BEGIN\b|\.transaction\(")
    openers = {named(path) for path in modules() if opening.search(code_of(path))}
    assert openers <= {"server/transact.py", "server/store/migrate.py"}


def code_of(path: Path) -> str:
    """A module without its docstrings and comments."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body[0] = ast.Pass()
    return ast.unparse(tree)
