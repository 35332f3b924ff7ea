"""Commands for tokens and users."""

import asyncio
import sys
from typing import TYPE_CHECKING, Final, cast

import click

from server.cli.options import secret
from server.setting_sources import load_settings

if TYPE_CHECKING:
    from server.store.users import PersonRole
    from server.web.http.caller import Role

TOKEN_ROLES: Final = ("driver", "service", "viewer", "ops", "admin")
PERSON_ROLES: Final = ("viewer", "ops", "admin")
LONGEST_TOKEN_HOURS: Final = 24 * 366


@click.command()
@click.option("--role", type=click.Choice(TOKEN_ROLES), required=True)
@click.option("--subject", help="The subject; for a driver, their id.  [default: the role's name]")
@click.option("--hours", type=click.FloatRange(0, LONGEST_TOKEN_HOURS, min_open=True), default=12, show_default=True)
def token(role: str, subject: str | None, hours: float) -> None:
    """Print a token on standard output."""
    from server.ids import is_id
    from server.web.access.tokens import is_subject, mint_token

    if role == "driver" and (subject is None or not is_id(subject.lower())):
        raise click.UsageError("--subject: a driver's token needs the driver's id")
    subject = role if subject is None else subject
    if not is_subject(subject):
        raise click.UsageError("--subject: must be 1 to 200 characters")
    made, _ = mint_token(secret(), cast("Role", role), subject, hours * 3600)
    click.echo(made)


@click.group()
def user() -> None:
    """Manage the users of the board."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=click.Choice(PERSON_ROLES), required=True)
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def user_add(name: str, role: str, password_stdin: bool) -> None:
    """Add a user. Without --password-stdin, asks for a password, or prints a new one on standard output."""
    from server.process.startup import database, with_servers
    from server.web.access.users import add_person, random_password

    password = _password(password_stdin)
    generated = "" if password else random_password()
    with with_servers(load_settings(frozenset({"database"}))) as settings:

        async def add() -> None:
            async with database(settings) as db:
                await add_person(db.pool, name, cast("PersonRole", role), password or generated)

        asyncio.run(add())
    click.echo(f"{name.strip()} can now log in, with the role {role}.", err=True)
    if generated:
        click.echo(generated)


def _password(from_stdin: bool) -> str:
    """The password, or an empty text to generate one."""
    if from_stdin:
        line = sys.stdin.readline().rstrip("\r\n")
        if not line:
            raise click.UsageError("--password-stdin: no password on standard input")
        return line
    if not sys.stdin.isatty():
        return ""
    given: str = click.prompt(
        "Password (leave empty to generate one)",
        default="",
        show_default=False,
        hide_input=True,
        confirmation_prompt=True,
        err=True,
    )
    return given
