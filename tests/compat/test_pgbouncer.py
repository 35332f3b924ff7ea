"""PgBouncer between Callboard and PostgreSQL: in session mode all works with its defaults; other modes are named."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest

from server.doctor.examine import examine
from server.settings import Settings
from server.store.migrate import MigrationFailed, migrate
from server.store.primary import POOLED
from tests.compat.programs import find, free_port, needs, running, until_open
from tests.conftest import running_node, short_folder
from tests.web.conftest import Site

pytestmark = needs("pgbouncer")


@asynccontextmanager
async def pooled(database_url: str, **options: str) -> AsyncIterator[str]:
    """The URL of the database through a PgBouncer with these options."""
    parts = urlsplit(database_url)
    host, port = parse_qs(parts.query)["host"][0], free_port()
    settings = {"listen_addr": "127.0.0.1", "listen_port": port, "auth_type": "any", "unix_socket_dir": "", **options}
    lines = ["[databases]", f"* = host={host} user={parts.username}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in settings.items()]
    with short_folder() as folder:
        (folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")
        program = find("pgbouncer")
        assert program is not None
        with running(folder, program, "pgbouncer.ini") as process:
            await until_open(port, process, folder)
            yield f"postgresql://{parts.username}@127.0.0.1:{port}{parts.path}"


async def test_session_mode_works_with_its_defaults(settings: Settings, empty_database_url: str) -> None:
    async with pooled(empty_database_url) as url:
        await migrate(url)
        behind = settings.with_changes(database_url=url)
        bad = [finding.text for finding in await examine(behind) if finding.bad]
        # The tests' own server runs without fsync, for speed.
        assert [text for text in bad if "fsync" not in text] == []
        async with running_node(behind) as node:
            site = Site(node)
            driver = await site.driver(at_work=True)
            _, assignment = await site.assignment(driver)
            assert (await driver.post(f"/assignments/{assignment['id']}/pickup")).status_code == 200
            assert (await site.nobody.get("/health/ready")).status_code == 200
            await site.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_other_modes_are_refused_with_what_to_set(settings: Settings, database_url: str, mode: str) -> None:
    async with pooled(database_url, pool_mode=mode) as url:
        findings = await examine(settings.with_changes(database_url=url))
        assert POOLED in [f"{finding.text}: {finding.todo}" for finding in findings if finding.bad]
        with pytest.raises(MigrationFailed, match="set pool_mode to session for this database"):
            await migrate(url)
