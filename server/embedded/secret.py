"""The secret of a machine for which no `CALLBOARD_SECRET` is set: a file in the data folder."""

import os
import secrets
from itertools import count
from pathlib import Path

from server.setting_sources import BadSettings
from server.settings import PREFIX, SECRET_BYTES


def replace_secret(data: Path, secret: str) -> Path | None:
    """Put another secret into the data folder; the old one is kept beside it, as all before it. Where, if there was
    another one.

    Raises BadSettings if the folder cannot be used.
    """
    path = data / "secret"
    names = (path.with_name(f"{path.name}.before-restore{number or ''}") for number in count())
    try:
        old = next(name for name in names if not name.exists())
        data.mkdir(parents=True, exist_ok=True)
        before = path.read_text().strip() if path.exists() else ""
        if before == secret:
            return None
        draft = _draft(data, secret)
        if before:
            path.replace(old)
        draft.replace(path)
    except OSError as error:
        raise BadSettings([f"{PREFIX}DATA: cannot store the secret in {data}: {error.strerror}"]) from None
    return old if before else None


def kept_secret(data: Path) -> str:
    """The secret from the data folder. The first call creates it, readable by its owner only.

    Several processes may call this at once: the first file wins. Raises BadSettings if the folder cannot be used.
    """
    path = data / "secret"
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = _draft(data, secrets.token_hex(SECRET_BYTES))
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        secret = path.read_text().strip()
    except OSError as error:
        raise BadSettings([f"{PREFIX}DATA: cannot store the secret in {data}: {error.strerror}"]) from None
    if len(secret.encode()) < SECRET_BYTES:
        raise BadSettings(
            [f"{path}: the secret has fewer than {SECRET_BYTES} bytes; delete the file to create a new one"]
        )
    return secret


def _draft(data: Path, secret: str) -> Path:
    """A new file with the secret, readable by its owner only."""
    draft = data / f".secret.{os.getpid()}.{secrets.token_hex(4)}"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    return draft
