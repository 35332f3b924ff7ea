"""Callboard's tables and migrations, for Piccolo."""

from typing import Final

from piccolo.conf.apps import AppConfig

from server.paths import MIGRATIONS
from server.store.tables import TABLES

APP_NAME: Final = "callboard"
APP_CONFIG: Final = AppConfig(
    app_name=APP_NAME,
    migrations_folder_path=str(MIGRATIONS),
    table_classes=TABLES,
)
