"""Builds the wheel and the sdist into dist/ and tries them out (`make release`).

Argument: a Python that has `build` and `twine`. Exit code 0 when everything holds; 1 with a line for each fault.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urljoin
from urllib.request import ProxyHandler, build_opener

from server import __version__

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
BUNDLED = ("templates", "static", "piccolo_migrations")
"""Folders beside `server/` that the wheel carries in `server/_bundle/`."""
READY_SECONDS = 90.0
END_SECONDS = 60.0
RUN_SECONDS = 600.0
WEB = build_opener(ProxyHandler({}))


class Fault(Exception):
    """What is wrong with the release, in one line."""


def changelog_faults(changelog: str, version: str) -> list[str]:
    """The changelog has an [Unreleased] section on top and, right below it, this version with its date."""
    headings = re.findall(r"^## (.+)$", changelog, flags=re.MULTILINE)
    faults = []
    if headings[:1] != ["[Unreleased]"]:
        faults.append("CHANGELOG.md: the first section must be [Unreleased]")
    if not any(re.fullmatch(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d", heading) for heading in headings):
        faults.append(f"CHANGELOG.md: no section [{version}] with a date")
    return faults


def wheel_faults(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """The wheel holds all committed files of the server and what it bundles, and nothing else but its metadata."""
    expected = set()
    for name in tracked:
        top = name.split("/", 1)[0]
        if top == "server":
            expected.add(name)
        elif top in BUNDLED:
            expected.add(f"server/_bundle/{name}")
    held = {name for name in names if ".dist-info/" not in name}
    return _differences("wheel", held, expected)


def sdist_faults(names: Iterable[str], tracked: Iterable[str]) -> list[str]:
    """The sdist holds all committed files, and nothing else but its metadata."""
    held = {name.split("/", 1)[1] for name in names} - {"PKG-INFO"}
    return _differences("sdist", held, set(tracked))


def _differences(what: str, held: set[str], expected: set[str]) -> list[str]:
    missing = [f"{what}: {name} is missing" for name in sorted(expected - held)]
    return missing + [f"{what}: {name} does not belong in it" for name in sorted(held - expected)]


def tracked_files() -> list[str]:
    """What is committed, as paths from the top."""
    return [name for name in _output(["git", "-C", str(ROOT), "ls-files", "-z"], ROOT).split("\0") if name]


def build(tools: str) -> tuple[Path, Path]:
    """Wheel and sdist in an emptied dist/: the sdist from this tree, and the wheel from that sdist."""
    shutil.rmtree(DIST, ignore_errors=True)
    _output([tools, "-m", "build", "--outdir", str(DIST), str(ROOT)], ROOT)
    made = sorted(str(path) for path in DIST.iterdir())
    _output([tools, "-m", "twine", "check", "--strict", *made], ROOT)
    (wheel,) = DIST.glob("*.whl")
    (sdist,) = DIST.glob("*.tar.gz")
    return wheel, sdist


def contents_faults(wheel: Path, sdist: Path) -> list[str]:
    """What either of them holds too much or too little."""
    tracked = tracked_files()
    with zipfile.ZipFile(wheel) as file:
        faults = wheel_faults((name for name in file.namelist() if not name.endswith("/")), tracked)
    with tarfile.open(sdist) as archive:
        return faults + sdist_faults((member.name for member in archive if not member.isdir()), tracked)


@contextmanager
def folder_of_our_own() -> Iterator[Path]:
    """A throw-away folder with a path short enough for a Unix socket in it."""
    folder = Path(tempfile.mkdtemp(prefix="cb-", dir="/tmp"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def try_out(wheel: Path, folder: Path) -> None:
    """Install the wheel in an empty virtual environment and use it from another folder. Raises Fault."""
    _output([sys.executable, "-m", "venv", str(folder / "venv")], folder)
    pip = [str(folder / "venv/bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _output([*pip, "install", "--constraint", str(ROOT / "constraints.txt"), str(wheel)], folder)
    _output([*pip, "check"], folder)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    callboard = str(folder / "venv/bin/callboard")
    said = _output([callboard, "--version"], elsewhere).strip()
    if said != f"callboard {__version__}":
        raise Fault(f"callboard --version says {said!r}, and not {__version__}")
    if "serve" not in _output([callboard, "--help"], elsewhere):
        raise Fault("callboard --help does not name serve")
    _serve(callboard, elsewhere, folder / "data")


def _serve(callboard: str, elsewhere: Path, data: Path) -> None:
    """Serve with a throw-away data folder until the node is ready and shows its pages, then end it."""
    log = elsewhere.parent / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [callboard, "serve", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=elsewhere,
            env=_environment() | {"CALLBOARD_DATA": str(data)},
        )
    try:
        url = _ready(process, log)
        page = _get(urljoin(url, "/login"))
        links = set(re.findall(r'(?:href|src)="(/[^"]+\.(?:css|js|svg)[^"]*)"', page))
        if not links:
            raise Fault("the login page names no styles and scripts")
        for link in sorted(links):
            _get(urljoin(url, link))
        _get(urljoin(url, "/openapi.json"))
    finally:
        code = _end(process)
    if code != 0:
        raise Fault(f"callboard serve ended with {code} at SIGTERM: {_last_lines(log)}")


def _ready(process: subprocess.Popen[bytes], log: Path) -> str:
    """The node's address, once `/health/ready` says that everything works."""
    deadline = time.monotonic() + READY_SECONDS
    answer = "nothing"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Fault(f"callboard serve ended with {process.returncode}: {_last_lines(log)}")
        if found := re.search(r"Callboard is ready: (http\S+)", log.read_text()):
            try:
                answer = _get(urljoin(found[1], "/health/ready"))
            except Fault as fault:
                answer = str(fault)
            if '"status":"ok"' in answer:
                return found[1]
        time.sleep(0.1)
    raise Fault(f"callboard serve is not ready after {READY_SECONDS:.0f} s: {answer}; {_last_lines(log)}")


def _end(process: subprocess.Popen[bytes]) -> int:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode


def _get(url: str) -> str:
    try:
        with WEB.open(url, timeout=10) as response:
            return str(response.read().decode())
    except HTTPError as error:
        raise Fault(f"{url}: {error.code}") from None
    except (OSError, HTTPException) as error:
        raise Fault(f"{url}: {error}") from None


def _environment() -> dict[str, str]:
    """Without anything that could lead back to this clone, or that is a setting."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("CALLBOARD_", "PYTHON"))}


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    if done.returncode != 0:
        raise Fault(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _last_lines(log: Path) -> str:
    return " / ".join(log.read_text().splitlines()[-5:])


def main() -> int:
    """Run every step; stops at the first one with faults."""
    try:
        faults = changelog_faults((ROOT / "CHANGELOG.md").read_text(), __version__)
        if not faults:
            wheel, sdist = build(sys.argv[1])
            faults = contents_faults(wheel, sdist)
        if not faults:
            with folder_of_our_own() as folder:
                try_out(wheel, folder)
    except Fault as fault:
        faults = [str(fault)]
    for line in faults:
        print(line, file=sys.stderr)
    if faults:
        return 1
    for path in (wheel, sdist):
        print(f"{path.relative_to(ROOT)}  {path.stat().st_size / 1e6:.1f} MB")
    print(f"callboard {__version__}: both hold every committed file, and the wheel serves from an empty environment.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
