"""`callboard token`: a token on standard output and nothing else."""

import time
from pathlib import Path

import jwt
import pytest

from tests.cli.conftest import Call, Run, done
from tests.conftest import SECRET

DRIVER = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize("role", ["service", "viewer", "ops", "admin"])
def test_a_token_names_its_role(call: Call, role: str) -> None:
    code, out, err = call("token", "--role", role, secret=SECRET)
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert claims["role"] == claims["sub"] == role
    assert claims["exp"] - time.time() == pytest.approx(12 * 3600, abs=60)


def test_a_drivers_token_names_the_driver(call: Call) -> None:
    code, out, _ = call("token", "--role", "driver", "--subject", DRIVER, "--hours", "0.5", secret=SECRET)
    assert code == 0
    claims = jwt.decode(out.strip(), SECRET, algorithms=["HS256"])
    assert (claims["sub"], claims["role"]) == (DRIVER, "driver")
    assert claims["exp"] - claims["iat"] == 1800


@pytest.mark.parametrize(
    "arguments",
    [
        ("--role", "driver"),
        ("--role", "driver", "--subject", "Dan"),
        ("--role", "king"),
        ("--role", "ops", "--hours", "0"),
        ("--role", "ops", "--subject", ""),
        (),
    ],
)
def test_what_no_token_can_be_made_of(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call("token", *arguments, secret=SECRET)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1


def test_the_embedded_secret_is_made_once_and_used(call: Call, tmp_path: Path) -> None:
    data = tmp_path / "data"
    _, first, _ = call("token", "--role", "ops", data=str(data))
    secret = (data / "secret").read_text().strip()
    assert (data / "secret").stat().st_mode & 0o077 == 0
    _, second, _ = call("token", "--role", "ops", data=str(data))
    for token in (first, second):
        assert jwt.decode(token.strip(), secret, algorithms=["HS256"])["role"] == "ops"


def test_with_urls_the_secret_must_be_given(call: Call) -> None:
    code, out, err = call("token", "--role", "ops", database_url="postgresql://h/x", redis_url="redis://h")
    assert (code, out) == (2, "")
    assert "CALLBOARD_SECRET: missing" in err


async def test_a_process_prints_the_token_and_nothing_else(run_bare: Run) -> None:
    code, out, err = await done(run_bare("token", "--role", "service", secret=SECRET, log_level="debug"))
    assert (code, err) == (0, "")
    assert jwt.decode(out.removesuffix("\n"), SECRET, algorithms=["HS256"])["role"] == "service"
