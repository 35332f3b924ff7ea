"""Rooms import one way, the rules stay pure, SQL has its places, and one path changes the state of dispatch."""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SERVER = Path(__file__).parent.parent / "server"

ROOMS = (
    "paths", "ids", "apart", "images", "spreadsheets", "metrics", "worker_metrics", "tasks", "texts", "settings",
    "setting_sources", "object_store", "geocoder",
    "dispatch", "dispatch/planning", "contract",
    "store", "store/queues", "store/reads", "store/jobs",
    "write", "current_policy", "redis", "lease", "heartbeat", "sockets", "dispatcher", "notify", "board", "node",
    "web/http", "web/access", "web/api", "web/screens", "web",
    "embedded", "driver_client", "simulate", "replay", "backups", "doctor", "process", "cli",
)  # fmt: skip
"""From the bottom up: a room imports from those before it and from no other, also where only the type checker looks."""

OUTSIDE = {"driver_client", "simulate"}
FORMS = {"store/tables.py", "contract/messages.py", "web/api/schemas.py", "web/api/answers.py"}
"""The tables, messages, request and response bodies of what the rules have too, under the same names."""
FLAT_LIMIT = 12
"""Modules that may stand beside the rooms."""
SQL_OUTSIDE_STORE = {"write/load.py", "write/save.py", "write/transaction.py"}
"""The write path's own: its locks, its reads under them, its one saving statement, its ends."""
PURE_THIRD_PARTIES = {"msgspec", "numpy", "scipy", "shapely"}
IMPURE_STANDARD = {
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "select", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys", "threading", "time", "urllib", "uuid",
}  # fmt: skip
UNTYPED = {
    "rows and columns of the database: asyncpg and Piccolo give them no types, and each read decodes its own": {
        "store/connections.py", "store/engine.py", "store/query.py", "store/rows.py", "store/tables.py",
        "store/typed.py", "write/save.py",
    },
    "cells and pages of libraries without types: openpyxl's workbooks": {"spreadsheets/parsing.py"},
    "JSON whose shape is what it is about: a document, a form before it is checked, the data of an event, an answer": {
        "board/timeline.py", "simulate/api.py", "web/api/asyncapi.py", "web/api/openapi.py",
        "web/screens/policy_form.py",
    },
    "keywords that go on to a constructor, which checks them": {
        "dispatch/driver_actions.py", "redis/pipe.py", "setting_sources.py",
    },
    "a cursor, whose type the page knows": {"web/http/paging.py"},
    "a method of a library's class, with the parameters that it has there": {
        "board/constant_texts.py", "process/coalescing_transport.py", "process/connection_limits.py",
        "process/frame_limits.py",
    },
}  # fmt: skip
"""Why a signature in these modules has to say `Any`. Others say the type, or `object` where every value will do."""
CLOCKS = {"now", "utcnow", "today", "time", "monotonic", "perf_counter", "time_ns"}
OF_BROWSERS = {"Intl", "PluralRules", "ltr", "rtl"}
"""Names of JavaScript and HTML that docstrings mention."""
BACKTICKED = re.compile(r"`([A-Za-z_][A-Za-z0-9_.]*)`")
WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
STATEMENT = re.compile(
    r"^(\s|\(|--[^\n]*\n|/\*.*?\*/)*"
    r"(SELECT\s|INSERT\s+INTO\s|MERGE\s+INTO\s|UPDATE\s+[\w.\"]+\s+(\w+\s+)*SET\s|DELETE\s+FROM\s|LOCK\s+TABLE\s"
    r"|WITH\s+(RECURSIVE\s+)?\w+\s*(\([^)]*\))?\s*AS\b|TRUNCATE\s|COPY\s|CREATE\s|ALTER\s|DROP\s|BEGIN$|COMMIT|ROLLBACK"
    r"|SET\s+(LOCAL|SESSION)\s|DISCARD\s|NOTIFY\s|LISTEN\s|VALUES\s*\(|CALL\s+\w+\(|DO\s+\$|EXPLAIN\s)"
    r"|(?i:^\s*(select\s.+\sfrom\s|insert\s+into\s+\w+\s*\(|update\s+\w+\s+set\s+\w+\s*=|delete\s+from\s+\w+\s+where\s))",
    re.DOTALL,
)
ASKING = {
    "fetch", "fetch_as", "fetch_one", "fetch_one_as", "fetchrow", "fetchval", "execute", "executemany", "prepare",
    "ask_one",
}  # fmt: skip
"""Methods and functions that run a statement."""
NOT_THE_DATABASE = {("node.py", "fetch"), ("redis/index.py", "execute"), ("dispatch/shapes.py", "prepare")}
"""Methods of other libraries with the name of one of these."""
LOADERS = {"import_module", "__import__", "exec", "eval", "exec_module", "spec_from_file_location", "run_module"}
"""What imports a module by a text, which no test of imports would see."""


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def modules(room: str = "") -> list[Path]:
    """The modules of a room, without those of the rooms inside it, or all of the server's."""
    single = SERVER / f"{room}.py"
    if room and single.exists():
        return [single]
    return [path for path in sorted((SERVER / room).rglob("*.py")) if not room or room_of(path) == room]


def room_of(path: Path) -> str:
    return room_named(path.relative_to(SERVER).with_suffix("").as_posix().removesuffix("/__init__"))


def room_named(place: str) -> str:
    """The innermost room that holds this module, as `store/reads` holds `store/reads/drivers`."""
    first, _, rest = place.partition("/")
    inner = f"{first}/{rest.partition('/')[0]}"
    return inner if rest and (SERVER / inner).is_dir() else first


def named(path: Path) -> str:
    return path.relative_to(SERVER).as_posix()


def imports(path: Path) -> Iterator[str]:
    """The dotted names a module imports, at any depth and under any condition."""
    return imported_by(tree_of(path))


def imported_by(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"imports are absolute: {ast.unparse(node)}"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def loaders(tree: ast.AST) -> Iterator[str]:
    """What hides an import: a module named in a text, or all of the server under one name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in LOADERS:
            yield ast.unparse(node)
        if isinstance(node, ast.Import):
            yield from (ast.unparse(node) for alias in node.names if alias.name == "server")


def test_no_import_is_hidden() -> None:
    assert {named(path): found for path in modules() if (found := list(loaders(tree_of(path))))} == {}


def parts_of_ours(path: Path) -> Iterator[str]:
    """The modules and names that it imports from the server, without `server.`."""
    for name in imports(path):
        if name.startswith("server."):
            yield name.removeprefix("server.")
            yield name.removeprefix("server.").rpartition(".")[0]


def rooms_imported(path: Path) -> set[str]:
    """The rooms from which a module imports, but its own."""
    places = {name.removeprefix("server.").replace(".", "/") for name in imports(path) if name.startswith("server.")}
    return {room_named(place) for place in places if place != "__version__"} - {room_of(path)}


def test_every_module_has_its_room() -> None:
    assert {room_of(path) for path in modules() if path != SERVER / "__init__.py"} == set(ROOMS)


def types_of(path: Path) -> Iterator[tuple[str, str]]:
    """The public types that a module defines, and what each is: a class is itself, an alias is the type that it names.
    A type variable means nothing outside its module.
    """
    for node in tree_of(path).body:
        if isinstance(node, ast.ClassDef):
            yield node.name, named(path)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            meaning = ast.unparse(node.value)
            for target in targets:
                name = ast.unparse(target)
                if re.fullmatch(r"[A-Z][a-z]\w*", name) and not meaning.startswith(("TypeVar(", "ParamSpec(")):
                    yield name, meaning


def test_a_type_name_has_one_meaning() -> None:
    """Except where it is another form of the same thing, or lives outside the server."""
    meanings: dict[str, dict[str, str]] = {}
    for path in modules():
        if room_of(path) in OUTSIDE or named(path) in FORMS:
            continue
        for name, meaning in types_of(path):
            if not name.startswith("_"):
                meanings.setdefault(name, {})[meaning] = named(path)
    assert {name: sorted(found.values()) for name, found in meanings.items() if len(found) > 1} == {}


def test_a_function_that_others_import_has_one_meaning() -> None:
    """A rule, the store's function and the handler of one command share its name: nobody imports two of them by it."""
    imported = {name for path in modules() for name in imports(path)}
    places: dict[str, set[str]] = {}
    for path in modules():
        if room_of(path) in OUTSIDE:
            continue
        module = f"server.{path.relative_to(SERVER).with_suffix('').as_posix().replace('/', '.')}"
        for node in tree_of(path).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and f"{module}.{node.name}" in imported:
                places.setdefault(node.name, set()).add(named(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_one_way(room: str) -> None:
    below = set(ROOMS[: ROOMS.index(room)])
    for path in modules(room):
        assert rooms_imported(path) <= below, f"{named(path)} must not import {rooms_imported(path) - below}"


def test_few_modules_are_outside_the_packages() -> None:
    assert len(list(SERVER.glob("*.py"))) <= FLAT_LIMIT


@pytest.mark.parametrize("room", ROOMS)
def test_the_modules_of_a_room_import_one_way_too(room: str) -> None:
    """No import cycles, not even for the type checker only."""
    below = {path: {SERVER / f"{name.replace('.', '/')}.py" for name in parts_of_ours(path)} for path in modules(room)}
    left = set(below)
    while free := {path for path in left if not (below[path] - {path}) & left}:
        left -= free
    assert not left, f"a circle among {sorted(map(named, left))}"


def rules() -> list[Path]:
    """The modules of the rules and of the planner."""
    return [*modules("dispatch"), *modules("dispatch/planning")]


def test_the_rules_import_nothing_of_ours_outside_themselves() -> None:
    for path in rules():
        assert rooms_imported(path) <= {"dispatch"}, named(path)


def test_the_contract_follows_from_the_rules_alone() -> None:
    """It needs no clock and no database, so whatever leaves the server can be made and tested anywhere."""
    for path in modules("contract"):
        assert rooms_imported(path) <= {"dispatch"}, named(path)
        roots = {name.split(".")[0] for name in imports(path)} - {"server"}
        assert not roots & IMPURE_STANDARD, f"{named(path)} imports {roots & IMPURE_STANDARD}"
        assert_no_clock(path)


def test_the_simulated_city_knows_the_contract_and_not_the_server() -> None:
    """Its drivers and shops come from outside."""
    for path in modules("simulate"):
        assert rooms_imported(path) <= {"driver_client"}, f"{named(path)} imports {rooms_imported(path)}"


def test_a_drivers_app_knows_nothing_of_the_server() -> None:
    """It can be copied out as an example."""
    for path in modules("driver_client"):
        assert rooms_imported(path) == set(), f"{named(path)} imports {rooms_imported(path)}"


def test_the_rules_need_little_more_than_python() -> None:
    for path in rules():
        roots = {name.split(".")[0] for name in imports(path)} - {"server"}
        foreign = roots - set(sys.stdlib_module_names) - PURE_THIRD_PARTIES
        assert not foreign, f"{named(path)} imports {foreign}"
        assert not roots & IMPURE_STANDARD, f"{named(path)} imports {roots & IMPURE_STANDARD}"


def test_the_rules_read_no_clock_and_await_nothing() -> None:
    for path in rules():
        assert_no_clock(path)


def assert_no_clock(path: Path) -> None:
    for node in ast.walk(tree_of(path)):
        where = f"{named(path)}:{getattr(node, 'lineno', 0)}"
        assert not isinstance(node, ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith), where
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in CLOCKS, f"{where} reads a clock"


def test_only_applying_an_event_changes_the_model() -> None:
    """In `dispatch` and `contract` nothing else assigns to an attribute of another object."""
    for path in (*rules(), *modules("contract")):
        if path.name in ("apply.py", "world.py", "effects.py"):
            continue
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                assert ast.unparse(node.value) == "self", f"{named(path)}:{node.lineno} changes {ast.unparse(node)}"


def test_only_applying_an_event_moves_a_state_machine() -> None:
    for path in rules():
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                moved = node.attr in ("status", "availability")
                assert not moved or path.name == "apply.py", f"{named(path)}:{node.lineno} changes a status"


def test_events_are_applied_in_one_place() -> None:
    """In a batch of the write path, in a replay, which has no database, and in a preview, which nobody saves."""
    callers = {named(path) for path in modules() if "server.dispatch.apply.apply" in imports(path)}
    assert callers == {"write/batch.py", "replay/replay.py", "dispatch/preview.py"}


def test_the_write_path_has_one_door() -> None:
    """Others see the executor; how a transaction is made and what is in it concerns `write` alone."""
    for path in modules():
        if room_of(path) != "write":
            inside = {name for name in imports(path) if name.startswith("server.write.")}
            assert all(name.startswith("server.write.executor.") for name in inside), f"{named(path)}: {inside}"


def test_guards_are_made_in_one_place() -> None:
    """What a role may do is in one module."""
    makers = {
        named(path)
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "Guard"
    }
    assert makers == {"web/access/guards.py"}


def test_sql_has_its_places() -> None:
    for path in modules():
        if room_of(path).startswith("store") or named(path) in SQL_OUTSIDE_STORE:
            continue
        assert list(statements(tree_of(path))) == [], f"{named(path)} holds SQL"


def statements(tree: ast.AST) -> Iterator[str]:
    """The texts that begin as SQL does, also if they are put together from several."""
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = text_of(node) if id(node) not in documentation else None
        if text is not None and STATEMENT.match(text):
            yield text.strip()[:60]


def text_of(node: ast.AST) -> str | None:
    """The text of an expression, `_` for what it takes from elsewhere; None if it is no text."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(text_of(part) or "_" for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = text_of(left), text_of(right)
            return None if first is None and second is None else (first or "_") + (second or "_")
        case ast.BinOp(left=left, op=ast.Mod()):
            return text_of(left)
        case ast.Call(
            func=ast.Attribute(value=joint, attr="join"), args=[ast.List(elts=parts) | ast.Tuple(elts=parts)]
        ):
            return (text_of(joint) or "_").join(text_of(part) or "_" for part in parts)
        case ast.Call(func=ast.Attribute(value=text, attr="format" | "strip" | "replace" | "lower" | "upper")):
            return text_of(text)
    return None


def test_only_the_store_and_the_write_path_ask_the_database() -> None:
    """Others call typed functions of the store; what asks a statement, or a query of Piccolo's, is not theirs."""
    for path in modules():
        if room_of(path).startswith("store") or room_of(path) == "write":
            continue
        for name in imports(path):
            assert not name.startswith(("server.store.typed", "server.store.tables", "piccolo")), (
                f"{named(path)} imports {name}"
            )
        asked = {name for name in asks(tree_of(path)) if (named(path), name) not in NOT_THE_DATABASE}
        assert asked == set(), f"{named(path)} asks the database"


def asks(tree: ast.AST) -> Iterator[str]:
    """The functions and methods with which it asks the database, under whatever name it imports them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("server.store"):
            yield from (alias.name for alias in node.names if alias.name in ASKING)
        if isinstance(node, ast.Attribute) and node.attr in ASKING:
            yield node.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr":
            yield from (text for arg in node.args if (text := text_of(arg)) in ASKING)


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    return f"SELECT {x} FROM t"',
        'x = f"DELETE FROM {table} WHERE id = $1"',
        'QUERY = "UPDATE deliveries d SET " "zone = $1"',
        'QUERY = "UPDATE public.deliveries SET zone = $1"',
        'QUERY = "DELETE " + "FROM deliveries"',
        'QUERY = f"{VERB}" "x"; OTHER = " ".join(["INSERT", "INTO", "deliveries"])',
        'x = "DELETE FROM %s" % table',
        'x = "WITH RECURSIVE t (id) AS (SELECT 1) SELECT 1"',
        'x = "-- harmless\\n/* really */ (SELECT 1)"',
        'x = "select id from deliveries where zone = $1"',
        'x = "update deliveries set zone = $1"',
        'pool.run(sql="TRUNCATE deliveries")',
        "pool.execute(sql)",
        "from server.store import query as harmless\nharmless.fetch(pool, text)",
        "from server.store.query import fetch_one as harmless",
        'getattr(pool, "fetch" + "val")(text)',
        "def f():\n    import importlib as i\n    return i.import_module(name)",
        '__import__("server.store.query")',
        "import server as s",
        'exec("from server.store import query")',
    ],
)
def test_no_trick_gets_past_these_tests(source: str) -> None:
    tree = ast.parse(source)
    assert [*statements(tree), *asks(tree), *loaders(tree)]


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    from server.store.query import x",
        "if TYPE_CHECKING:\n    import server.store.query as q",
        "try:\n    from server.store import query as harmless\nexcept ImportError:\n    pass",
        "class A:\n    from server.store.query import x as y",
    ],
)
def test_an_import_counts_wherever_it_is(source: str) -> None:
    assert any(name.startswith("server.store.query") for name in imported_by(ast.parse(source)))


def texts(path: Path) -> Iterator[tuple[str, int]]:
    """Every string of a module and where it is, without docstrings; of a formatted one its first piece."""
    tree = tree_of(path)
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value, node.lineno


def test_one_place_opens_transactions_on_the_state() -> None:
    """Migrations have their own, before anything else runs, and so has erasing, which locks finished deliveries, and a
    restore, which renames databases. The engine only lends Piccolo its kind of them.
    """
    openers = {named(path) for path in modules() if any(text.startswith("BEGIN") for text, _ in texts(path))} | {
        named(path)
        for path in modules()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "transaction"
    }
    assert openers <= {"write/transaction.py", "store/migrate.py", "store/jobs/erasing.py", "store/backups.py"}


def signatures(path: Path) -> Iterator[ast.expr]:
    """The types of all parameters and results."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = node.args
            parameters = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
            types = [one.annotation for one in parameters if one is not None]
            yield from (found for found in (*types, node.returns) if found is not None)


def says_any(annotation: ast.expr) -> bool:
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\bAny\b", node.value):
            return True
    return False


def test_a_signature_says_its_types() -> None:
    """A module that needs `Any` no longer leaves the list."""
    found = {path.relative_to(SERVER).as_posix() for path in modules() if any(map(says_any, signatures(path)))}
    listed = [place for places in UNTYPED.values() for place in places]
    assert len(listed) == len(set(listed))
    assert found == set(listed)


def test_names_in_docstrings_exist() -> None:
    """Every name in backticks is a name of the code, or part of one of its strings, such as a column or a field."""
    docstrings: list[tuple[str, str]] = []
    known = set(OF_BROWSERS)
    for path in modules():
        known |= set(path.relative_to(SERVER).with_suffix("").parts)
        for node in ast.walk(tree_of(path)):
            known |= names_of(node)
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                docstrings.append((f"{named(path)}:{node.lineno}", node.value.value))
        known |= {word for text, _ in texts(path) for word in WORD.findall(text)}
    known |= {camel(name) for name in known}
    wrong = [
        f"{where}: {name}"
        for where, text in docstrings
        for name in BACKTICKED.findall(text)
        if not known.issuperset(name.strip(".").split("."))
    ]
    assert len(docstrings) > 2000
    assert wrong == []


def names_of(node: ast.AST) -> set[str]:
    """The names that a node of the syntax tree declares or uses."""
    match node:
        case ast.Name():
            return {node.id}
        case ast.Attribute():
            return {node.attr}
        case ast.arg():
            return {node.arg}
        case ast.keyword():
            return {node.arg} if node.arg is not None else set()
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return {node.name}
        case ast.alias():
            return {*node.name.split("."), node.asname or node.name}
        case _:
            return set()


def camel(name: str) -> str:
    """The name of a field in JSON."""
    first, *others = name.strip("_").split("_")
    return first + "".join(other.title() for other in others)
