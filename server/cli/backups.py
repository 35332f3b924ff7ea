"""Commands for backups."""

import asyncio
from pathlib import Path

import click

from server.cli.options import NEW_FILE, OLD_FILE
from server.embedded.secret import replace_secret
from server.setting_sources import load_settings


@click.command()
@click.argument("file", type=NEW_FILE)
def backup(file: Path) -> None:
    """Write the database, the photos and the secret to FILE, readable by its owner only. Nodes may run meanwhile.

    An existing FILE is replaced once the new one is complete.
    """
    from server.backups.backup import make_backup
    from server.process.startup import with_servers

    if not file.absolute().parent.is_dir():
        raise click.UsageError(f"there is no folder {file.absolute().parent}")
    with with_servers(load_settings(frozenset({"database"}))) as settings:
        made = asyncio.run(make_backup(settings, file.absolute()))
    click.echo(f"Backup written to {file}: {made.dump_bytes:,} bytes of the database", err=True)
    if made.photos:
        click.echo(f"{made.photos:,} photos of the bucket are in it.", err=True)
    if not made.has_secret:
        click.echo("Without the secret: CALLBOARD_SECRET is not set here. Keep it elsewhere.", err=True)


@click.command()
@click.argument("file", type=OLD_FILE)
@click.option("--replace", is_flag=True, help="Replace a database that is not empty. It is kept under another name.")
def restore(file: Path, replace: bool) -> None:
    """Restore the database, the photos and the secret from FILE. Stop all nodes first.

    Refused: while nodes run, for a file of a newer release, for a damaged file, and without --replace for a database
    that is not empty. Then nothing is changed.
    """
    from server.backups.restore import restore_backup
    from server.process.startup import with_servers

    given = load_settings(frozenset({"database"}))
    with with_servers(given) as settings:
        done = asyncio.run(restore_backup(settings, file.absolute(), replace=replace))
        old = None
        if done.secret and given.embedded and not given.secret:
            old = replace_secret(given.data, done.secret)
    click.echo(f"Restored the backup of {done.created_at}, made by release {done.version}.", err=True)
    if done.kept is not None:
        click.echo(f"The old database is kept as {done.kept}; drop it when you no longer need it.", err=True)
        if old is not None:
            click.echo(f"The old secret is kept in {old}.", err=True)
    for name in done.dropped:
        click.echo(f"Dropped {name}, which a restore left that did not end.", err=True)
    if done.secret and given.secret not in ("", done.secret):
        text = "The backup has another secret than CALLBOARD_SECRET: its tokens and links are not valid here."
        click.echo(f"{text} Read it with: unzip -p {file} secret", err=True)
