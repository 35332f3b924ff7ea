"""`callboard user add`: people who can log in."""

import io
from typing import Any

import asyncpg
import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from tests.cli.conftest import Call, Run, done
from tests.conftest import run_apart


class Terminal(io.StringIO):
    """Standard input with a person behind it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def add(call: Call, external: dict[str, str], database_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`add("alice", "--role", "ops", typed="secret")`: the command, with this on standard input."""

    def add_one(*arguments: str, typed: str = "", terminal: bool = False) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", Terminal() if terminal else io.StringIO(typed))
        return call("user", "add", *arguments, **external, database_url=database_url)

    return add_one


@pytest.fixture
def users(database_url: str) -> Any:
    """All users, as (name, password hash, role, active)."""

    async def read() -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(database_url)
        try:
            return [tuple(row) for row in await connection.fetch("SELECT name, password_hash, role, active FROM users")]
        finally:
            await connection.close()

    return lambda: run_apart(read)


def test_the_password_comes_from_standard_input(add: Any, users: Any) -> None:
    done = add("alice", "--role", "ops", "--password-stdin", typed="correct horse\n")
    assert done == (0, "", "alice can now log in, with the role ops.\n")
    [(name, hashed, role, active)] = users()
    assert (name, role, active) == ("alice", "ops", True)
    assert hashed.startswith("$argon2id$")
    assert PasswordHasher().verify(hashed, "correct horse")
    with pytest.raises(VerifyMismatchError):
        PasswordHasher().verify(hashed, "correct horse\n")


@pytest.mark.parametrize("command", [("user", "add", "Bob", "--role", "viewer"), ("prune", "--dry-run")])
def test_a_database_without_tables_is_said_with_what_to_do(
    call: Call, external: dict[str, str], empty_database_url: str, command: tuple[str, ...]
) -> None:
    code, out, err = call(*command, **external | {"database_url": empty_database_url})
    assert (code, out) == (1, "")
    assert err == "callboard: the database has no tables yet: run `callboard migrate` or `callboard serve` first\n"


async def test_without_a_terminal_a_password_is_made_up(run: Run, database: Any) -> None:
    code, out, err = await done(run("user", "add", "Bob", "--role", "viewer"))
    assert code == 0
    assert "Bob" in err
    assert out.count("\n") == 1
    assert PasswordHasher().verify(await database.fetchval("SELECT password_hash FROM users"), out.strip())


def test_at_a_terminal_it_is_asked_for_twice(add: Any, users: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append(options)
        return "correct horse"

    monkeypatch.setattr("click.prompt", prompt)
    assert add("alice", "--role", "ops", terminal=True)[0] == 0
    assert asked[0]["hide_input"]
    assert asked[0]["confirmation_prompt"]
    assert asked[0]["err"]
    assert PasswordHasher().verify(users()[0][1], "correct horse")


def test_a_name_is_taken_in_whatever_case(add: Any, users: Any) -> None:
    assert add("Alice", "--role", "admin")[0] == 0
    assert add("alice", "--role", "viewer") == (1, "", "callboard: the user name alice is taken\n")
    assert len(users()) == 1


@pytest.mark.parametrize(
    ("name", "typed", "expected"),
    [
        ("alice", "short\n", 1),
        (" ", "long enough\n", 1),
        ("al\tice", "long enough\n", 1),
        ("alice", "", 2),
        ("alice", "\n", 2),
    ],
)
def test_what_is_not_fit_is_refused(add: Any, users: Any, name: str, typed: str, expected: int) -> None:
    code, out, err = add(name, "--role", "ops", "--password-stdin", typed=typed)
    assert (code, out, err.count("\n")) == (expected, "", 1)
    assert users() == []


def test_a_role_is_needed(add: Any) -> None:
    assert add("alice")[0] == 2
    assert add("alice", "--role", "driver")[0] == 2
