"""Where the settings come from: `CALLBOARD_*` in the environment, then `.env`, then `callboard.toml`, checked at start.

All errors are reported together.
"""

import difflib
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from server.settings import PREFIX, SECRET_BYTES, Settings

ENV_FILE: Final = ".env"
TOML_FILE: Final = "callboard.toml"
NEARLY: Final = 0.9
"""How alike two names are that one may have been written for the other: one letter in ten differs."""
SERVICE_ADDRESS: Final = re.compile(r"\s*(tcp|udp|sctp)://", re.IGNORECASE)

Need = Literal["database", "redis", "secret"]
EVERYTHING: Final[frozenset[Need]] = frozenset({"database", "redis", "secret"})


class BadSettings(Exception):
    """One or more settings are wrong. `mistakes` has one line for each, without secret values."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


class _Sourced(BaseSettings, Settings):
    """The same fields, read from the environment and the files."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=ENV_FILE,
        env_file_encoding="utf-8-sig",
        env_ignore_empty=True,
        dotenv_filtering="only_existing",
        toml_file=TOML_FILE,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), dotenv_settings, _Toml(settings_cls)


class _Environment(EnvSettingsSource):
    """The environment, without what Kubernetes adds for a service with the name `callboard`."""

    def __call__(self) -> dict[str, Any]:
        found = super().__call__()
        if SERVICE_ADDRESS.match(str(found.get("port", ""))):
            del found["port"]
            text = f"{PREFIX}PORT: ignored: Kubernetes sets it to the address of a service named callboard; use --port"
            sys.stderr.write(f"callboard: {text}\n")
        return found


class _Toml(TomlConfigSettingsSource):
    """`callboard.toml`, with or without a byte order mark."""

    def _read_file(self, file_path: Any) -> dict[str, Any]:
        return tomllib.loads(file_path.read_text("utf-8-sig"))


def load_settings(
    needs: frozenset[Need] = EVERYTHING, *, usual: Mapping[str, object] | None = None, **options: Any
) -> Settings:
    """Read all sources. `options` come from the command line and override all sources (None: not given).

    `usual` are other defaults. If both URLs are missing, embedded mode provides them and the secret.
    Raises BadSettings.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        found = _Sourced(**given)
        unsaid = {name: value for name, value in (usual or {}).items() if name not in found.model_fields_set}
        settings = Settings(**found.model_dump(exclude_unset=True) | unsaid)
    except ValidationError as error:
        raise BadSettings([_line(problem, given) for problem in error.errors(include_url=False)]) from None
    except UnicodeDecodeError:
        raise BadSettings([f"{name}: must be UTF-8: save it again as UTF-8" for name in _not_utf8()]) from None
    except OSError as error:
        raise BadSettings([f"{error.filename or TOML_FILE}: cannot be read: {error.strerror}"]) from None
    except ValueError as error:
        raise BadSettings([f"{TOML_FILE}: {error}"]) from None
    mistakes = [] if settings.embedded else _missing(settings, needs)
    mistakes += _incomplete_store(settings) + _incomplete_mail(settings)
    if mistakes:
        raise BadSettings(mistakes)
    return settings


def misspelled() -> dict[str, str]:
    """Variables that are no settings but nearly one, each with that setting: of the environment and of `.env`."""
    settings = [f"{PREFIX}{field.upper()}" for field in Settings.model_fields]
    of_file = Path(ENV_FILE).read_text("utf-8-sig") if Path(ENV_FILE).is_file() else ""
    said = {name.upper() for name in (*os.environ, *re.findall(r"^\s*(?:export\s+)?(\w+)\s*=", of_file, re.M))}
    unknown = sorted(name for name in said if name.startswith(PREFIX) and name not in settings)
    near = {name: difflib.get_close_matches(name, settings, 1, cutoff=NEARLY) for name in unknown}
    return {name: found[0] for name, found in near.items() if found}


def _not_utf8() -> list[str]:
    """The files that are in another encoding, such as the UTF-16 of some editors."""
    found = []
    for name in (ENV_FILE, TOML_FILE):
        try:
            Path(name).read_text("utf-8-sig")
        except UnicodeDecodeError:
            found.append(name)
        except OSError:
            continue
    return found


def _missing(settings: Settings, needs: frozenset[Need]) -> list[str]:
    mistakes = []
    if "database" in needs and not settings.database_url:
        mistakes.append(f"{PREFIX}DATABASE_URL: missing; set both URLs, or none to let Callboard run its own servers")
    if "redis" in needs and not settings.redis_url:
        mistakes.append(f"{PREFIX}REDIS_URL: missing; set both URLs, or none to let Callboard run its own servers")
    if "secret" in needs and not settings.secret:
        mistakes.append(f"{PREFIX}SECRET: missing; set a key of at least {SECRET_BYTES} bytes, the same on every node")
    return mistakes


def _incomplete_store(settings: Settings) -> list[str]:
    given = {
        name: getattr(settings, f"proofs_s3_{name}")
        for name in ("bucket", "endpoint", "access_key", "secret_key", "prefix")
    }
    missing = set()
    if any(given.values()) and not given["bucket"]:
        missing.add("bucket")
    if bool(given["access_key"]) != bool(given["secret_key"]):
        missing.add("secret_key" if given["access_key"] else "access_key")
    return [f"{PREFIX}PROOFS_S3_{name.upper()}: missing" for name in sorted(missing)]


def _incomplete_mail(settings: Settings) -> list[str]:
    if bool(settings.smtp_url) == bool(settings.mail_from):
        return []
    name, example = ("MAIL_FROM", "board@fleet.example") if settings.smtp_url else ("SMTP_URL", "smtp://mail.example")
    return [f"{PREFIX}{name}: missing; mails need both, such as {example}"]


def _line(problem: ErrorDetails, options: Mapping[str, object]) -> str:
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{TOML_FILE}: {field}: unknown setting"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    name = f"--{field.replace('_', '-')}" if field in options else PREFIX + field.upper()
    return f"{name}: {message}"
