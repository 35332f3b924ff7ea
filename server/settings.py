"""The settings: `CALLBOARD_*` in the environment, then `.env`, then `callboard.toml`, checked at start.

Every mistake is named at once. Nothing here opens a connection or starts anything.
"""

import os
import secrets
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX: Final = "CALLBOARD_"
TOML_FILE: Final = "callboard.toml"
SECRET_BYTES: Final = 32

Need = Literal["database", "redis", "secret"]
EVERYTHING: Final[frozenset[Need]] = frozenset({"database", "redis", "secret"})


class BadSettings(Exception):
    """One or more settings are wrong; `mistakes` holds a line for each, without any secret value."""

    def __init__(self, mistakes: list[str]) -> None:
        super().__init__("; ".join(mistakes))
        self.mistakes = mistakes


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


class Settings(BaseModel):
    """What a node needs to know. An empty `database_url` and `redis_url` mean: run our own (embedded)."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: str = Field("", repr=False)
    redis_url: str = Field("", repr=False)
    secret: str = Field("", repr=False)
    data: Path = Path("var")

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = "console"

    database_pool_size: int = Field(8, ge=2, le=100)
    """Connections a node opens at most for everything but the one write lane."""
    redis_prefix: str = "callboard:"
    batch_limit: int = Field(128, ge=1, le=2000)
    """Commands decided in one transaction at most; 1 turns batching off."""
    metrics_token: str = Field("", repr=False)
    """When set, `/metrics` wants it as a bearer token."""
    secure_cookies: bool = False
    """Set behind TLS: session cookies are then sent over https only."""

    public_url: str = ""
    """Where people reach the board, such as https://board.example; for links in notices."""
    webhooks_allow_private: bool = False
    """Whether webhooks may lead to this machine and to private networks."""
    slack_webhook_url: str = Field("", repr=False)
    """A Slack-compatible incoming webhook for the notices of ops."""

    time_zone: str = "UTC"
    """The organisation's, for the times on its screens; the API speaks UTC."""
    map_tiles: str = ""
    """A tile server's address with {z}, {x} and {y}; without one the maps have no background."""
    map_attribution: str = ""

    @property
    def embedded(self) -> bool:
        """Whether PostgreSQL and Valkey are ours to start."""
        return not self.database_url and not self.redis_url

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        return _of_scheme(value, "postgresql://user:password@host:5432/name", "postgresql", "postgres")

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        return _of_scheme(value, "redis://host:6379/0", "redis", "rediss", "unix")

    @field_validator("secret")
    @classmethod
    def _secret(cls, value: str) -> str:
        if value and len(value.encode()) < SECRET_BYTES:
            raise ValueError(f"must be at least {SECRET_BYTES} bytes long, as for `openssl rand -hex 32`")
        return value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        if value != "UTC":
            try:
                ZoneInfo(value)
            except (ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError("must be the name of a time zone such as Europe/Berlin") from None
        return value

    @field_validator("map_tiles")
    @classmethod
    def _map_tiles(cls, value: str) -> str:
        if value and not all(part in value for part in ("{z}", "{x}", "{y}")):
            raise ValueError("must be a URL such as https://tiles.example/{z}/{x}/{y}.png")
        return _of_scheme(value, "https://tiles.example/{z}/{x}/{y}.png", "https", "http")

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        return _of_scheme(value, "https://board.example", "https", "http")

    @field_validator("slack_webhook_url")
    @classmethod
    def _slack_webhook_url(cls, value: str) -> str:
        return _of_scheme(value, "https://hooks.slack.com/services/...", "https", "http")

    @field_validator("data")
    @classmethod
    def _data(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    def with_changes(self, **changes: Any) -> "Settings":
        """A copy with these fields replaced, checked like any others."""
        return Settings(**(self.model_dump() | changes))


class _Sourced(BaseSettings, Settings):
    """The same fields, read from the environment and the files."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
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
        return init_settings, env_settings, dotenv_settings, TomlConfigSettingsSource(settings_cls)


def _of_scheme(value: str, example: str, *schemes: str) -> str:
    try:
        scheme = urlsplit(value).scheme
    except ValueError:
        scheme = ""
    if value and scheme not in schemes:
        raise ValueError(f"must be a URL such as {example}")
    return value


def load_settings(needs: frozenset[Need] = EVERYTHING, **options: Any) -> Settings:
    """Read every source; `options` are the command line's and win over all of them (None: not given).

    With neither URL set the missing URLs and secret are not a mistake: embedded mode provides them.
    Raises BadSettings.
    """
    given = {name: value for name, value in options.items() if value is not None}
    try:
        settings = Settings(**_Sourced(**given).model_dump())
    except ValidationError as error:
        raise BadSettings([_line(problem, given) for problem in error.errors(include_url=False)]) from None
    except (OSError, ValueError) as error:
        raise BadSettings([f"{TOML_FILE}: {error}"]) from None
    mistakes = [] if settings.embedded else _missing(settings, needs)
    if mistakes:
        raise BadSettings(mistakes)
    return settings


def _missing(settings: Settings, needs: frozenset[Need]) -> list[str]:
    mistakes = []
    if "database" in needs and not settings.database_url:
        mistakes.append(f"{PREFIX}DATABASE_URL: missing; set both URLs, or neither to run our own servers")
    if "redis" in needs and not settings.redis_url:
        mistakes.append(f"{PREFIX}REDIS_URL: missing; set both URLs, or neither to run our own servers")
    if "secret" in needs and not settings.secret:
        mistakes.append(f"{PREFIX}SECRET: missing; a key of at least {SECRET_BYTES} bytes, the same everywhere")
    return mistakes


def _line(problem: Any, options: dict[str, Any]) -> str:
    field = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"{TOML_FILE}: {field}: no such setting"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input ")
    message = message[:1].lower() + message[1:]
    name = f"--{field.replace('_', '-')}" if field in options else PREFIX + field.upper()
    return f"{name}: {message}"


def kept_secret(data: Path) -> str:
    """The secret kept in the data folder, made at the first call (readable by its owner only).

    Safe when several processes ask at once: the first file wins. Raises BadSettings when the folder
    cannot be used.
    """
    path = data / "secret"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = data / f".secret.{os.getpid()}.{secrets.token_hex(4)}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_hex(SECRET_BYTES) + "\n")
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise BadSettings([f"{PREFIX}DATA: cannot keep the secret in {data}: {error.strerror}"]) from None
    if len(secret.encode()) < SECRET_BYTES:
        raise BadSettings([f"{path}: holds less than {SECRET_BYTES} bytes; delete it to have a new one made"])
    return secret
