"""`callboard backup` and `callboard restore`: a destroyed database comes back whole, and nothing else is lost."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from server.backups.archive import PROOFS
from server.backups.programs import _environment, _target, dumping
from server.embedded.secret import replace_secret
from server.embedded.servers import Embedded
from server.store.backups import name_in, with_name
from tests.cli.conftest import Call, Run, done
from tests.conftest import SECRET, Servers, StartNode, short_folder
from tests.database_roles import grants
from tests.s3 import S3Server
from tests.test_images import an_image
from tests.web.conftest import Site
from tests.web.test_refusals import TABLES

OF_RUNNING_NODES = {"nodes", "leases"}
NO_STORE = dict.fromkeys(("proofs_s3_endpoint", "proofs_s3_access_key", "proofs_s3_secret_key", "proofs_s3_prefix"), "")


class Installation:
    """The commands with the test's database, each in a thread, and a look at the database."""

    def __init__(self, call: Call, url: str, settings: dict[str, str]) -> None:
        self._call = call
        self.url = url
        self.name = name_in(url)
        self.settings = settings

    async def run(self, *arguments: str, **settings: str) -> tuple[int, str]:
        """A command: its exit code, and what it said on standard error."""
        given = {"database_url": self.url} | self.settings | settings
        code, _, err = await asyncio.to_thread(self._call, *arguments, **given)
        return code, err

    async def done(self, *arguments: str, **settings: str) -> str:
        code, err = await self.run(*arguments, **settings)
        assert code == 0, err
        return err

    async def refused(self, *arguments: str, **settings: str) -> str:
        """The one line that says why."""
        code, err = await self.run(*arguments, **settings)
        assert code == 1, err
        (line,) = err.splitlines()
        assert line.startswith("callboard: ")
        return line

    async def ask(self, statement: str, *, name: str | None = None) -> Any:
        connection = await asyncpg.connect(with_name(self.url, name or self.name))
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def databases(self) -> set[str]:
        """Those that were made from this one."""
        found = await self.ask("SELECT array_agg(datname::text) FROM pg_database", name="postgres")
        return {name for name in found if name == self.name or name.startswith((f"{self.name}_r", f"{self.name}_b"))}

    async def content(self) -> dict[str, list[str]]:
        """Every row of every table, apart from what belongs to running nodes."""
        connection = await asyncpg.connect(self.url)
        try:
            tables = [row[0] for row in await connection.fetch(TABLES)]
            return {
                table: sorted(row[0] for row in await connection.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t'))
                for table in tables
                if table not in OF_RUNNING_NODES
            }
        finally:
            await connection.close()


@pytest.fixture
async def installation(
    call: Call, database_url: str, external: dict[str, str], servers: Servers
) -> AsyncIterator[Installation]:
    there = Installation(call, database_url, external)
    yield there
    for name in await there.databases() - {there.name}:
        await there.ask(f'DROP DATABASE "{name}" WITH (FORCE)', name="postgres")


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_a_destroyed_database_comes_back_whole_and_orders_go_on(
    installation: Installation, node: StartNode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(tmp_path / "callboard.backup")
    s3 = S3Server(tmp_path / "s3")
    await s3.start()
    site = Site(await node(**s3.settings))
    dan = await site.driver("Dan", at_work=True)
    delivery, assignment = await site.assignment(dan, proofRequired=["pin"], pin="4711")
    assert (await site.ada.post("/admin/api-keys", json={"name": "roma"})).status_code == 201
    path = f"/drivers/{dan.id}/assignments/{assignment['id']}/proofs?kind=photo"

    async def keep_a_photo() -> None:
        sent = await dan.client.post(path, content=an_image(), headers={"Content-Type": "image/jpeg"})
        assert sent.status_code == 201, sent.text

    await keep_a_photo()
    assert "CALLBOARD_PROOFS_S3_BUCKET" in await installation.refused("backup", file)
    installation.settings |= s3.settings
    loop = asyncio.get_running_loop()

    def with_a_photo(*args: Any) -> Any:
        asyncio.run_coroutine_threadsafe(keep_a_photo(), loop).result(30)
        return dumping(*args)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("server.backups.backup.dumping", with_a_photo)
        await installation.done("backup", file)
    photos = s3.objects()
    assert len(photos) == 2
    with zipfile.ZipFile(file) as archive:
        kept = [name for name in archive.namelist() if name.startswith(PROOFS)]
    assert len(kept) == 2, "also the one that was kept while the backup was made"
    assert mode_of(Path(file)) == 0o600
    assert "nodes are running" in await installation.refused("restore", file)
    assert "nodes are running" in await installation.refused("restore", file, "--replace")
    await site.close()
    await site.node.stop()
    await installation.done("backup", file)
    assert not any(name.startswith(".callboard") for name in names_in(tmp_path)), "no draft is left"
    before = await installation.content()
    assert len(before["deliveries"]) == 1
    await installation.ask(f'DROP DATABASE "{installation.name}" WITH (FORCE)', name="postgres")
    s3.forget()
    assert "photos of a bucket" in await installation.refused("restore", file, proofs_s3_bucket="", **NO_STORE)
    assert "Restored the backup" in await installation.done("restore", file)
    assert await installation.content() == before
    assert s3.objects() == photos
    assert await installation.databases() == {installation.name}
    for grant in grants():  # the rights of the tests' roles, which no backup has
        await installation.ask(grant)
    again = Site(await node(**s3.settings))
    done = await again.client("driver", dan.id).post(
        f"/drivers/{dan.id}/assignments/{assignment['id']}/complete", json={"proof": {"pin": "4711"}}
    )
    assert done.status_code == 200, done.text
    assert (await again.shop.get(f"/deliveries/{delivery['id']}")).json()["status"] == "DELIVERED"
    await again.close()
    s3.stop()


async def test_data_is_replaced_only_on_request_and_kept(installation: Installation, tmp_path: Path) -> None:
    file = str(tmp_path / "callboard.backup")
    await installation.done("backup", file)
    await installation.ask(
        "INSERT INTO insight_days (time_zone, since, until) SELECT 'UTC', now() - interval '1 day', now()"
    )
    assert "is not empty: to replace it, add --replace" in await installation.refused("restore", file)
    killed = f"{installation.name}_restore_20260101_120000_123456"
    busy = await asyncpg.connect(with_name(installation.url, "postgres"))
    assert await busy.fetchval("SELECT pg_try_advisory_lock(hashtext($1))", f"callboard restore {installation.name}")
    assert "another restore" in await installation.refused("restore", file, "--replace")
    await busy.close()
    held = await asyncpg.connect(installation.url)
    assert "somebody is connected" in await installation.refused("restore", file, "--replace")
    await held.close()
    assert await installation.databases() == {installation.name}, "what was made for it is gone"
    assert await installation.ask("SELECT count(*) FROM insight_days") == 1
    await installation.ask(f'CREATE DATABASE "{killed}"', name="postgres")
    said = await installation.done("restore", file, "--replace", secret="another-secret-of-32-bytes-at-least!")
    assert "The backup has another secret than CALLBOARD_SECRET" in said
    assert f"Dropped {killed}, which a restore left that did not end." in said
    assert await installation.ask("SELECT count(*) FROM insight_days") == 0
    (kept,) = await installation.databases() - {installation.name}
    assert f"The old database is kept as {kept}" in said
    assert await installation.ask("SELECT count(*) FROM insight_days", name=kept) == 1


async def test_a_newer_backup_is_refused(installation: Installation, tmp_path: Path) -> None:
    file = str(tmp_path / "callboard.backup")
    newer = "INSERT INTO migration (name, app_name, ran_on) SELECT '2099-01-01T00:00:00:000001', 'callboard', now()"
    await installation.ask(newer)
    await installation.done("backup", file)
    said = await installation.refused("restore", file, "--replace")
    assert "was made by a newer release" in said
    hidden = str(tmp_path / "hidden.backup")
    rewrite(Path(file), Path(hidden), {"callboard.json": without_the_newest})
    assert "was made by a newer release" in await installation.refused("restore", hidden, "--replace")
    later = {"callboard.json": lambda text: text.replace(b'"format": 1', b'"format": 2')}
    rewrite(Path(file), Path(hidden), later)
    assert "was made by a newer release" in await installation.refused("restore", hidden, "--replace")
    assert await installation.databases() == {installation.name}


def without_the_newest(text: bytes) -> bytes:
    """The manifest as if that migration ran after the look at them, and before the dump."""
    begin = text.index(b',\n    "2099-01-01')
    return text[:begin] + text[text.index(b"\n", begin + 2) :]


def rewrite(file: Path, to: Path, changes: dict[str, Any]) -> None:
    """A backup with other parts; a change to None leaves one out."""
    written = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(written, "w") as new:
        for name in old.namelist():
            change = changes.get(name, lambda content: content)
            if change is not None:
                new.writestr(name, change(old.read(name)))
    to.write_bytes(written.getvalue())


async def test_what_is_no_whole_backup_is_refused(installation: Installation, tmp_path: Path) -> None:
    file, wrong = tmp_path / "callboard.backup", tmp_path / "wrong"
    await installation.done("backup", str(file))
    whole = file.read_bytes()
    for content in (b"", b"no backup at all", whole[: len(whole) // 2], whole[:-1], whole[100:]):
        wrong.write_bytes(content)
        assert "is no complete backup" in await installation.refused("restore", str(wrong), "--replace")
    middle = whole.index(b"PGDMP") + 5_000
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    wrong.write_bytes(flipped)
    assert "damaged: database.dump" in await installation.refused("restore", str(wrong), "--replace")
    for changes in ({"database.dump": None}, {"callboard.json": None}, {"callboard.json": lambda _: b"{}"}):
        rewrite(file, wrong, changes)
        assert "is not a backup of Callboard" in await installation.refused("restore", str(wrong), "--replace")
    rewrite(file, wrong, {"database.dump": lambda content: content[:-3_000]})
    assert "pg_restore failed" in await installation.refused("restore", str(wrong), "--replace")
    assert await installation.databases() == {installation.name}
    code, err = await installation.run("restore", str(tmp_path / "nothing"))
    assert (code, len(err.splitlines())) == (2, 1)
    code, err = await installation.run("backup", str(tmp_path / "no-folder" / "x"))
    assert (code, err) == (2, f"callboard: there is no folder {tmp_path / 'no-folder'}\n")


async def test_without_a_schema_there_is_nothing_to_back_up(
    call: Call, empty_database_url: str, external: dict[str, str], tmp_path: Path
) -> None:
    empty = Installation(call, empty_database_url, external)
    file = tmp_path / "callboard.backup"
    file.write_bytes(b"the one from before")
    assert "there is nothing to back up" in await empty.refused("backup", str(file))
    gone = Installation(call, with_name(empty_database_url, "nowhere"), external)
    assert "cannot reach PostgreSQL" in await gone.refused("backup", str(file))
    assert file.read_bytes() == b"the one from before"


async def test_our_own_servers_get_the_database_and_the_secret(
    installation: Installation, run_bare: Run, tmp_path: Path
) -> None:
    """Into an empty data folder, as on a new machine; its servers are then those of `serve`."""
    file = str(tmp_path / "callboard.backup")
    await installation.done("backup", file)
    with short_folder() as folder:
        data = folder / "data"
        code, _, err = await done(run_bare("restore", file, data=str(data)))
        assert code == 0, err
        assert (data / "secret").read_text().strip() == SECRET
        assert (data / "secret").stat().st_mode & 0o777 == 0o600
        other = "another-secret-of-32-bytes-at-least!"
        code, _, err = await done(run_bare("restore", file, "--replace", data=str(data), secret=other))
        assert (code, "The backup has another secret than CALLBOARD_SECRET" in err) == (0, True), err
        assert (data / "secret").read_text().strip() == SECRET
        with Embedded(data, durable=False) as embedded:
            connection = await asyncpg.connect(embedded.database_url)
            assert await connection.fetchval("SELECT count(*) FROM policy") == 1
            await connection.close()


def test_the_secret_before_is_kept(tmp_path: Path) -> None:
    assert replace_secret(tmp_path, "first") is None
    assert replace_secret(tmp_path, "first") is None
    kept = replace_secret(tmp_path, "second")
    assert kept is not None
    again = replace_secret(tmp_path, "third")
    assert again is not None
    found = [path.read_text() for path in (kept, again, tmp_path / "secret")]
    assert found == ["first\n", "second\n", "third\n"], "a second restore keeps what the first one kept"


def test_no_argument_of_a_program_has_the_password() -> None:
    url = "postgres://ann:p%2Fw@db1:5432,db2/board?sslmode=require"
    assert _target(url) == ["--dbname=postgresql://ann@db1:5432,db2/board?sslmode=require"]
    assert _environment(url)["PGPASSWORD"] == "p/w"
    other = "postgresql:///board?host=%2Frun&password=word"
    assert _target(other) == ["--dbname=postgresql:///board?host=%2Frun"]
    assert _environment(other)["PGPASSWORD"] == "word"
