"""`callboard doctor`: what it finds, in words, and its exit code."""

import asyncio
import json
import re
import resource
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
import redis.asyncio

from server.doctor.database import _clock
from server.doctor.examine import examine
from server.doctor.findings import Finding
from server.doctor.settings import check_phones
from server.doctor.time_service import check_time_service, kernel_state
from server.embedded.servers import Embedded
from server.ids import new_id
from server.settings import Settings
from server.store.engine import DatabaseUnreachable
from server.store.migrate import MigrationFailed, migrate
from tests.builders import CAKE, DAN, DORA, NODE
from tests.cli.conftest import Run, done
from tests.conftest import Servers, StartNode, short_folder
from tests.mail_server import mail_server
from tests.s3 import SECRET, S3Server

A_DRIVER = """
INSERT INTO drivers (id, name, zone, capacity, created_at, availability, last_availability_change,
                     session_id, session_node, expiries_in_a_row, stream_seq, active_count)
VALUES ($1, $2, 'default', 1, now(), 'available', now(), $3, $3, 0, 0, 0)
"""
A_PLACE = "INSERT INTO driver_positions (driver_id, lat, lon, at) VALUES ($1, 52.52, 13.405, now())"


def results(findings: list[Finding], what: str) -> list[tuple[str, str]]:
    """What was found about one thing."""
    assert all(finding.todo for finding in findings if finding.bad)
    return [
        (finding.how, f"{finding.text}: {finding.todo}" if finding.todo else finding.text)
        for finding in findings
        if finding.what == what
    ]


def only(findings: list[Finding], what: str) -> tuple[str, str]:
    """The one finding about it."""
    [finding] = results(findings, what)
    return finding


async def a_dispatchable_driver(database: Any, driver_id: str) -> None:
    await database.execute(A_DRIVER, driver_id, "Dan", CAKE)
    await database.execute(A_PLACE, driver_id)


@pytest.fixture
async def valkey(redis_url: str) -> Any:
    async with redis.asyncio.from_url(redis_url) as client:
        yield client


async def test_what_is_well_is_said_too(settings: Settings, database: Any) -> None:
    findings = await examine(settings)
    # The tests' own server runs without fsync, for speed.
    assert [finding.what for finding in findings if finding.bad] == ["database"]
    assert [what for how, what in results(findings, "database") if how == "bad" and "fsync" in what]
    assert only(findings, "schema") == ("ok", "up to date")
    assert only(findings, "secret")[0] == only(findings, "clock")[0] == "ok"
    assert results(findings, "redis")[0][0] == "ok"
    assert only(findings, "people")[0] == "note"


async def test_an_unmigrated_database(settings: Settings, empty_database_url: str) -> None:
    findings = await examine(settings.with_changes(database_url=empty_database_url))
    how, what = only(findings, "schema")
    assert how == "bad"
    assert "callboard migrate" in what
    assert results(findings, "index") == []


async def test_servers_out_of_reach(settings: Settings) -> None:
    findings = await examine(
        settings.with_changes(database_url="postgresql://u:hunter2@127.0.0.1:1/x", redis_url="redis://127.0.0.1:1")
    )
    assert only(findings, "database")[0] == only(findings, "redis")[0] == "bad"
    assert "hunter2" not in str(findings)


async def test_a_secret_that_is_easy_to_guess(settings: Settings) -> None:
    findings = await examine(settings.with_changes(secret="secret" * 8, database_url="postgresql://127.0.0.1:1/x"))
    assert only(findings, "secret")[0] == "bad"


async def test_few_open_files_are_worth_a_word(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 1024))
    findings = await examine(settings.with_changes(database_url="postgresql://127.0.0.1:1/x"))
    how, what = only(findings, "files")
    assert how == "note"
    assert "ulimit -n" in what


async def test_an_index_that_differs_is_found_and_rebuilt(
    settings: Settings, database: Any, valkey: Any, redis_prefix: str
) -> None:
    await a_dispatchable_driver(database, DAN)
    key = f"{redis_prefix}drivers:geo:default"
    await valkey.geoadd(key, (13.4, 52.5, DORA))
    how, what = only(await examine(settings), "index")
    assert how == "bad"
    assert what.startswith("2 drivers")
    assert "--fix" in what
    assert await valkey.zrange(key, 0, -1) == [DORA.encode()]

    free = "drivers free for an offer now: 1, the same as in PostgreSQL"
    assert only(await examine(settings, fix=True), "index") == ("ok", f"rebuilt: {free}")
    assert await valkey.zrange(key, 0, -1) == [DAN.encode()]
    assert await valkey.hgetall(f"{redis_prefix}drivers:status") == {DAN.encode(): b"available"}
    assert only(await examine(settings), "index") == ("ok", free)
    await database.execute("UPDATE drivers SET availability = 'on_break'")
    free = "drivers free for an offer now: 0, the same as in PostgreSQL"
    assert only(await examine(settings, fix=True), "index") == ("ok", f"rebuilt: {free}"), "connected, and not free"


async def test_nodes_and_the_lease(settings: Settings, database: Any) -> None:
    assert only(await examine(settings), "nodes") == ("note", "no node is running")
    await database.execute(
        "INSERT INTO nodes (id, name, started_at, expires_at) VALUES ($1, 'here', now(), now() + interval '1 min'), "
        "($2, 'there', now(), now() - interval '1 min')",
        NODE,
        CAKE,
    )
    findings = await examine(settings)
    assert results(findings, "nodes")[0] == ("ok", "1 running, 0 drivers connected")
    assert results(findings, "nodes")[1][0] == "note"
    how, text = only(findings, "lease")
    assert (how, text.startswith("nodes are running, but no node holds it: nothing is dispatched")) == ("bad", True)
    await database.execute("UPDATE leases SET holder = $1, expires_at = now() + interval '1 min'", NODE)
    assert only(await examine(settings), "lease")[0] == "ok"


async def test_clocks_that_differ(settings: Settings, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.store.primary._CLOCK", "SELECT clock_timestamp() + interval '5000 s', true")
    how, what = only(await examine(settings), "clock")
    assert how == "note"
    seconds = re.search(r"([\d.]+) s behind", what)
    assert seconds is not None
    assert float(seconds[1]) == pytest.approx(5000, abs=100)  # the machine may pause while it asks
    assert [_clock(ahead).how for ahead in (-1.5, -0.5, 0.5, 1.5)] == ["note", "ok", "ok", "note"]


async def test_a_clock_that_nothing_keeps_right(settings: Settings, database: Any) -> None:
    assert check_time_service(None) == []
    assert [(one.what, one.how) for one in check_time_service(0)] == [("time sync", "ok")]
    assert [(one.what, one.how) for one in check_time_service(5)] == [("time sync", "note")]
    found = [one for one in await examine(settings) if one.what == "time sync"]
    assert found == check_time_service(kernel_state())


async def test_a_database_in_another_encoding_is_refused_by_name(settings: Settings, servers: Servers) -> None:
    name = f"latin_{new_id().replace('-', '')}"
    connection = await asyncpg.connect(servers.postgres_url)
    create = f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    await connection.execute(create)
    try:
        latin = settings.with_changes(database_url=servers.database(name))
        text = "the database has the encoding LATIN1: create it with ENCODING 'UTF8'"
        assert ("bad", text) in results(await examine(latin), "database")
        with pytest.raises(MigrationFailed, match=text):
            await migrate(latin.database_url)
    finally:
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await connection.close()


async def test_the_doctor_names_the_rights_that_are_missing(settings: Settings, database: Any) -> None:
    """Not that migrations are pending."""
    role = f"reader_{new_id().replace('-', '')}"
    await database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")
    try:
        url = urlsplit(settings.database_url)
        host = url.netloc.rpartition("@")[2]
        reader = urlunsplit(url._replace(netloc=f"{role}:hunter2@{host}"))
        findings = await examine(settings.with_changes(database_url=reader))
    finally:
        await database.execute(f"DROP ROLE {role}")
    assert any("permission denied for table" in text for how, text in results(findings, "database") if how == "bad")
    assert results(findings, "schema") == []
    assert "hunter2" not in str(findings)


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (
            ["ALTER ROLE {role} SET search_path = ''"],
            'no schema of the search_path ("") exists: ALTER ROLE {role} RESET search_path',
        ),
        (
            ["REVOKE CREATE ON SCHEMA public FROM public"],
            "the role may not create tables: GRANT CREATE ON SCHEMA public TO {role}",
        ),
        (["REVOKE CONNECT ON DATABASE {database} FROM public"], "GRANT CONNECT ON DATABASE"),
    ],
)
async def test_who_cannot_migrate_learns_why(
    settings: Settings, empty_database_url: str, statements: list[str], text: str
) -> None:
    """`callboard migrate` says it too, and nobody is sent from one command to the other."""
    role, url = f"guest_{new_id().replace('-', '')}", urlsplit(empty_database_url)
    names = {"role": role, "database": url.path.removeprefix("/")}
    guest = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(f"CREATE ROLE {role} LOGIN")
    try:
        for statement in statements:
            await connection.execute(statement.format(**names))
        findings = await examine(settings.with_changes(database_url=guest))
        found = "\n".join(text for how, text in results(findings, "database") if how == "bad")
        assert text.format(**names) in found
        assert results(findings, "schema") == []
        with pytest.raises((MigrationFailed, DatabaseUnreachable)):
            await migrate(guest)
    finally:
        await connection.execute(f"DROP ROLE {role}")
        await connection.close()


RIGHTS = "allow all commands but the dangerous ones"


async def test_a_redis_that_is_of_no_use(settings: Settings, database: Any) -> None:
    cases = [
        ("bad", RIGHTS, ["ACL SETUSER default -subscribe"], ["ACL SETUSER default +subscribe"]),
        ("bad", RIGHTS, ["ACL SETUSER default -hset"], ["ACL SETUSER default +hset"]),
        ("bad", RIGHTS, ["ACL SETUSER default resetchannels"], ["ACL SETUSER default allchannels"]),
        (
            "note",
            "allkeys-lru lets it delete keys of Callboard",
            ["CONFIG SET maxmemory 100mb", "CONFIG SET maxmemory-policy allkeys-lru"],
            ["CONFIG SET maxmemory-policy noeviction"],
        ),
        ("bad", "takes no writes: its memory is full", ["CONFIG SET maxmemory 1"], ["CONFIG SET maxmemory 0"]),
        (
            "bad",
            "start the replicas that min-replicas-to-write asks for",
            ["CONFIG SET min-replicas-to-write 1"],
            ["CONFIG SET min-replicas-to-write 0"],
        ),
        ("bad", "takes no writes: it is a replica: set CALLBOARD_REDIS_URL", ["REPLICAOF 127.0.0.1 1"], []),
    ]
    with short_folder() as folder:
        embedded = Embedded(folder, durable=False)
        await asyncio.to_thread(embedded.start)
        try:
            of_it = settings.with_changes(redis_url=embedded.redis_url)
            async with redis.asyncio.from_url(embedded.redis_url) as valkey:
                for how, text, before, after in cases:
                    for command in before:
                        await valkey.execute_command(*command.split())  # type: ignore[no-untyped-call]
                    findings = results(await examine(of_it), "redis")
                    assert [one for one in findings if one[0] == how and text in one[1]], (text, findings)
                    for command in after:
                        await valkey.execute_command(*command.split())  # type: ignore[no-untyped-call]
        finally:
            await asyncio.to_thread(embedded.stop)


async def test_a_public_url_is_called(settings: Settings, node: StartNode) -> None:
    here = await node(public_url="http://127.0.0.1:1/dispatch")
    assert only(await examine(here.settings), "address")[0] == "note"
    there = here.settings.with_changes(public_url=f"{here.url}/dispatch")
    assert only(await examine(there), "address") == ("ok", f"{there.public_url} leads to Callboard")
    elsewhere = here.settings.with_changes(public_url=f"{here.url}/elsewhere")
    how, text = only(await examine(elsewhere), "address")
    assert (how, "let the proxy pass on all paths from /elsewhere on as they are" in text) == ("bad", True)


async def test_an_address_that_phones_cannot_reach_and_a_time_zone_that_nobody_set(
    settings: Settings, database: Any
) -> None:
    findings = await examine(settings.with_changes(public_url="http://localhost:8000"))
    how, text = only(findings, "phones")
    assert (how, "leads each phone to itself" in text) == ("bad", True)
    plain = only(await examine(settings.with_changes(public_url="http://board.example")), "phones")
    assert (plain[0], "without https" in plain[1]) == ("note", True)
    for near in ("http://192.168.1.7:8000", "https://10.0.0.5", "https://board.local", "https://board"):
        [found] = check_phones(settings.with_changes(public_url=near))
        assert (found.how, "not over mobile data" in found.text) == ("note", True), near
    for far in ("https://1.1.1.1", "https://board.example", "https://[2606:4700::1111]"):
        assert check_phones(settings.with_changes(public_url=far)) == []
    how, text = only(await examine(settings), "address")
    assert (how, text.startswith("no public address is set")) == ("note", True)
    assert only(findings, "time zone")[0] == "note"
    set_one = await examine(settings.with_changes(time_zone="Europe/Berlin"))
    assert only(set_one, "time zone") == ("ok", "times and days are those of Europe/Berlin")


async def test_the_server_of_mails_is_asked(settings: Settings, database: Any) -> None:
    sender = {"mail_from": "board@fleet.example", "report_recipients": "boss@fleet.example"}
    async with mail_server() as mails:
        there = settings.with_changes(smtp_url=mails.url(), **sender)
        assert only(await examine(there), "mail")[1].startswith("127.0.0.1 takes mails, but no report is sent")
        ready = there.with_changes(report_at="06:00")
        assert only(await examine(ready), "mail") == ("ok", "127.0.0.1 takes mails")
        tls = settings.with_changes(smtp_url=mails.url(query=""), **sender)
        how, text = only(await examine(tls), "mail")
        assert (how, "STARTTLS" in text) == ("bad", True)
    assert only(await examine(ready), "mail")[0] == "bad", "it is gone"


async def test_a_secret_with_quotes_is_worth_a_word(settings: Settings, database: Any) -> None:
    quoted = settings.with_changes(secret=f'"{settings.secret}"')
    assert only(await examine(quoted), "secret")[0] == "note"


@pytest.mark.parametrize(
    ("change", "todo"),
    [
        ({"path": "/nowhere"}, "create the database, or correct its name in CALLBOARD_DATABASE_URL"),
        ({"netloc": "nobody@"}, "correct user and password in CALLBOARD_DATABASE_URL"),
    ],
)
async def test_what_to_do_about_a_wrong_url(settings: Settings, change: dict[str, str], todo: str) -> None:
    url = urlunsplit(urlsplit(settings.database_url)._replace(**change))
    findings = await examine(settings.with_changes(database_url=url))
    assert [finding.todo for finding in findings if finding.what == "database"] == [todo]


async def test_too_few_connections(settings: Settings, servers: Servers, database: Any) -> None:
    """A node needs more than the pool's."""
    role = f"few_{new_id().replace('-', '')}"
    await database.execute(f"CREATE ROLE {role} LOGIN SUPERUSER CONNECTION LIMIT 2")
    await database.execute(f"ALTER ROLE {role} NOSUPERUSER")
    await database.execute(f"GRANT pg_read_all_data TO {role}")
    try:
        url = urlsplit(settings.database_url)
        few = urlunsplit(url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}"))
        findings = await examine(settings.with_changes(database_url=few))
    finally:
        await database.execute(f"REVOKE pg_read_all_data FROM {role}")
        await database.execute(f"DROP ROLE {role}")
    assert any(text.startswith("only 2 connections") for how, text in results(findings, "database") if how == "bad")


async def test_a_store_of_photos(settings: Settings, database: Any, tmp_path: Path) -> None:
    assert results(await examine(settings), "proofs") == []
    await database.execute("INSERT INTO proof_objects (key) VALUES ('a/b')")
    unset = ("bad", "1 are in an S3-compatible store that is not set: set CALLBOARD_PROOFS_S3_BUCKET")
    assert only(await examine(settings), "proofs") == unset
    s3 = S3Server(tmp_path / "s3")
    stored = settings.with_changes(**s3.settings)
    await s3.start()
    try:
        how, text = only(await examine(stored), "proofs")
        assert (how, text.startswith(f"1 in bucket proofs at {s3.url}, which stores, returns and deletes")) == (
            "ok",
            True,
        )
        assert not [path for path in (tmp_path / "s3").rglob("*") if path.is_file()]
        await database.execute("INSERT INTO proof_objects (key, remove_at) VALUES ('old', now() - interval '2 hours')")
        assert [how for how, _ in results(await examine(stored), "proofs")] == ["ok", "bad"]
        for change, why in (
            ({"proofs_s3_secret_key": "another"}, "403 Forbidden, SignatureDoesNotMatch"),
            ({"proofs_s3_bucket": "elsewhere"}, "404 Not Found, NoSuchBucket"),
        ):
            how, text = only(await examine(stored.with_changes(**change)), "proofs")
            assert (how, f"cannot be used: {why}: check the bucket" in text) == ("bad", True), text
            assert SECRET not in text
    finally:
        s3.stop()
    how, text = only(await examine(stored), "proofs")
    assert (how, "error sending request" in text, "Debug" in text) == ("bad", True, False), text


async def test_as_a_process_it_exits_with_1_when_something_is_wrong(run: Run) -> None:
    code, out, err = await done(run("doctor", redis_url="redis://127.0.0.1:1/0"))
    assert (code, err) == (1, "")
    assert "bad   redis      cannot be reached" in out
    assert "ok    schema     up to date" in out
    code, out, err = await done(run("doctor", "--json", redis_url="redis://127.0.0.1:1/0"))
    assert (code, err) == (1, "")
    found = {one["what"]: one["how"] for one in json.loads(out) if set(one) == {"what", "how", "text", "todo"}}
    assert (found["redis"], found["schema"]) == ("bad", "ok")


async def test_with_servers_of_its_own_all_is_well(run_bare: Run) -> None:
    with short_folder() as folder:
        data = str(folder / "data")
        assert (await done(run_bare("migrate", data=data)))[0] == 0
        code, out, err = await done(run_bare("doctor", data=data))
    assert (code, "running as root" in err or err == "") == (0, True), out + err
    assert "bad" not in out
