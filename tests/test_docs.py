"""The documents for those who run it: every setting is told of, every rule and log line they name exists."""

import re
from itertools import chain
from pathlib import Path

import pytest

from server.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
DEPLOYMENT = (DOCS / "deployment.md").read_text()
RUNBOOKS = (DOCS / "runbooks.md").read_text()
HEADINGS = ["How you notice", "What still works", "What to do", "How you know it is over"]
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


def runbooks() -> dict[str, str]:
    """The pages by their titles."""
    parts = re.split(r"^## (.+)$", RUNBOOKS, flags=re.MULTILINE)
    return {title: text for title, text in zip(parts[1::2], parts[2::2], strict=True) if "\n### " in text}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = re.findall(r"^\| `(CALLBOARD_\w+)` \| (?:`(.*?)`)? ?\|", DEPLOYMENT, flags=re.MULTILINE)
    told = dict(rows)
    assert len(told) == len(rows)
    assert told.keys() == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        assert told[PREFIX + name.upper()].removeprefix("./") == default, name


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


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCS.glob("*.md"):
        for target, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", path.read_text()):
            found = path.parent / target if target else path
            assert found.exists(), f"{path.name}: {target}"
            if anchor:
                titles = re.findall(r"^#+ (.+)$", found.read_text(), flags=re.MULTILINE)
                slugs = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in slugs, f"{path.name}: {target}#{anchor}"
