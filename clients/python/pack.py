"""Makes the package `callboard-driver` in a folder: `python clients/python/pack.py FOLDER`, then `pip wheel FOLDER`.

Its modules are those of `server/driver_client`, which the simulated city, the tests and the benchmarks use.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
INSIDE = "server.driver_client"
OUTSIDE = "callboard_driver"


def pack(folder: Path) -> None:
    """Write the package, with what is needed to build and publish it. The folder may be there and have other files."""
    modules = folder / OUTSIDE
    modules.mkdir(parents=True, exist_ok=True)
    for source in sorted((ROOT / "server/driver_client").glob("*.py")):
        (modules / source.name).write_text(source.read_text().replace(INSIDE, OUTSIDE))
    (modules / "py.typed").write_text("")
    for name in ("pyproject.toml", "README.md"):
        (folder / name).write_text((Path(__file__).parent / name).read_text())
    (folder / "LICENSE").write_text((ROOT / "LICENSE").read_text())


if __name__ == "__main__":
    pack(Path(sys.argv[1]))
