"""The settings and what each of them may be. `setting_sources` has where they come from."""

import re
from base64 import urlsafe_b64decode
from datetime import UTC, tzinfo
from ipaddress import IPv6Address, ip_network
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import parse_qsl, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import idna
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from server.texts.languages import LANGUAGES

PREFIX: Final = "CALLBOARD_"
SECRET_BYTES: Final = 32
ESCAPED: Final = "write / ? # [ ] @ and % in a password as %2F %3F %23 %5B %5D %40 and %25"
REDIS_OPTIONS: Final = frozenset(
    [
        "db",
        "username",
        "password",
        "protocol",
        "client_name",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_cert_reqs",
        "ssl_check_hostname",
    ]
)
"""What may follow `?` in the URL of Redis."""
P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""The order of the curve; private keys are smaller."""

ON_SCREEN: Final = (
    "company_name", "dispatch_phone", "time_zone", "public_url", "map_tiles", "map_attribution",
    "report_at", "report_recipients", "report_csv",
)  # fmt: skip
"""The settings that admins can change on the screens *Set up* and *Day report*, unless the environment or a file sets
them.
"""
ADDRESS_LIMIT: Final = 500
HOST_LIMIT: Final = 253
LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
RECIPIENTS_LIMIT: Final = 20
MAIL_ADDRESS: Final = re.compile(
    r"[^\s@,;<>\"()\[\]\\:]{1,64}@[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*", re.IGNORECASE | re.ASCII
)
TILE_HOST: Final = re.compile(r"(\{s\}\.)?([a-z0-9.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.IGNORECASE)


def time_zone_of(name: str) -> tzinfo:
    """The time zone with this name; UTC needs no zone files. Raises ZoneInfoNotFoundError, ValueError or OSError."""
    return UTC if name.upper() == "UTC" else ZoneInfo(name)


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _of_scheme(value: str, example: str, *schemes: str) -> str:
    try:
        parts = urlsplit(value)
        scheme = parts.scheme
        for host in parts.netloc.rpartition("@")[2].split(","):  # of a database there may be several
            _ = urlsplit(f"//{host}").port  # raises for what is no number
        split = "@" not in parts.netloc and "@" in f"{parts.path}?{parts.query}#{parts.fragment}"
    except ValueError:
        scheme, split = "", "@" in value
    if split and "https" not in schemes:
        raise ValueError(f"must be a URL such as {example}; {ESCAPED}")
    if value and scheme not in schemes:
        raise ValueError(f"must be a URL such as {example}")
    return value


def _web_url(example: str) -> AfterValidator:
    return AfterValidator(lambda value: _of_scheme(value, example, "https", "http"))


def _of_form(pattern: str, what: str) -> AfterValidator:
    """A text of this form, or an empty one."""

    def check(value: str) -> str:
        if value and re.fullmatch(pattern, value) is None:
            raise ValueError(f"must be {what}")
        return value

    return AfterValidator(check)


class Settings(BaseModel):
    """The settings of a node. If `database_url` and `redis_url` are empty, Callboard runs its own servers
    (embedded).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: str = Field("", repr=False)
    redis_url: str = Field("", repr=False)
    secret: str = Field("", repr=False)
    secret_accepted: str = Field("", repr=False)
    """A second secret whose tokens are also accepted, for the time of a change. Callboard signs nothing with it."""
    data: Path = Field(Path("var"), validate_default=True)

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    workers: int = Field(1, ge=1, le=64)

    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)] = "info"
    log_format: Annotated[Literal["console", "json"], BeforeValidator(_lower)] = "console"

    database_pool_size: int = Field(8, ge=2, le=100)
    """The limit of database connections of a node, besides the few that have a fixed purpose."""
    redis_prefix: str = "callboard:"
    batch_limit: int = Field(128, ge=1, le=2000)
    """The limit of commands in one transaction; 1 turns batching off."""
    metrics_token: str = Field("", repr=False)
    """If set, `/metrics` requires it as a bearer token."""
    secure_cookies: bool = False
    """Set it behind TLS: browsers then send session cookies over https only."""
    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses or networks of proxies, separated by commas. Their `X-Forwarded-For` and `X-Forwarded-Proto` are
    trusted.
    """

    keep_deliveries_days: int = Field(400, ge=1, le=36_500)
    """Retention of finished deliveries, with their offers, assignments, tickets, notices and events."""
    keep_history_days: int = Field(400, ge=1, le=36_500)
    """Retention of what belongs to no delivery: changes of availability, events of drivers, alerts, parked webhook
    messages.
    """
    keep_messages_days: int = Field(7, ge=1, le=36_500)
    """Retention of the messages of drivers' streams. An app that was away for longer starts from a snapshot."""
    keep_webhooks_days: int = Field(30, ge=1, le=36_500)
    """Retention of webhook messages and their attempts."""
    keep_personal_days: int = Field(30, ge=0, le=3_650)
    """Retention of personal data in finished deliveries: names, phones, addresses, notes and PINs."""

    allowed_origins: str = ""
    """Origins of pages that may call the API with a token, separated by commas, such as
    `capacitor://localhost,https://app.example`.
    """
    public_url: str = ""
    """The address of the board for people, such as https://board.example; used in links. It may have a path, as
    https://fleet.example/dispatch: then Callboard is under it. Without it, customers have no tracking page.
    """
    tracking_streams: int = Field(1_000, ge=0, le=100_000)
    """The limit of open streams of customers' tracking pages on a node. A page without a stream looks every 30 s."""
    report_at: Annotated[str, _of_form(r"([01]\d|2[0-3]):[0-5]\d", "a time of day such as 06:00")] = ""
    """When webhooks and recipients get the report of the day before, in `time_zone`, such as 06:00. Without it they get
    none.
    """
    report_recipients: str = ""
    """The mail addresses that get it, separated by commas."""
    report_csv: Annotated[Literal["", "semicolon", "comma"], BeforeValidator(_lower)] = ""
    """The form of the CSV files in these mails: semicolons and decimal commas, or commas and decimal points. Empty:
    that of the country of `time_zone`.
    """
    smtp_url: str = Field("", repr=False)
    """The server that takes mails, such as smtp://user:password@mail.example:587 or smtps://mail.example:465. With smtp
    it must offer STARTTLS, unless `?tls=off` follows.
    """
    mail_from: str = ""
    """The sender of mails, such as `Callboard <board@fleet.example>`."""
    webhooks_allow_private: bool = False
    """Whether webhooks and push services may be on this machine and in private networks."""
    slack_webhook_url: Annotated[str, _web_url("https://hooks.slack.com/services/...")] = Field("", repr=False)
    """A Slack-compatible incoming webhook that gets ops' notices."""

    vapid_private_key: str = Field("", repr=False)
    """The key that signs web push: 32 bytes in base64url. Without it, all nodes use a key from the database."""
    vapid_subject: Annotated[
        str,
        _of_form(
            r"mailto:[^@\s]+@[^@\s]+|https://[^/\s]+\S*",
            "an address such as mailto:ops@fleet.example or https://fleet.example",
        ),
    ] = ""
    """The contact for push services: mailto:ops@fleet.example or an https URL."""

    proofs_s3_bucket: str = ""
    """The bucket of an S3-compatible store for photos and signatures. Without it they are in PostgreSQL."""
    proofs_s3_endpoint: Annotated[str, _web_url("https://s3.example")] = ""
    """The address of the store. Without it: AWS."""
    proofs_s3_region: str = "us-east-1"
    proofs_s3_access_key: str = Field("", repr=False)
    """Without the keys, obstore looks for the credentials of AWS: its variables, or the machine's role."""
    proofs_s3_secret_key: str = Field("", repr=False)
    proofs_s3_prefix: str = ""
    """The beginning of the key of every object, such as `callboard/proofs`."""

    demo: bool = False
    """Whether the screens say that all data is invented. `callboard demo` sets it."""
    company_name: str = ""
    """The name of the company, at the top of the screens."""
    time_zone: str = "UTC"
    """The time zone of the screens and of days in insights. The API uses UTC."""
    language: Annotated[str, BeforeValidator(_lower)] = ""
    """The language of the screens of the office, if all their texts are translated into it. Otherwise they are in
    English. The language of the driver page is in the policy.
    """
    dispatch_phone: Annotated[str, _of_form(r"\+?[\d ()/.,;*#-]{2,40}", "a phone number such as +49 30 901820")] = ""
    """The phone number of dispatch, for the button *Call dispatch* on the driver page."""
    map_tiles: str = ""
    """The URL of a tile server with {z}, {x} and {y}. Without it the maps have no background."""
    map_attribution: str = ""
    geocoder_url: Annotated[str, _web_url("https://nominatim.example/search")] = Field("", repr=False)
    """The search of a geocoder (Nominatim, Photon or Pelias), such as https://nominatim.example/search. With it, orders
    need no positions.
    """

    @property
    def secrets(self) -> tuple[str, ...]:
        """The accepted secrets. Callboard signs with the first."""
        return (self.secret, self.secret_accepted) if self.secret_accepted else (self.secret,)

    @property
    def origins(self) -> frozenset[bytes]:
        """The allowed origins, as requests name them."""
        return frozenset(part.strip().encode() for part in self.allowed_origins.split(",") if part.strip())

    @property
    def root(self) -> str:
        """The path of the public URL, without a slash at its end: all addresses of Callboard begin with it."""
        return urlsplit(self.public_url).path.rstrip("/")

    @property
    def recipients(self) -> tuple[str, ...]:
        """The mail addresses that get the report of the day before."""
        return tuple(part.strip() for part in self.report_recipients.split(",") if part.strip())

    @property
    def embedded(self) -> bool:
        """Whether Callboard runs its own PostgreSQL and Valkey."""
        return not self.database_url and not self.redis_url

    @field_validator("*", mode="before")
    @classmethod
    def _trimmed(cls, value: object) -> object:
        """A newline at the end, as `echo` and files have it, is no part of a secret or a URL."""
        return value.strip() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _database_url(cls, value: str) -> str:
        example = "postgresql://user:password@host:5432/name"
        _of_scheme(value, example, "postgresql", "postgres")
        if urlsplit(value).netloc.count("@") > 1:
            raise ValueError(f"must be a URL such as {example}; {ESCAPED}")
        return value

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: str) -> str:
        example = "redis://host:6379/0"
        _of_scheme(value, example, "redis", "rediss", "unix")
        parts = urlsplit(value)
        if parts.scheme in ("redis", "rediss") and not re.fullmatch(r"/?|/\d+/?", parts.path, re.ASCII):
            raise ValueError(f"must be a URL such as {example}; after the port comes the number of a database")
        unknown = sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - REDIS_OPTIONS)
        if unknown:
            raise ValueError(f"has options that Callboard does not know: {', '.join(unknown)}")
        return value

    @field_validator("host")
    @classmethod
    def _host(cls, value: str) -> str:
        """An IPv6 address may have the brackets that it has in a URL."""
        return value.removeprefix("[").removesuffix("]")

    @field_validator("secret", "secret_accepted")
    @classmethod
    def _secret(cls, value: str) -> str:
        if value and len(value.encode()) < SECRET_BYTES:
            raise ValueError(f"must be at least {SECRET_BYTES} bytes long, as for `openssl rand -hex 32`")
        return value

    @field_validator("time_zone")
    @classmethod
    def _time_zone(cls, value: str) -> str:
        try:
            time_zone_of(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("must be the name of a time zone such as Europe/Berlin") from None
        return value

    @field_validator("report_recipients")
    @classmethod
    def _report_recipients(cls, value: str) -> str:
        """Between the addresses may also be semicolons, blanks and new lines. Each is kept once."""
        found = {part.casefold(): part for part in re.split(r"[\s,;]+", value) if part}
        if len(found) > RECIPIENTS_LIMIT or not all(is_mail_address(part) for part in found.values()):
            raise ValueError(f"must be at most {RECIPIENTS_LIMIT} mail addresses, separated by commas")
        return ", ".join(found.values())

    @field_validator("smtp_url")
    @classmethod
    def _smtp_url(cls, value: str) -> str:
        example = "smtp://user:password@mail.example:587 or smtps://mail.example:465"
        _of_scheme(value, example, "smtp", "smtps")
        parts = urlsplit(value)
        if value and (not parts.hostname or parts.path.strip("/") or parts.fragment or parts.netloc.count("@") > 1):
            raise ValueError(f"must be a URL such as {example}; {ESCAPED}")
        if parts.query and (parts.query != "tls=off" or parts.scheme != "smtp"):
            raise ValueError("must have no options but ?tls=off after smtp://")
        if parts.query and parts.username:
            raise ValueError("must not send a password without TLS: remove ?tls=off, or user and password")
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_from(cls, value: str) -> str:
        found = re.fullmatch(r"[^<>,;:@\"\\]*<([^<>]+)>|([^<>]+)", value)
        address = (found[1] or found[2]) if found is not None else ""
        if value and not (is_mail_address(address) and value.isprintable() and len(value) <= 200):
            raise ValueError("must be an address such as board@fleet.example or Callboard <board@fleet.example>")
        return value

    @field_validator("language")
    @classmethod
    def _language(cls, value: str) -> str:
        if value and value not in LANGUAGES:
            raise ValueError(f"must be one of {', '.join(LANGUAGES)}, or empty")
        return value

    @field_validator("map_tiles")
    @classmethod
    def _map_tiles(cls, value: str) -> str:
        if value and not (len(value) <= ADDRESS_LIMIT and all(part in value for part in ("{z}", "{x}", "{y}"))):
            raise ValueError(
                "must be a URL such as https://tiles.example/{z}/{x}/{y}.png, of at most"
                f" {ADDRESS_LIMIT} characters"
            )
        value = _of_scheme(value, "https://tiles.example/{z}/{x}/{y}.png", "https", "http")
        if value and TILE_HOST.fullmatch(urlsplit(value).netloc) is None:  # it is part of a header
            raise ValueError("must be a URL such as https://tiles.example/{z}/{x}/{y}.png")
        return value

    @field_validator("company_name")
    @classmethod
    def _company_name(cls, value: str) -> str:
        if len(value) > 100 or not value.isprintable():
            raise ValueError("must have at most 100 printable characters")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _trusted_proxies(cls, value: str) -> str:
        try:
            for part in value.split(","):
                ip_network(part.strip())
        except ValueError:
            raise ValueError("must be addresses or networks such as 10.0.0.5,10.1.0.0/16") from None
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _allowed_origins(cls, value: str) -> str:
        if value and not all(_is_origin(part.strip()) for part in value.split(",")):
            raise ValueError("must be origins such as https://app.example,capacitor://localhost")
        return value

    @field_validator("public_url")
    @classmethod
    def _public_url(cls, value: str) -> str:
        _of_scheme(value, "https://board.example", "https", "http")
        parts = urlsplit(value)
        host = _known_host(parts.hostname or "")
        if value and (host is None or _is_public_url(value) is None or parts.port == 0 or len(value) > ADDRESS_LIMIT):
            raise ValueError(
                "must be a URL such as https://board.example or https://fleet.example/dispatch, of at most"
                f" {ADDRESS_LIMIT} characters, without user, query and fragment, its path of letters, digits and"
                " - . _ ~"
            )
        port = f":{parts.port}" if parts.port else ""
        return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}" if value else value

    @field_validator("vapid_private_key")
    @classmethod
    def _vapid_private_key(cls, value: str) -> str:
        if value and not _is_p256_key(value):
            raise ValueError("must be a private key of P-256: 32 bytes in base64url")
        return value.rstrip("=")

    @field_validator("data")
    @classmethod
    def _data(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    def with_changes(self, **changes: object) -> "Settings":
        """A copy with these fields replaced, checked like any others. `model_fields_set` has what was ever set."""
        return Settings(**(self.model_dump(exclude_unset=True) | changes))


def is_mail_address(text: str) -> bool:
    """Whether this is a mail address that servers without SMTPUTF8 know."""
    return len(text) <= 254 and text.isascii() and text.isprintable() and MAIL_ADDRESS.fullmatch(text) is not None


def _known_host(host: str) -> str | None:
    """The name of a host as programs write it (`bücher.example` as `xn--bcher-kva.example`), or its address; None for
    what is neither.
    """
    if ":" in host:
        try:
            return f"[{IPv6Address(host)}]"
        except ValueError:
            return None
    try:
        name = host.lower() if host.isascii() else idna.encode(host, uts46=True).decode()
    except idna.IDNAError:
        return None
    return name if len(name) <= HOST_LIMIT and all(map(LABEL.fullmatch, name.split("."))) else None


def _is_p256_key(text: str) -> bool:
    if re.fullmatch(r"[\w-]{43}=?", text, re.ASCII) is None:
        return False
    return 0 < int.from_bytes(urlsafe_b64decode(text[:43] + "="), "big") < P256_ORDER


_is_origin = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?").fullmatch
"""As browsers write it: lower case, no path, and no port that is the scheme's own."""


_is_public_url = re.compile(
    r"https?://(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:[0-9]{1,5})?(/(?!\.{1,2}(/|$))[a-z0-9._~-]+)*/?",
    re.IGNORECASE | re.ASCII,
).fullmatch
