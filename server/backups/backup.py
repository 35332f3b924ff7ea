"""`callboard backup`: the database, photos and the secret into one file. Nodes may run meanwhile."""

import asyncio
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from server import __version__
from server.backups.archive import (
    DUMP,
    FORMAT,
    MANIFEST,
    PROOFS,
    SECRET,
    BackupRefused,
    Manifest,
    new_archive,
    write_part,
)
from server.backups.programs import dumping
from server.contract.views import instant
from server.object_store.s3 import ObjectStore, ObjectStoreAway
from server.settings import Settings
from server.store.backups import ran_migrations, stored_objects
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.primary import one_line


class MadeBackup(Struct, frozen=True):
    """The bytes of the dump, the photos from the bucket, and whether the secret is in the file."""

    dump_bytes: int
    photos: int
    has_secret: bool


async def make_backup(settings: Settings, path: Path) -> MadeBackup:
    """Write the file. Raises BackupRefused or DatabaseUnreachable; then there is no file, or the one from before."""
    url = settings.database_url
    try:
        connection = await Database(url).get_new_connection()
    except DATABASE_ERRORS as error:
        raise DatabaseUnreachable.of(url, error) from error
    try:
        return await _make(settings, connection, path)
    except ObjectStoreAway as error:
        raise BackupRefused(f"the photos cannot be read: {error}") from None
    except DATABASE_ERRORS as error:
        raise BackupRefused(f"{place(url)}: {one_line(error)}") from None
    finally:
        await connection.close(timeout=2)


async def _make(settings: Settings, connection: Connection, path: Path) -> MadeBackup:
    migrations = await ran_migrations(connection)
    if not migrations:
        raise BackupRefused(f"{place(settings.database_url)} has no schema of Callboard: there is nothing to back up")
    await _photo_keys(settings, connection)  # to refuse before the dump, which can take long
    server_version = connection.get_server_version().major
    manifest = Manifest(FORMAT, __version__, instant(datetime.now(UTC)), migrations, server_version)
    with new_archive(path) as archive:
        archive.writestr(zipfile.ZipInfo(MANIFEST), msgspec.json.format(msgspec.json.encode(manifest)))
        written = await asyncio.to_thread(_dump, archive, settings.database_url, server_version)
        if settings.secret:
            archive.writestr(zipfile.ZipInfo(SECRET), settings.secret + "\n")
        # Read after the dump, so that every photo in it is there; more than those do no harm.
        photos = await _copy_photos(settings, archive, await _photo_keys(settings, connection))
    return MadeBackup(written, photos, bool(settings.secret))


async def _photo_keys(settings: Settings, connection: Connection) -> list[str]:
    """The keys of the photos in the S3-compatible store. Raises BackupRefused if that is not set."""
    keys = await stored_objects(connection)
    if keys and not settings.proofs_s3_bucket:
        raise BackupRefused("photos are in an S3-compatible store that is not set: set CALLBOARD_PROOFS_S3_BUCKET")
    return keys


def _dump(archive: zipfile.ZipFile, url: str, server_version: int) -> int:
    with dumping(url, server_version) as content:
        return write_part(archive, DUMP, content)


async def _copy_photos(settings: Settings, archive: zipfile.ZipFile, keys: list[str]) -> int:
    if not keys:
        return 0
    store, copied = ObjectStore(settings), 0
    for key in keys:
        content = await store.get(key)
        if content is not None:  # one that was erased meanwhile is in no backup
            archive.writestr(zipfile.ZipInfo(PROOFS + key), content)
            copied += 1
    return copied
