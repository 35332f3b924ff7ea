"""The release before this one, out of the history, with the dependencies that it pins."""

import fcntl
import subprocess
import sys
import sysconfig
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
COMMIT = "fa5f8614b5d12b3aa2d549d540d68015d96f2d7c"
"""The last commit of 0.1.0. Set it to the new release's commit when one is made."""


@dataclass(frozen=True)
class PreviousRelease:
    """Where its code is, and the Python that runs it."""

    code: Path
    python: str


def is_in_history() -> bool:
    """False in an unpacked sdist and in a shallow clone."""
    found = subprocess.run(["git", "-C", str(ROOT), "cat-file", "-e", f"{COMMIT}^{{commit}}"], capture_output=True)
    return found.returncode == 0


def previous_release() -> PreviousRelease:
    """Kept in the environment's own folder, which `make clean` removes; several processes may ask at once.

    Raises `CalledProcessError` when git or pip fails.
    """
    folder = Path(sys.prefix) / "previous-release" / COMMIT
    release = PreviousRelease(folder / "code", str(folder / "environment" / "bin" / "python"))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _unpack(release)
            _install(release)
            (folder / "complete").touch()
    return release


def _unpack(release: PreviousRelease) -> None:
    release.code.mkdir(exist_ok=True)
    archive = subprocess.run(["git", "-C", str(ROOT), "archive", COMMIT], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(release.code)], input=archive, check=True)


def _install(release: PreviousRelease) -> None:
    """What it pins and this environment lacks; the rest is shared with this environment."""
    environment = Path(release.python).parent.parent
    venv.create(environment, clear=True, with_pip=False)
    variables = {"base": str(environment), "platbase": str(environment)}
    own = Path(sysconfig.get_path("purelib", "venv", variables))
    (own / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    wanted = tomllib.loads((release.code / "pyproject.toml").read_text())["project"]["dependencies"]
    constraints = str(release.code / "constraints.txt")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--python", release.python]
    subprocess.run([*pip, "install", "--constraint", constraints, *wanted], check=True)
