"""`callboard restore`: a backup into a new database beside the old one, which then takes its place."""

import asyncio
import os
import re
import zipfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
from msgspec import Struct

from server.backups.archive import (
    DUMP,
    PROOFS,
    SECRET,
    SECRET_LIMIT_BYTES,
    BackupRefused,
    Manifest,
    read_archive,
    small_part,
)
from server.backups.programs import load_dump
from server.object_store.s3 import ObjectStore, ObjectStoreAway
from server.settings import Settings
from server.store.backups import (
    alone,
    count_tables,
    create_database,
    database_exists,
    databases_like,
    drop_database,
    live_nodes,
    maintenance,
    media_type_of,
    name_in,
    ran_migrations,
    settle,
    switch_databases,
    with_name,
)
from server.store.connections import Connection
from server.store.engine import DATABASE_ERRORS, Database, DatabaseUnreachable, place
from server.store.migrate import MigrationFailed, known_migrations, migrate
from server.store.primary import one_line

NAME_LIMIT: Final = 63
"""The longest name of a database, in bytes."""
DRAFT: Final = "_restore_"
STAMP_LENGTH: Final = len("20260201_120000_000000")


class Restored(Struct, frozen=True):
    """When the backup was made and by which release; the name under which the old database is kept, if it held
    anything; the secret of the backup; and the databases that were dropped because an earlier restore did not end.
    """

    created_at: str
    version: str
    kept: str | None
    secret: str | None
    dropped: list[str]


async def restore_backup(settings: Settings, path: Path, *, replace: bool) -> Restored:
    """Restore the file. Raises BackupRefused or DatabaseUnreachable; then everything is as it was.

    1. Read the whole file: it must be complete, undamaged and of this release or an older one.
    2. Refuse if nodes run, or if there is data and nobody asked to `replace` it.
    3. Load the dump into a new database, run pending migrations, and put photos back into the bucket.
    4. If still no node runs, let the new database take the place of the old one, which is kept if it holds anything.
    """
    with read_archive(path) as (archive, manifest):
        _refuse_newer(path, manifest, manifest.migrations)
        url = settings.database_url
        try:
            control = await maintenance(url)
        except DATABASE_ERRORS as error:
            raise DatabaseUnreachable.of(url, error) from error
        try:
            return await _restore(settings, archive, manifest, control, path, replace=replace)
        except ObjectStoreAway as error:
            raise BackupRefused(f"the photos cannot be put back: {error}") from None
        except MigrationFailed as error:
            raise BackupRefused(str(error)) from None
        except asyncpg.InsufficientPrivilegeError:
            raise BackupRefused(
                f"{place(url)}: the user may not create databases: run `ALTER ROLE … CREATEDB` as a superuser"
            ) from None
        except asyncpg.ObjectInUseError:
            raise BackupRefused(f"{place(url)}: somebody is connected to the database: end that first") from None
        except DATABASE_ERRORS as error:
            raise BackupRefused(f"{place(url)}: {one_line(error)}") from None
        finally:
            await control.close(timeout=2)


async def _restore(
    settings: Settings,
    archive: zipfile.ZipFile,
    manifest: Manifest,
    control: Connection,
    path: Path,
    *,
    replace: bool,
) -> Restored:
    url = settings.database_url
    name = name_in(url)
    if not await alone(control, name):
        raise BackupRefused(f"another restore of {place(url)} runs: wait until it has ended")
    exists = await database_exists(control, name)
    tables = await _look(url) if exists else 0
    if tables and not replace:
        raise BackupRefused(
            f"{place(url)} is not empty: to replace it, add --replace (the old database is kept under another name)"
        )
    version = control.get_server_version().major
    if version < manifest.server_version:
        raise BackupRefused(
            f"the backup is of PostgreSQL {manifest.server_version}, but the server is PostgreSQL {version}: update it"
        )
    photos = [name for name in archive.namelist() if name.startswith(PROOFS)]
    if photos and not settings.proofs_s3_bucket:
        raise BackupRefused(f"the backup has {len(photos)} photos of a bucket: set CALLBOARD_PROOFS_S3_BUCKET")
    secret = _secret(archive)
    dropped = await _drop_drafts(control, name)
    stamp = datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
    draft, kept = _beside(name, f"{DRAFT}{stamp}"), _beside(name, f"_before_{stamp}")
    await create_database(control, draft)
    try:
        draft_url = with_name(url, draft)
        await asyncio.to_thread(load_dump, archive, DUMP, draft_url, version)
        await _finish(settings, archive, path, manifest, draft_url, photos)
        if exists:
            await _look(url)
        await switch_databases(control, name, kept if exists else None, draft)
    except BaseException:
        with suppress(*DATABASE_ERRORS):
            await drop_database(control, draft)
        raise
    if exists and not tables:
        await drop_database(control, kept)
    return Restored(manifest.created_at, manifest.version, kept if tables else None, secret, dropped)


async def _drop_drafts(control: Connection, name: str) -> list[str]:
    """Drop what restores that were killed left beside the database: the names."""
    beginning = _beside(name, DRAFT + "x" * STAMP_LENGTH).removesuffix("x" * STAMP_LENGTH)
    found = await databases_like(control, rf"^{re.escape(beginning)}[0-9_]{{15,{STAMP_LENGTH}}}$")
    for draft in found:
        await drop_database(control, draft)
    return found


async def _look(url: str) -> int:
    """How many tables there are. Raises BackupRefused if nodes run."""
    connection = await Database(url).get_new_connection()
    try:
        nodes = await live_nodes(connection)
        if nodes:
            raise BackupRefused(f"nodes are running on {place(url)} ({nodes}): stop all of them first")
        return await count_tables(connection)
    finally:
        await connection.close(timeout=2)


async def _finish(
    settings: Settings, archive: zipfile.ZipFile, path: Path, manifest: Manifest, url: str, photos: list[str]
) -> None:
    connection = await Database(url).get_new_connection()
    try:
        _refuse_newer(path, manifest, await ran_migrations(connection))
        await migrate(url)
        await settle(connection)
        if photos:
            store = ObjectStore(settings)
            for name in photos:
                key = name.removeprefix(PROOFS)
                media_type = await media_type_of(connection, key)
                if media_type is not None:
                    await store.put(key, archive.read(name), media_type)
    finally:
        await connection.close(timeout=2)


def _refuse_newer(path: Path, manifest: Manifest, migrations: list[str]) -> None:
    if not migrations:
        raise BackupRefused(f"{path} holds no schema of Callboard")
    if set(migrations) - known_migrations():
        raise BackupRefused(
            f"{path} was made by a newer release ({manifest.version}), with a schema that this one does not know:"
            " update Callboard first"
        )


def _secret(archive: zipfile.ZipFile) -> str | None:
    if SECRET not in archive.namelist():
        return None
    return small_part(archive, SECRET, SECRET_LIMIT_BYTES).decode(errors="replace").strip() or None


def _beside(name: str, suffix: str) -> str:
    room = NAME_LIMIT - len(suffix)
    return os.fsencode(name)[:room].decode(errors="ignore") + suffix
