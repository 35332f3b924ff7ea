"""Settings: where they come from, what wins, and how every mistake is named at once."""

import os
import subprocess
import sys
import threading
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from server.embedded.secret import kept_secret
from server.setting_sources import BadSettings, load_settings, misspelled
from server.settings import ESCAPED, Settings

SECRET = "0123456789abcdef0123456789abcdef"
NOBODY = 65534
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
URLS = {"CALLBOARD_DATABASE_URL": "postgresql://h/x", "CALLBOARD_REDIS_URL": "redis://h"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to read files from, and no setting in the environment."""
    for name in [name for name in os.environ if name.startswith("CALLBOARD_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def mistakes(**options: Any) -> list[str]:
    with pytest.raises(BadSettings) as bad:
        load_settings(**options)
    return bad.value.mistakes


def test_nothing_set_means_servers_of_our_own(folder: Path) -> None:
    settings = load_settings()
    assert settings.embedded
    assert settings.data == folder / "var"
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)


def test_options_win_over_the_environment_over_dotenv_over_toml(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "callboard.toml").write_text('host = "toml"\nport = 1\nlog_level = "error"\nbatch_limit = 7\n')
    (folder / ".env").write_text("CALLBOARD_HOST=dotenv\nCALLBOARD_PORT=2\nCALLBOARD_LOG_LEVEL=warning\nOTHER=1\n")
    monkeypatch.setenv("CALLBOARD_HOST", "environment")
    monkeypatch.setenv("CALLBOARD_PORT", "3")
    settings = load_settings(host="option", port=None)
    assert settings.host == "option"
    assert settings.port == 3
    assert settings.log_level == "warning"
    assert settings.batch_limit == 7


def test_what_is_usual_counts_where_nothing_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"log_level": "warning"}
    assert load_settings(usual=usual).log_level == "warning"
    assert load_settings(usual=usual, log_level="error").log_level == "error"
    monkeypatch.setenv("CALLBOARD_LOG_LEVEL", "info")
    assert load_settings(usual=usual).log_level == "info"
    monkeypatch.delenv("CALLBOARD_LOG_LEVEL")
    (folder / "callboard.toml").write_text('log_level = "debug"\n')
    assert load_settings(usual=usual).log_level == "debug"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_PORT", "")
    assert load_settings().port == 8000


def test_levels_and_formats_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_LOG_LEVEL", " INFO")
    monkeypatch.setenv("CALLBOARD_LOG_FORMAT", "Json")
    settings = load_settings()
    assert (settings.log_level, settings.log_format) == ("info", "json")


def test_every_mistake_is_named_by_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_LOG_FORMAT", "xml")
    monkeypatch.setenv("CALLBOARD_SECRET", "short")
    lines = mistakes(port=70000)
    assert [line.split(":")[0] for line in sorted(lines)] == ["--port", "CALLBOARD_LOG_FORMAT", "CALLBOARD_SECRET"]
    assert not any("short" in line.split(":", 1)[1].replace("at least", "") for line in lines if "SECRET" in line)


def test_a_name_that_does_not_exist_in_the_file(folder: Path) -> None:
    (folder / "callboard.toml").write_text("prot = 8000\n")
    assert mistakes() == ["callboard.toml: prot: unknown setting"]


def test_a_file_that_is_no_toml(folder: Path) -> None:
    (folder / "callboard.toml").write_text("port 8000\n")
    [line] = mistakes()
    assert line.startswith("callboard.toml: ")


def test_urls_of_another_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", "sqlite:///x")
    monkeypatch.setenv("CALLBOARD_REDIS_URL", "memcached://h")
    assert sorted(mistakes()) == [
        "CALLBOARD_DATABASE_URL: must be a URL such as postgresql://user:password@host:5432/name",
        "CALLBOARD_REDIS_URL: must be a URL such as redis://host:6379/0",
    ]


@pytest.mark.parametrize("password", ["pa/ss", "pa?ss", "pa#ss", "12#ss", "12/ss", "p[ss", "pa/s@s", "p:a/ss"])
def test_a_password_that_breaks_its_url_is_named_without_a_part_of_it(
    password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CALLBOARD_SECRET", SECRET)
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", f"postgresql://fleet:{password}@db:5432/name")
    monkeypatch.setenv("CALLBOARD_REDIS_URL", f"redis://:{password}@cache:6379/0")
    assert sorted(mistakes()) == [
        f"CALLBOARD_DATABASE_URL: must be a URL such as postgresql://user:password@host:5432/name; {ESCAPED}",
        f"CALLBOARD_REDIS_URL: must be a URL such as redis://host:6379/0; {ESCAPED}",
    ]
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", f"postgresql://fleet:{quote(password, '')}@db:5432/name")
    monkeypatch.setenv("CALLBOARD_REDIS_URL", f"redis://:{quote(password, '')}@cache:6379/0")
    monkeypatch.setenv("CALLBOARD_MAP_TILES", "https://tiles.example/{z}/{x}/{y}@2x.png")
    assert load_settings().redis_url == f"redis://:{quote(password, '')}@cache:6379/0"


@pytest.mark.parametrize("end", ["\n", "\r\n", " ", "\t\n"])
def test_a_newline_at_the_end_is_no_part_of_a_setting(folder: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    values = {
        "SECRET": SECRET,
        "SECRET_ACCEPTED": SECRET[::-1],
        "REDIS_URL": "redis://h",
        "METRICS_TOKEN": "m",
        "PORT": "1",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"CALLBOARD_{name}", value + end)
    (folder / "callboard.toml").write_text(f'database_url = "postgresql://h/x{end.encode("unicode_escape").decode()}"')
    found = load_settings()
    assert (found.secret, found.secret_accepted, found.metrics_token) == (SECRET, SECRET[::-1], "m")
    assert (found.redis_url, found.database_url, found.port) == ("redis://h", "postgresql://h/x", 1)
    monkeypatch.setenv("CALLBOARD_SECRET", SECRET[:-1] + end)
    assert [line.split(":")[0] for line in mistakes()] == ["CALLBOARD_SECRET"], "blanks are no bytes of a secret"


def test_a_file_of_notepad_is_read_from_its_first_line(folder: Path) -> None:
    (folder / ".env").write_bytes(b"\xef\xbb\xbfCALLBOARD_PORT=1\r\nCALLBOARD_HOST=[::1]\r\n")
    assert (load_settings().port, load_settings().host) == (1, "::1")


def test_a_toml_file_of_notepad_is_read_too(folder: Path) -> None:
    (folder / "callboard.toml").write_bytes(b"\xef\xbb\xbfport = 1\r\n")
    assert load_settings().port == 1


def test_a_variable_that_is_nearly_a_setting_is_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what an orchestrator adds."""
    for name in ("DATABSE_URL", "SERVICE_HOST", "SERVICE_PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "SECRET"):
        monkeypatch.setenv(f"CALLBOARD_{name}", "x")
    (folder / ".env").write_text("CALLBOARD_TIMEZONE=Europe/Berlin\n")
    assert misspelled() == {
        "CALLBOARD_DATABSE_URL": "CALLBOARD_DATABASE_URL",
        "CALLBOARD_TIMEZONE": "CALLBOARD_TIME_ZONE",
    }


@pytest.mark.parametrize("name", [".env", "callboard.toml"])
def test_a_file_that_may_not_be_read_is_named(folder: Path, name: str) -> None:
    folder.chmod(0o755)
    (folder / name).write_text("")
    (folder / name).chmod(0)
    user = os.geteuid()
    try:
        if user == 0:
            os.seteuid(NOBODY)
        assert mistakes() == [f"{name}: cannot be read: Permission denied"]
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("name", [".env", "callboard.toml"])
def test_a_file_in_another_encoding_is_named(folder: Path, name: str) -> None:
    (folder / name).write_text("PORT=1\n", encoding="utf-16")
    assert mistakes() == [f"{name}: must be UTF-8: save it again as UTF-8"]


@pytest.mark.parametrize(
    ("url", "mistake"),
    [
        ("redis://h:6379?sock_timeout=1&x=", "has options that Callboard does not know: sock_timeout, x"),
        (
            "redis://h:6379/main",
            "must be a URL such as redis://host:6379/0; after the port comes the number of a database",
        ),
    ],
)
def test_a_redis_url_says_nothing_that_is_ignored(monkeypatch: pytest.MonkeyPatch, url: str, mistake: str) -> None:
    monkeypatch.setenv("CALLBOARD_SECRET", SECRET)
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", "postgresql://h/name")
    monkeypatch.setenv("CALLBOARD_REDIS_URL", url)
    assert mistakes() == [f"CALLBOARD_REDIS_URL: {mistake}"]
    for good in ("redis://h", "redis://h/", "rediss://h:1/3?ssl_ca_certs=/ca.pem", "unix:///run/r.sock?db=1"):
        monkeypatch.setenv("CALLBOARD_REDIS_URL", good)
        assert load_settings().redis_url == good


@pytest.mark.parametrize(
    "url",
    ["https://h/a b", "https://h/a?b", "https://h/#a", "https://u@h/", "https://h/../a", "https://h//a", "https://h/ä"],
)
def test_a_public_url_that_cannot_work_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CALLBOARD_PUBLIC_URL", url)
    assert [line.partition(":")[0] for line in mistakes()] == ["CALLBOARD_PUBLIC_URL"]


@pytest.mark.parametrize(
    ("url", "root"), [("https://bücher.example", ""), ("https://h:1/", ""), ("http://[::1]:1/a/b.c/", "/a/b.c")]
)
def test_the_path_of_the_public_url_is_the_root(monkeypatch: pytest.MonkeyPatch, url: str, root: str) -> None:
    monkeypatch.setenv("CALLBOARD_PUBLIC_URL", url)
    assert load_settings().root == root


def test_two_at_signs_are_a_password_that_breaks_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """What reads the URL would take the first, and call another host."""
    monkeypatch.setenv("CALLBOARD_SECRET", SECRET)
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", "postgresql://fleet:hunter@2@db/name")
    monkeypatch.setenv("CALLBOARD_REDIS_URL", "redis://h")
    assert [ESCAPED in line and "hunter" not in line for line in mistakes()] == [True]


@pytest.mark.parametrize(
    "address",
    ["tcp://10.0.0.1:8000", "TCP://10.0.0.1:8000", "udp://10.0.0.1:53", "tcp://[fd00::1]:8000", " sctp://h:1"],
)
def test_the_address_of_a_service_is_no_port(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("CALLBOARD_PORT", address)
    monkeypatch.setenv("CALLBOARD_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("CALLBOARD_PORT_8000_TCP", "tcp://10.0.0.1:8000")
    assert load_settings().port == 8000
    assert "CALLBOARD_PORT: ignored: Kubernetes sets it" in capsys.readouterr().err
    assert load_settings(port=9000).port == 9000
    monkeypatch.setenv("CALLBOARD_PORT", "http://h")
    assert [line.split(":")[0] for line in mistakes()] == ["CALLBOARD_PORT"]


WITHOUT_HOME = """
import pwd
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
from server.cli import main
main(["migrate"])
"""


def test_a_user_without_a_home_runs_commands(database_url: str, folder: Path) -> None:
    """As user 10001 of a container."""
    environment = {"PATH": os.defpath, "PYTHONPATH": str(PROJECT.parent), "CALLBOARD_DATABASE_URL": database_url}
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_HOME], env=environment, capture_output=True, text=True, check=False, cwd=folder
    )
    assert (run.returncode, run.stderr) == (0, "The schema is up to date.\n")


def test_who_may_not_enter_the_working_folder_runs_commands(folder: Path) -> None:
    """As the service's user may not, after `setpriv` in the home of root."""
    locked = folder / "root"
    locked.mkdir()
    plain = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    callboard = [sys.executable, "-P", "-m", "server.cli", "token", "--role", "service"]
    command = [*plain, "sh", "-c", 'chmod 0 . && exec "$@"', "sh", *callboard]
    environment = {"PATH": os.defpath, "PYTHONPATH": str(PROJECT.parent), "CALLBOARD_SECRET": "s" * 32}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=locked)
    locked.chmod(0o700)
    assert (run.returncode, run.stderr) == (0, "")


def test_both_urls_need_a_secret_and_one_needs_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_REDIS_URL", "redis://h")
    assert [line.split(":")[0] for line in mistakes()] == ["CALLBOARD_DATABASE_URL", "CALLBOARD_SECRET"]
    monkeypatch.setenv("CALLBOARD_DATABASE_URL", "postgresql://h/x")
    assert [line.split(":")[0] for line in mistakes()] == ["CALLBOARD_SECRET"]
    assert not load_settings(frozenset({"database"})).embedded
    monkeypatch.setenv("CALLBOARD_SECRET", SECRET)
    assert load_settings().secret == SECRET


def test_what_is_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(database_url="postgresql://u:hunter2@h/x", redis_url="redis://:hunter2@h", secret=SECRET)
    assert "hunter2" not in repr(settings)
    assert SECRET not in repr(settings)


def test_a_changed_copy_is_checked_too() -> None:
    settings = Settings(secret=SECRET)
    assert settings.with_changes(port=9).port == 9
    assert settings.with_changes(port=9).model_fields_set == settings.model_fields_set | {"port"}
    with pytest.raises(ValueError, match="port"):
        settings.with_changes(port=-1)


def test_the_kept_secret_is_the_same_for_all_who_ask_at_once(folder: Path) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(kept_secret(folder / "data"))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert [path.name for path in (folder / "data").iterdir()] == ["secret"]


def test_a_kept_secret_that_is_damaged_is_not_used(folder: Path) -> None:
    (folder / "secret").write_text("cut off")
    with pytest.raises(BadSettings, match="delete the file"):
        kept_secret(folder)


def test_a_folder_that_cannot_keep_a_secret(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(BadSettings, match="CALLBOARD_DATA"):
        kept_secret(folder / "file" / "data")


def test_proxies_are_addresses_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().trusted_proxies == "127.0.0.1,::1"
    monkeypatch.setenv("CALLBOARD_TRUSTED_PROXIES", "10.0.0.5, 10.1.0.0/16,fd00::/8")
    assert load_settings().trusted_proxies == "10.0.0.5, 10.1.0.0/16,fd00::/8"
    for wrong in ("*", "proxy.internal", "10.0.0.5,", "10.0.0.5/16"):
        monkeypatch.setenv("CALLBOARD_TRUSTED_PROXIES", wrong)
        assert mistakes() == ["CALLBOARD_TRUSTED_PROXIES: must be addresses or networks such as 10.0.0.5,10.1.0.0/16"]


def test_origins_are_those_of_browsers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().origins == frozenset()
    monkeypatch.setenv("CALLBOARD_ALLOWED_ORIGINS", "capacitor://localhost, https://app.example:8443,http://[::1]:3000")
    assert load_settings().origins == {b"capacitor://localhost", b"https://app.example:8443", b"http://[::1]:3000"}
    for wrong in ("*", "null", "app.example", "https://app.example/", "https://App.example", "https://a.example,"):
        monkeypatch.setenv("CALLBOARD_ALLOWED_ORIGINS", wrong)
        assert mistakes() == [
            "CALLBOARD_ALLOWED_ORIGINS: must be origins such as https://app.example,capacitor://localhost"
        ]


def test_a_store_has_a_bucket_and_both_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_PROOFS_S3_ENDPOINT", "ftp://files.example")
    assert mistakes() == ["CALLBOARD_PROOFS_S3_ENDPOINT: must be a URL such as https://s3.example"]
    monkeypatch.setenv("CALLBOARD_PROOFS_S3_ENDPOINT", "https://s3.example")
    monkeypatch.setenv("CALLBOARD_PROOFS_S3_ACCESS_KEY", "fleet")
    assert mistakes() == ["CALLBOARD_PROOFS_S3_BUCKET: missing", "CALLBOARD_PROOFS_S3_SECRET_KEY: missing"]
    monkeypatch.setenv("CALLBOARD_PROOFS_S3_BUCKET", "photos")
    monkeypatch.setenv("CALLBOARD_PROOFS_S3_SECRET_KEY", "hunter2")
    assert load_settings().proofs_s3_bucket == "photos"
    assert "hunter2" not in repr(load_settings())
    monkeypatch.delenv("CALLBOARD_PROOFS_S3_ACCESS_KEY")
    assert mistakes() == ["CALLBOARD_PROOFS_S3_ACCESS_KEY: missing"]


KEY = "tHr0ughTheStreets_byNight-AndDay-2026-xxxxQ"


def test_the_key_of_web_push_is_one_of_its_curve_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_VAPID_PRIVATE_KEY", KEY + "=")
    assert load_settings().vapid_private_key == KEY
    assert KEY not in repr(load_settings())
    for wrong in ("key", KEY[:-1], KEY + "A", "A" * 43, "_" * 43, KEY[:-1] + "+"):
        monkeypatch.setenv("CALLBOARD_VAPID_PRIVATE_KEY", wrong)
        text = "CALLBOARD_VAPID_PRIVATE_KEY: must be a private key of P-256: 32 bytes in base64url"
        assert mistakes() == [text], wrong


def test_push_services_can_write_to_somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for good in ("mailto:ops@fleet.example", "https://fleet.example/contact"):
        monkeypatch.setenv("CALLBOARD_VAPID_SUBJECT", good)
        assert load_settings().vapid_subject == good
    for wrong in ("ops@fleet.example", "mailto:ops", "http://fleet.example", "https://"):
        monkeypatch.setenv("CALLBOARD_VAPID_SUBJECT", wrong)
        text = "must be an address such as mailto:ops@fleet.example or https://fleet.example"
        assert mistakes() == [f"CALLBOARD_VAPID_SUBJECT: {text}"], wrong


WITHOUT_ZONES = """
import sys
sys.modules["tzdata"] = None
from datetime import UTC, datetime
from server.board.templates import environment
from server.settings import Settings, time_zone_of
from server.store.reads.insights import start_of

settings = Settings()
environment(settings.time_zone)
print(start_of(datetime(2026, 2, 1, 10, tzinfo=UTC), time_zone_of("UTC"), by_day=True))
try:
    Settings(time_zone="Europe/Berlin")
except ValueError as error:
    print("must be the name of a time zone" in str(error))
"""


def without_zone_files(program: str) -> str:
    """What a program prints on a machine that has none."""
    environment = {**os.environ, "PYTHONTZPATH": "", "PYTHONPATH": str(PROJECT.parent)}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_utc_needs_no_zone_files() -> None:
    assert without_zone_files(WITHOUT_ZONES).splitlines() == ["2026-02-01 00:00:00+00:00", "True"]


def test_every_other_zone_comes_along() -> None:
    program = "from server.settings import Settings; print(Settings(time_zone='America/Argentina/Ushuaia').time_zone)"
    assert without_zone_files(program) == "America/Argentina/Ushuaia\n"
    assert [need for need in tomllib.loads(PROJECT.read_text())["project"]["dependencies"] if need.startswith("tzdata")]


def test_a_language_without_a_catalogue_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings(language="DE").language == "de"
    monkeypatch.setenv("CALLBOARD_LANGUAGE", "tlh")
    assert mistakes() == ["CALLBOARD_LANGUAGE: must be one of en, de, es, or empty"]


@pytest.mark.parametrize("zone", ["Europe/Berlni", "../etc/passwd", "x" * 300, " "])
def test_a_zone_that_there_is_not_is_a_clear_error(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALLBOARD_TIME_ZONE", zone)
    assert mistakes() == ["CALLBOARD_TIME_ZONE: must be the name of a time zone such as Europe/Berlin"]
