"""`python -m server.images photo|signature` reads an image from stdin and writes one to stdout.

Exit status 1: it cannot be decoded.
"""

import resource
import sys
from typing import Final

from server.images.encoding import encode
from server.images.worker import SECONDS

MEMORY_BYTES: Final = 1 << 30


def limit() -> None:
    """Limit this process: CPU, memory, no files."""
    for what, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):
            continue  # macOS refuses a limit of memory


def main() -> None:
    """One image from stdin to stdout."""
    limit()
    try:
        result = encode(sys.stdin.buffer.read(), sys.argv[1])
    except Exception:
        sys.exit(1)
    sys.stdout.buffer.write(result)


main()
