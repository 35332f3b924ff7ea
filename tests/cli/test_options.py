"""Bad options and settings: exit code 2, a line for each on standard error, nothing on standard output."""

from pathlib import Path

from tests.cli.conftest import Call, Run, done


def test_without_a_command_it_shows_what_there_is(call: Call) -> None:
    code, out, err = call()
    assert code == 2
    assert out == ""
    assert "serve" in err
    assert "doctor" in err


def test_help_and_version_go_to_standard_output(call: Call) -> None:
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert "callboard" in out
    code, out, _ = call("--version")
    assert code == 0
    assert out.startswith("callboard ")


def test_a_bad_option_is_one_line(call: Call) -> None:
    for arguments in (("serve", "--port", "abc"), ("serve", "--workers", "0"), ("serve", "--bogus"), ("bogus",)):
        code, out, err = call(*arguments)
        assert (code, out) == (2, ""), arguments
        assert err.startswith("callboard: "), arguments
        assert err.count("\n") == 1, err


def test_every_bad_setting_has_a_line_and_no_value_is_shown(call: Call) -> None:
    code, out, err = call("serve", secret="hunter2", log_level="loud", database_url="mysql://u:pw@h/x")
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert len(lines) == 3
    for name in ("CALLBOARD_SECRET", "CALLBOARD_LOG_LEVEL", "CALLBOARD_DATABASE_URL"):
        assert sum(name in line for line in lines) == 1
    assert "hunter2" not in err
    assert "pw" not in err


def test_one_url_without_the_other_is_a_mistake(call: Call) -> None:
    code, _, err = call("serve", database_url="postgresql://h/x")
    assert code == 2
    assert "CALLBOARD_REDIS_URL: missing" in err
    assert "CALLBOARD_SECRET: missing" in err


async def test_a_process_ends_with_the_same_code(run_bare: Run) -> None:
    assert (await done(run_bare("serve", "--port", "abc")))[0] == 2
    code, out, err = await done(run_bare("serve", "--host", "no such host"))
    assert (code, out) == (2, "")
    assert err.startswith("callboard: --host: ")


def test_simulate_says_what_it_needs(call: Call, tmp_path: Path) -> None:
    for arguments, shown in (
        ((), "--url: missing"),
        (("--url", "localhost:8000"), "--url: must be a URL"),
        (("--day", str(tmp_path / "nowhere")), "--day"),
        (("--day", str(tmp_path)), "--day: "),
    ):
        code, out, err = call("simulate", *arguments)
        assert (code, out) == (2, ""), arguments
        assert shown in err
        assert err.count("\n") == 1
