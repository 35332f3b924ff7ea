"""Commands that keep a database in order: its schema, its old rows, and what it depends on."""

import asyncio
import json

import click

from server.cli.options import write_logs_of
from server.setting_sources import load_settings


@click.command()
def migrate() -> None:
    """Update the database schema."""
    from server.process.startup import with_servers
    from server.store.migrate import migrate as bring_up_to_date

    with with_servers(load_settings(frozenset({"database"}))) as settings:
        asyncio.run(bring_up_to_date(settings.database_url))
    click.echo("The schema is up to date.", err=True)


@click.command()
@click.option("--fix", is_flag=True, help="Rebuild the index in Redis from PostgreSQL.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects: what, how, text, todo.")
def doctor(fix: bool, as_json: bool) -> None:
    """Check everything that Callboard depends on. Exit code 1 if there is a problem."""
    from msgspec.structs import asdict

    from server.doctor.examine import examine
    from server.process.startup import with_servers

    with with_servers(load_settings()) as settings:
        findings = asyncio.run(examine(settings, fix=fix))
    if as_json:
        click.echo(json.dumps([asdict(one) for one in findings], indent=2))
    else:
        for finding in findings:
            click.echo(finding.line)
    if any(finding.bad for finding in findings):
        raise click.exceptions.Exit(1)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only count the rows that would be deleted.")
def prune(dry_run: bool) -> None:
    """Delete rows past their retention (CALLBOARD_KEEP_…). A node does this every hour.

    The number of rows of each table is printed on standard output; `erased` is the number of deliveries whose personal
    data was erased.
    """
    from server.object_store.s3 import ObjectStore, ObjectStoreAway
    from server.process.startup import database, with_servers
    from server.store.engine import DATABASE_ERRORS
    from server.store.jobs.erasing import erase_due, would_be_erased
    from server.store.jobs.proof_objects import remove_due
    from server.store.jobs.retention import prune as remove
    from server.store.jobs.retention import would_go
    from server.store.query import DatabaseAway

    with with_servers(load_settings(frozenset({"database"}))) as settings:
        write_logs_of(settings.with_changes(log_level="error"))

        async def rows() -> tuple[dict[str, int], dict[str, str]]:
            async with database(settings) as db:
                if dry_run:
                    due = await would_be_erased(db.pool, settings)
                    return await would_go(db, settings) | {"erased": due}, {}
                run = await remove(db, settings)
                try:
                    erased = await erase_due(db, settings)
                    if settings.proofs_s3_bucket:
                        run.rows["proof_objects"] = await remove_due(db.pool, ObjectStore(settings))
                except (*DATABASE_ERRORS, DatabaseAway) as error:
                    return run.rows, run.failed | {"erased": repr(error)}
                except ObjectStoreAway as error:
                    return run.rows | {"erased": erased["deliveries"]}, run.failed | {"proof_objects": str(error)}
                return run.rows | {"erased": erased["deliveries"]}, run.failed

        gone, failed = asyncio.run(rows())
    for table, count in gone.items():
        click.echo(f"{count:12,}  {table}")
    if failed:
        steps = "; ".join(f"{step}: {reason}" for step, reason in failed.items())
        raise click.ClickException(f"some rows were not deleted: {steps}")
