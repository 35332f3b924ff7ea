"""The file of a backup: a zip file with a manifest, the dump of the database, the secret, and photos of a bucket.

Its parts are stored as they are: the dump is compressed already. A file that was cut off has no directory at its end,
and each part has a checksum, so damage is found before anything is changed.
"""

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from errno import EINVAL
from pathlib import Path
from typing import IO, Final

import msgspec
from msgspec import Struct

FORMAT: Final = 1
MANIFEST: Final = "callboard.json"
DUMP: Final = "database.dump"
SECRET: Final = "secret"  # noqa: S105 - the name of a part
PROOFS: Final = "proofs/"
MODE: Final = 0o600
CHUNK_BYTES: Final = 1 << 20
MANIFEST_LIMIT_BYTES: Final = 1 << 20
SECRET_LIMIT_BYTES: Final = 1 << 16


class BackupRefused(Exception):
    """A backup or a restore that was not made; the text is one line."""


class Manifest(Struct, frozen=True, rename="camel"):
    """What a backup is: the release that made it, when, the migrations of its schema, and the version of PostgreSQL."""

    format: int
    version: str
    created_at: str
    migrations: list[str]
    server_version: int


@contextmanager
def new_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A new file, readable by its owner only, that gets its name when it is complete. Raises BackupRefused."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with suppress(FileNotFoundError):
            draft.unlink()
        with os.fdopen(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, MODE), "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
                yield archive
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        _keep_name(path.parent)
    except OSError as error:
        raise BackupRefused(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            draft.unlink()


def _keep_name(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_part(archive: zipfile.ZipFile, name: str, content: IO[bytes]) -> int:
    """Copy a stream to its end into a part; its bytes."""
    written = 0
    with archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as part:
        while chunk := content.read(CHUNK_BYTES):
            written += part.write(chunk)
    return written


@contextmanager
def read_archive(path: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """A backup that is complete and undamaged, with its manifest. Raises BackupRefused."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive, _checked(path, archive)
    except zipfile.BadZipFile:
        raise BackupRefused(
            f"{path} is no complete backup: the file was cut off, damaged, or is something else"
        ) from None
    except OSError as error:
        if error.errno == EINVAL:  # the directory of the file leads out of it
            raise BackupRefused(f"{path} is no complete backup: its beginning is missing") from None
        raise BackupRefused(f"cannot read {path}: {error.strerror or error}") from None


def _checked(path: Path, archive: zipfile.ZipFile) -> Manifest:
    names = archive.namelist()
    if MANIFEST not in names or DUMP not in names or len(set(names)) != len(names):
        raise BackupRefused(f"{path} is not a backup of Callboard")
    damaged = archive.testzip()
    if damaged is not None:
        raise BackupRefused(f"{path} is damaged: {damaged} in it cannot be read, or its checksum is wrong")
    try:
        manifest = msgspec.json.decode(small_part(archive, MANIFEST, MANIFEST_LIMIT_BYTES), type=Manifest)
    except msgspec.MsgspecError:
        raise BackupRefused(f"{path} is not a backup of Callboard") from None
    if manifest.format > FORMAT:
        raise BackupRefused(f"{path} was made by a newer release ({manifest.version}): update Callboard first")
    return manifest


def small_part(archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    """The content of a small part. Raises BackupRefused if it is larger than the limit."""
    if archive.getinfo(name).file_size > limit:
        raise BackupRefused(f"{name} in the backup is too large")
    return archive.read(name)
