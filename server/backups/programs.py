"""PostgreSQL's own pg_dump and pg_restore: those that come with the embedded server, or newer ones of this machine."""

import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from server.backups.archive import CHUNK_BYTES, BackupRefused
from server.embedded.programs import EmbeddedError, postgres_programs

VERSION_SECONDS: Final = 20
ERROR_BYTES: Final = 4_000


def program(name: str, server_version: int) -> Path:
    """The program for a server of this major version, which may not be newer than the program. Raises BackupRefused."""
    candidates = []
    with suppress(EmbeddedError):
        candidates.append(postgres_programs() / name)
    found = shutil.which(name)
    if found is not None:
        candidates.append(Path(found))
    for candidate in candidates:
        if _major(candidate) >= server_version:
            return candidate
    raise BackupRefused(
        f"the database is PostgreSQL {server_version}, and there is no {name} of that version or a newer one:"
        f" install postgresql-client-{server_version}"
    )


def _major(candidate: Path) -> int:
    try:
        said = subprocess.run(  # noqa: S603
            [candidate, "--version"], capture_output=True, text=True, check=False, timeout=VERSION_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return 0
    version = re.search(r"\) (\d+)", said.stdout)
    return int(version.group(1)) if version is not None else 0


@contextmanager
def dumping(url: str, server_version: int) -> Iterator[IO[bytes]]:
    """The dump of a database as a stream, to be read to its end. Raises BackupRefused if pg_dump fails."""
    command: list[Path | str] = [program("pg_dump", server_version), "--format=custom", "--no-owner", "--no-privileges"]
    with _running([*command, *_target(url)], url, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout


def load_dump(archive: zipfile.ZipFile, part: str, url: str, version: int) -> None:
    """Load the dump in a part into an empty database; `version` is that of the newer of the two servers. Raises
    BackupRefused.
    """
    # Comments of extensions belong to a superuser, who need not be the owner of the database.
    command: list[Path | str] = [
        program("pg_restore", version),
        "--no-owner",
        "--no-privileges",
        "--no-comments",
        "--exit-on-error",
    ]
    with _running([*command, *_target(url)], url, stdin=subprocess.PIPE) as process, archive.open(part) as content:
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it ended early, and says why
            while chunk := content.read(CHUNK_BYTES):
                process.stdin.write(chunk)
        with suppress(BrokenPipeError):
            process.stdin.close()


@contextmanager
def _running(
    command: list[Path | str], url: str, *, stdin: int = subprocess.DEVNULL, stdout: int = subprocess.DEVNULL
) -> Iterator["subprocess.Popen[bytes]"]:
    said = bytearray()
    process = subprocess.Popen(  # noqa: S603
        command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=_environment(url)
    )
    assert process.stderr is not None
    errors = process.stderr

    def listen() -> None:
        while chunk := errors.read(CHUNK_BYTES):
            said.extend(chunk)
            del said[:-ERROR_BYTES]

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield process
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        listener.join()
        for stream in (process.stdin, process.stdout, errors):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
    if code:
        lines = [line.strip() for line in said.decode(errors="replace").splitlines() if line.strip()]
        telling = [line for line in lines if "error" in line.lower()] or lines or [f"exit code {code}"]
        raise BackupRefused(f"{Path(command[0]).name} failed: {telling[0].partition('error: ')[2] or telling[0]}")


def _target(url: str) -> list[str]:
    """The option that names the database, without the password: other users can see arguments of processes."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != "password"])
    netloc = f"{user.partition(':')[0]}{at}{hosts}"
    return [f"--dbname=postgresql://{netloc}{parts.path}{'?' if query else ''}{query}"]


def _environment(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    password = unquote(parts.netloc.rpartition("@")[0].partition(":")[2]) or dict(parse_qsl(parts.query)).get(
        "password"
    )
    own = {"PGPASSWORD": password} if password else {}
    return {**os.environ, "PGTARGETSESSIONATTRS": "read-write", **own}
