"""The documents and the files around the code: what they name exists, and they agree with one another."""

import ast
import configparser
import re
import shutil
import subprocess
import tokenize
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml  # type: ignore[import-untyped]
from litestar import Litestar

from server import __version__
from server.cli.commands import callboard
from server.contract.messages import FromDriver, ToDriver
from server.dispatch import refusals
from server.settings import PREFIX, Settings
from server.sockets import session
from server.web.api import asyncapi, openapi
from server.web.api.routes import API
from server.web.http import errors
from server.web.http.every_route import handlers_in
from tests.release import changelog_faults
from tests.test_architecture import ROOMS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DEPLOYMENT = (DOCS / "deployment.md").read_text()
RUNBOOKS = (DOCS / "runbooks.md").read_text()
HEADINGS = ["How you notice", "What still works", "What to do", "How you know it is solved"]
NOT_OURS = {
    "fsync", "full_page_writes", "max_connections", "max_wal_size", "pg_basebackup", "pg_dump", "pg_promote",
    "pg_restore",
    "pg_stat_replication", "random_page_cost", "recovery_target_time", "restore_command", "shared_buffers",
    "synchronous_commit",
    "synchronous_standby_names", "worker_connections", "worker_rlimit_nofile",
}  # fmt: skip
"""Words of PostgreSQL and of proxies."""
SERVER = "\n".join(path.read_text() for path in (ROOT / "server").rglob("*.py"))
RULES = (DOCS / "alert-rules.yml").read_text()
DOCUMENTS = [*ROOT.glob("*.md"), *DOCS.glob("*.md")]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
DOTENV = (ROOT / ".env.example").read_text()
SETTINGS = {PREFIX + name.upper() for name in Settings.model_fields}


def runbooks() -> dict[str, str]:
    """The pages by their titles."""
    parts = re.split(r"^## (.+)$", RUNBOOKS, flags=re.MULTILINE)
    return {title: text for title, text in zip(parts[1::2], parts[2::2], strict=True) if "\n### " in text}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `(CALLBOARD_\w+)` \| (?:`(.*?)`)? ?\|", DEPLOYMENT, flags=re.MULTILINE)
    shown = dict(rows)
    assert len(shown) == len(rows)
    assert shown.keys() == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert shown[PREFIX + name.upper()].removeprefix("./") == default, name


@pytest.mark.parametrize("title", runbooks())
def test_a_runbook_has_its_four_parts(title: str) -> None:
    text = runbooks()[title]
    assert re.findall(r"^### (.+)$", text, flags=re.MULTILINE) == HEADINGS
    assert re.search(r"^1\. ", text, flags=re.MULTILINE)


def test_what_they_say_to_look_for_exists() -> None:
    both = DEPLOYMENT + RUNBOOKS
    rules = set(re.findall(r"\bCallboard[A-Z]\w+", both))
    assert rules
    assert rules <= set(re.findall(r"alert: (\w+)", RULES))
    metrics = set(re.findall(r"\bcallboard_[a-z_]+[a-z]", both))
    assert metrics
    for metric in metrics:
        assert re.sub(r"_(total|bucket)$", "", metric) in SERVER, metric
    events = set(chain.from_iterable(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", line) for line in both.splitlines()))
    for event in events:
        if not event.startswith("callboard_") and event not in NOT_OURS:
            assert event in SERVER, event


def test_the_page_for_driver_apps_has_every_message_and_every_way_to_close() -> None:
    page = (DOCS / "driver-app.md").read_text()
    tables = [row.split("|")[1] for row in page.splitlines() if row.startswith("|")]
    named = set(re.findall(r"`(\w+)`", " ".join(tables)))
    assert named == {message.__struct_config__.tag for message in chain(get_args(FromDriver), get_args(ToDriver))}
    ours = {code.code for code in vars(session).values() if isinstance(code, session.CloseCode)}
    assert ours <= {int(code) for code in re.findall(r"\b4\d{3}\b", " ".join(tables))}


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", path.read_text()):
            found = path.parent / target if target else path
            assert found.exists(), f"{path.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", found.read_text(), flags=re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, f"{path.name}: {target}#{anchor}"


def test_every_room_has_its_line_in_order() -> None:
    text = (DOCS / "architecture.md").read_text()
    assert tuple(re.findall(r"^- `([\w/]+)`: \S", text, flags=re.MULTILINE)) == ROOMS


def test_every_module_of_the_architecture_exists() -> None:
    named = re.findall(r"`([\w/]+\.py)`", (DOCS / "architecture.md").read_text())
    assert named
    for path in named:
        assert (ROOT / ("" if path.startswith("tests/") else "server") / path).exists(), path


def test_whoever_contributes_is_sent_to_places_that_exist() -> None:
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Where things go")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert len(rows) > 10
    for row in rows:
        folder = ROOT
        for path in re.findall(r"`([\w/]+(?:\.\w+|/))`", row):  # a bare name is in the folder of the one before it
            place = ROOT / path if "/" in path else folder / path
            assert place.exists(), path
            folder = place.parent


def code_in(text: str) -> str:
    """What stands in code spans and code blocks."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return "\n".join([*blocks, *re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))])


def yaml_of(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_that_is_named_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z-]+)", code_in(path.read_text()))) <= targets


def test_a_stranger_sees_the_board_and_the_two_commands_first() -> None:
    opening = (ROOT / "README.md").read_text()[:1500]
    assert opening.startswith("# Callboard\n\nCallboard is ")
    assert opening.index("](docs/board.png)") < opening.index("```sh\nmake demo") < opening.index("\nmake test")
    assert (DOCS / "board.png").read_bytes().startswith(b"\x89PNG")


def test_the_changelog_has_this_version() -> None:
    assert changelog_faults((ROOT / "CHANGELOG.md").read_text(), __version__) == []


def test_the_workflow_runs_what_ci_runs_on_linux_and_macos() -> None:
    job = yaml_of(".github/workflows/ci.yml")["jobs"]["check"]
    assert {row["os"].split("-")[0] for row in job["strategy"]["matrix"]["include"]} == {"ubuntu", "macos"}
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]
    assert "make check" in (ROOT / ".ci" / "run").read_text()


@pytest.mark.parametrize("name", ["bug", "idea"])
def test_an_issue_form_has_unique_fields(name: str) -> None:
    """GitHub shows no form at all when something required is missing in it."""
    form = yaml_of(f".github/ISSUE_TEMPLATE/{name}.yml")
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    for field in fields:
        assert field["attributes"]["label"]
        assert field["type"] != "dropdown" or field["attributes"]["options"]


def instructions(name: str) -> list[str]:
    """The arguments of one kind of instruction in the Dockerfile, in order."""
    whole = re.sub(r"\\\n\s*", "", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return re.findall(rf"^{name} (.+)$", whole, flags=re.MULTILINE)


def test_what_the_image_copies_is_there_and_reaches_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert "*" in ignored
    copied = {source for line in instructions("COPY") if "--from" not in line for source in line.split()[:-1]}
    copied = {source.removeprefix("./") for source in copied}
    assert {"constraints.txt", "pyproject.toml", "server", "templates", "static", "piccolo_migrations"} <= copied
    assert copied == let_through
    for source in copied:
        assert (ROOT / source).exists(), source


def test_the_image_has_stages_pins_a_user_a_volume_and_a_health_check() -> None:
    assert len(instructions("FROM")) == 2
    assert any("--constraint constraints.txt" in line for line in instructions("RUN"))
    assert instructions("USER") == ["10001:10001"]
    settings = dict(re.findall(r"\b(CALLBOARD_\w+)=(\S+)", " ".join(instructions("ENV"))))
    assert settings.keys() <= SETTINGS
    assert instructions("VOLUME") == [settings["CALLBOARD_DATA"]]
    assert instructions("EXPOSE") == [settings["CALLBOARD_PORT"]]
    (check,) = instructions("HEALTHCHECK")
    assert "'/health/ready'" in check


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="it comes with systemd")
def test_systemd_knows_every_line_of_the_units(tmp_path: Path) -> None:
    """Of the page for one machine and of the one for several nodes, with a program that is there."""
    line = next(line for line in (DOCS / "install.md").read_text().splitlines() if "callboard.service" in line)
    printed = re.search(r"printf '(.+?)' >", line)
    found = re.search(r"```ini\n# \S+\.service\n(.*?)```", DEPLOYMENT, re.DOTALL)
    assert printed is not None
    assert found is not None
    for number, unit in enumerate((printed[1].replace("\\n", "\n"), found[1])):
        path = tmp_path / f"callboard@{number}.service"
        there = re.sub(r"(?m)^(ExecStart=)\S+", r"\1/bin/true", unit)
        path.write_text(re.sub(r"(?m)^(User|Group)=.*\n", "", there))
        run = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
        assert (run.returncode, run.stderr) == (0, ""), unit


def test_the_settings_of_compose_exist_and_its_secrets_are_in_the_example() -> None:
    compose = yaml_of("compose.yaml")
    services = compose["services"]
    assert services.keys() == {"callboard", "postgres", "valkey"}
    callboard = services["callboard"]
    assert callboard["image"] == f"callboard:{__version__}"
    assert callboard["environment"].keys() <= SETTINGS
    assert {name: needs["condition"] for name, needs in callboard["depends_on"].items()} == {
        "postgres": "service_healthy",
        "valkey": "service_healthy",
    }
    for name in callboard["depends_on"]:
        assert services[name]["healthcheck"]["test"]
    Settings(
        database_url=callboard["environment"]["CALLBOARD_DATABASE_URL"].replace(
            "${POSTGRES_PASSWORD:?set it in .env}", "0a"
        ),
        redis_url=callboard["environment"]["CALLBOARD_REDIS_URL"],
    )
    volumes = [volume for service in services.values() for volume in service.get("volumes", ())]
    assert {volume.split(":")[0] for volume in volumes} == compose["volumes"].keys()
    in_example = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", DOTENV, flags=re.MULTILINE))
    asked_for = dict(re.findall(r"\$\{(\w+)(:\?)?", (ROOT / "compose.yaml").read_text()))
    assert asked_for.keys() <= in_example.keys()
    for name, required in asked_for.items():
        assert not required or in_example[name] == "", f"{name}: an example is no secret"
    assert in_example.keys() - asked_for.keys() <= SETTINGS


def test_the_editor_keeps_what_the_linter_wants() -> None:
    parser = configparser.ConfigParser()
    parser.read_string("[top]\n" + (ROOT / ".editorconfig").read_text())
    assert "line-length = " + parser["*.py"]["max_line_length"] in (ROOT / "pyproject.toml").read_text()
    assert parser["Makefile"]["indent_style"] == "tab"


def test_the_rules_of_writing_come_with_ten_pairs_that_keep_them() -> None:
    text = (DOCS / "writing.md").read_text()
    pairs = re.findall(r"^\| (.+?) \| (.+?) \| \d", text, flags=re.MULTILINE)
    assert len(pairs) >= 10
    for before, after in pairs:
        assert before != after
        assert not OLD_IDIOM.search(after), after


OLD_IDIOM = re.compile(
    r"\b(told|whom|fares|mends?|mended|stands? (?:for|in|still)|(?:alerts?|it|that) stands?|(?:is|are|was) over"
    r"|hung up|hangs? up|lets? go|letting go|looks? after|looked after|in vain|holds good|as it were|nobody we know"
    r"|not good|(?:is|are) good|all the same|a word|deaf|last words|of (?:its|their) own|made anew|whoever)\b",
    re.IGNORECASE,
)
"""Words that must not come back; docs/writing.md says what to write instead."""
OLD_NAMES = re.compile(r"(^|_)(told|stood|stands|deaf|hurry|vain|fares|noted|looked_at|counted_not)(_|$)")


def described(document: Any) -> Iterator[str]:
    """Every summary and description of an API document."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("summary", "description") and isinstance(value, str):
                yield value
            else:
                yield from described(value)
    elif isinstance(document, list):
        for value in document:
            yield from described(value)


def prose(path: Path) -> str:
    """The text of a page, without code, without the left half of the pairs of writing.md."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    if path.name == "writing.md":
        text = re.sub(r"^\| .+? \| (.+?) \| \d.*$", r"\1", text, flags=re.MULTILINE)
        text = re.sub(r'"[^"]+"|\*[^*]+\*', "", text)
    return re.sub(r"\s+", " ", re.sub(r"`[^`]*`", "", text))


@pytest.mark.parametrize("path", [*DOCUMENTS, DOCS / "alert-rules.yml", ROOT / ".env.example"], ids=lambda p: p.name)
def test_no_page_uses_old_idiom(path: Path) -> None:
    assert [found.group() for found in OLD_IDIOM.finditer(prose(path))] == []


def test_no_api_document_uses_old_idiom() -> None:
    routes = Litestar(route_handlers=handlers_in(API), openapi_config=None).routes
    texts = [*described(openapi.document(routes)), *described(asyncapi.document())]
    assert len(texts) > 300
    assert [text for text in texts if OLD_IDIOM.search(text)] == []


def test_no_error_uses_old_idiom() -> None:
    kinds = [*errors.CONFLICTS.values(), *errors.OTHERS.values()]
    texts = [found.message for found in vars(refusals).values() if isinstance(found, refusals.Refusal)]
    texts += [kind.title for kind in kinds]
    assert len(texts) > 60
    assert [text for text in texts if OLD_IDIOM.search(text)] == []


def test_no_help_of_a_command_uses_old_idiom() -> None:
    commands = [callboard, *callboard.commands.values()]
    texts = [
        text for command in commands for text in (command.help, *(p.to_info_dict().get("help") for p in command.params))
    ]
    assert len(texts) > 30
    assert [text for text in texts if text and OLD_IDIOM.search(text)] == []


def logged() -> Iterator[str]:
    """The names of the events that the server logs, and of its metrics with their help."""
    for path in (ROOT / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name in ("debug", "info", "warning", "error", "exception", "Counter", "Gauge", "Histogram"):
                    yield from (str(arg.value) for arg in node.args[:2] if isinstance(arg, ast.Constant))


def test_no_log_event_or_metric_uses_old_idiom() -> None:
    texts = list(logged())
    assert len(texts) > 100
    assert [text for text in texts if OLD_IDIOM.search(text) or OLD_NAMES.search(text)] == []


def words_of(path: Path) -> Iterator[str]:
    """The names, the texts and the comments of a module."""
    with tokenize.open(path) as source:
        for token in tokenize.generate_tokens(source.readline):
            if token.type in (tokenize.STRING, tokenize.COMMENT, tokenize.NAME):
                yield re.sub(r"\s+", " ", token.string)


@pytest.mark.parametrize("folder", ["server", "tests"])
def test_no_name_text_or_comment_uses_old_idiom(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in (ROOT / folder).rglob("*.py")
        if path != Path(__file__) and "node_modules" not in path.parts
        for text in words_of(path)
        if OLD_IDIOM.search(text) or OLD_NAMES.search(text)
    ]
    assert found == []


def test_the_list_of_old_idiom_finds_what_it_is_about() -> None:
    for text in ("A webhook and how it fares.", "This alert does not stand (any more): it is over.", "Whoever is told"):
        assert OLD_IDIOM.search(text)
    assert OLD_NAMES.search("sessions_not_looked_at")
    assert OLD_NAMES.search("node_stopped_in_a_hurry")


def test_every_fault_from_the_field_has_a_test_that_there_is() -> None:
    rows = [line.split(" | ") for line in (DOCS / "field.md").read_text().splitlines() if "::" in line]
    assert len(rows) >= 20
    for *_, shown in rows:
        [(file, test)] = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", shown)
        assert f"def {test}(" in (ROOT / file).read_text(), shown
