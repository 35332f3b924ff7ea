"""Runs the tests that talk to servers most against other versions of them, over TLS, through PgBouncer and on other
Pythons: what is installed here of PostgreSQL (Debian's), Redis, PgBouncer, and the Pythons that are named; and the
oldest PostgreSQL and Redis that Callboard supports, from the registries of npm and Python (tests/compat/oldest.py).

    make compat                                     # the oldest servers, those of this machine, TLS to both, PgBouncer
    make compat ARGS="--python python3.13"          # and all of it again on another Python
    make compat ARGS="--only tls -- tests/store -k lock"
"""

import argparse
import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import asyncpg

from server.embedded.os_user import Account
from server.embedded.servers import DATABASE, Embedded
from server.paths import ROOT
from tests.compat.certificate import certificate
from tests.compat.oldest import oldest_programs
from tests.compat.programs import find, free_port, running
from tests.conftest import short_folder
from tests.waiting import until

NEAR: Final = ("tests/web/test_whole_job.py", "tests/web/test_deliveries.py", "tests/sockets/test_live_sockets.py")
"""What a node does, whatever the way to its servers is."""
TESTS: Final = ("tests/store", "tests/write", *NEAR)
"""With them, every statement and its plan."""
UUIDV7: Final = """
CREATE FUNCTION uuidv7(shift interval) RETURNS uuid LANGUAGE sql AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send((extract(epoch FROM clock_timestamp() + shift) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1), 'hex')::uuid
$$"""
"""What the tests use of PostgreSQL 18, for older ones; Callboard itself does not."""
WAYS: Final = ("oldest", "debian", "tls", "pgbouncer")


class Tried:
    """A line of the table: what was tried, and how it went."""

    def __init__(self, postgres: str, redis: str, way: str) -> None:
        self.postgres, self.redis, self.way = postgres, redis, way
        self.environment: dict[str, str] = {}

    def line(self, python: str, result: str) -> str:
        return f"| {self.postgres} | {self.redis} | {self.way} | {python} | {result} |"


def wait(condition: Callable[[], bool]) -> None:
    """Until it is so."""
    asyncio.run(until(condition))


async def execute(url: str, statement: str) -> None:
    """One statement."""
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


def programs_of_debian() -> tuple[Path, str]:
    """The folder of the oldest PostgreSQL's programs, and the Redis, that are installed here."""
    programs = min(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    redis = find("redis-server")
    assert redis is not None, "redis-server is not installed"
    return programs, redis


@contextmanager
def servers(programs: Path, redis: str, *, tls: bool) -> Iterator[Tried]:
    """These programs, on a new empty database."""
    account, port, redis_port = Account(), free_port() if tls else 5432, free_port()
    with short_folder() as folder:
        shutil.chown(folder, account.uid, account.gid)
        made = account.run([programs / "initdb", "-D", folder / "data", "-U", DATABASE, "-A", "trust", "-E", "UTF8",
                            "--locale=C.UTF-8", "--no-sync"])  # fmt: skip
        assert made.returncode == 0, made.stdout
        certificate(folder)
        options = {"port": port, "listen_addresses": "127.0.0.1" if tls else "", "unix_socket_directories": folder,
                   "max_connections": 200, "fsync": "off", "logging_collector": "off",
                   "ssl": "on" if tls else "off", "ssl_cert_file": folder / "board.pem",
                   "ssl_key_file": folder / "board.key"}  # fmt: skip
        command = [str(programs / "postgres"), "-D", str(folder / "data")]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        server = [redis, "--save", "", "--appendonly", "no", "--dir", str(folder)]
        server += ["--port", "0", "--tls-port", str(redis_port)] if tls else ["--port", str(redis_port)]
        server += ["--tls-cert-file", f"{folder}/board.pem", "--tls-key-file", f"{folder}/board.key"] if tls else []
        server += ["--tls-ca-cert-file", f"{folder}/board.pem", "--tls-auth-clients", "no"] if tls else []
        (folder / "board.key").chmod(0o600)
        with running(folder, *command), running(folder, *server, log="redis"):
            wait(lambda: "ready to accept connections" in (folder / "said").read_text())
            wait(lambda: "Ready to accept connections" in (folder / "redis").read_text())
            tried = Tried(version(programs / "postgres"), version(redis), "TLS to both" if tls else "Unix socket")
            local = f"postgresql://{DATABASE}@/%s?host={folder}&port={port}"
            asyncio.run(execute(local % "template1", UUIDV7))
            asyncio.run(execute(local % "postgres", f"CREATE DATABASE {DATABASE}"))
            over_tls = (
                f"postgresql://{DATABASE}@127.0.0.1:{port}/postgres?sslmode=verify-full&sslrootcert={folder}/board.pem"
            )
            ca = f"?ssl_ca_certs={folder}/board.pem" if tls else ""
            tried.environment = {
                "TEST_POSTGRES_URL": over_tls if tls else local % "postgres",
                "TEST_POSTGRES_LOG": str(folder / "said"),
                "TEST_REDIS_URL": f"redis{'s' if tls else ''}://127.0.0.1:{redis_port}/0{ca}",
            }
            yield tried


@contextmanager
def pgbouncer() -> Iterator[Tried]:
    """PostgreSQL and Valkey of the Python packages, and PgBouncer in session mode with its defaults."""
    program, port = find("pgbouncer"), free_port()
    assert program is not None, "pgbouncer is not installed"
    with short_folder() as folder, Embedded(folder / "data", durable=False) as embedded, ExitStack() as stack:
        bouncer = stack.enter_context(short_folder())
        host = embedded._postgres_socket.parent
        (bouncer / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={host} user={DATABASE}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nauth_type = any\nunix_socket_dir =\nmax_client_conn = 400\n"
            # The tests' own, for a role that nobody can leave (tests/database_roles.py).
            "ignore_startup_parameters = role\n"
        )
        stack.enter_context(running(bouncer, program, "pgbouncer.ini"))
        wait(lambda: "listening on" in (bouncer / "said").read_text())
        tried = Tried("PostgreSQL 18 (package)", "Valkey 9 (package)", f"{version(program)}, session mode")
        tried.environment = {
            "TEST_POSTGRES_URL": f"postgresql://{DATABASE}@127.0.0.1:{port}/postgres",
            "TEST_POSTGRES_LOG": str(folder / "data" / "postgres.log"),
            "TEST_REDIS_URL": embedded.redis_url,
        }
        yield tried


def version(program: Path | str) -> str:
    """The name and version of a program, as it says them."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"v=([\d.]+)|([\d]+\.[\d.]+)", said)
    name = {"postgres": "PostgreSQL", "redis-server": "Redis", "pgbouncer": "PgBouncer"}[Path(program).name]
    return f"{name} {(found[1] or found[2]) if found else '?'}"


def python_of(name: str) -> str:
    """A Python with the dependencies of the tests, in a separate environment."""
    folder = ROOT / ".venv" / f"compat-{Path(name).name}"
    if not (folder / "bin" / "pytest").exists():
        subprocess.run([name, "-m", "venv", folder], check=True)
        pip: list[str | Path] = [
            folder / "bin" / "python",
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "install",
        ]
        subprocess.run([*pip, "-c", ROOT / "constraints.txt", "-e", f"{ROOT}[dev]"], check=True)
    return str(folder / "bin" / "python")


def run(python: str, tried: Tried, tests: list[str]) -> tuple[str, bool]:
    """Run the tests; the last line of pytest, and whether all passed."""
    command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | tried.environment, stdout=subprocess.PIPE, text=True, check=False
    )
    last = done.stdout.strip().rpartition("\n")[2]
    if done.returncode:
        sys.stdout.write(done.stdout)
    return re.sub(r" in [\d.]+s.*", "", last), done.returncode == 0


def main() -> int:
    """Print the table."""
    arguments = argparse.ArgumentParser(prog="make compat", description=__doc__)
    arguments.add_argument("--only", choices=WAYS, action="append")
    arguments.add_argument("--python", action="append", default=[], help="another Python to try all of it on")
    arguments.add_argument("tests", nargs="*")
    chosen = arguments.parse_args()
    ways = {
        "oldest": lambda: servers(*oldest_programs(), tls=False),
        "debian": lambda: servers(*programs_of_debian(), tls=False),
        "tls": lambda: servers(*programs_of_debian(), tls=True),
        "pgbouncer": pgbouncer,
    }
    lines, good = [], True
    for python in [sys.executable, *(python_of(name) for name in chosen.python)]:
        said = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        for way in chosen.only or WAYS:
            with ways[way]() as tried:
                result, passed = run(
                    python, tried, chosen.tests or list(NEAR if way in ("tls", "pgbouncer") else TESTS)
                )
            good = good and passed
            lines.append(tried.line(said, result))
            print(lines[-1], flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
