"""What several commands share: the kinds of options, the logs, the secret, and the servers."""

from pathlib import Path
from typing import Final

import click

from server.embedded.secret import kept_secret
from server.setting_sources import load_settings
from server.settings import Settings

PORT: Final = click.IntRange(0, 65535)
FOLDER: Final = click.Path(exists=True, file_okay=False, path_type=Path)
OLD_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
NEW_FILE: Final = click.Path(dir_okay=False, writable=True, path_type=Path)


def write_logs_of(settings: Settings) -> None:
    """Log as these settings say."""
    from server.process.log_format import write_logs

    write_logs(settings.log_level, settings.log_format)


def secret() -> str:
    """The secret of this machine."""
    settings = load_settings(frozenset({"secret"}))
    return settings.secret or kept_secret(settings.data)
