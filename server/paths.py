"""Where templates, static files and migrations lie: beside `server/` in a clone, inside it in a wheel."""

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent
_BUNDLE: Final = _HERE / "_bundle"

ROOT: Final = _BUNDLE if _BUNDLE.is_dir() else _HERE.parent
TEMPLATES: Final = ROOT / "templates"
STATIC: Final = ROOT / "static"
MIGRATIONS: Final = ROOT / "piccolo_migrations"
