"""`python -m server.images photo|signature` reads an image from stdin and writes one to stdout.

Exit status 1: it cannot be decoded.
"""

import sys
from typing import Final

from server.apart.processes import limit_this_process
from server.images.encoding import encode
from server.images.worker import SECONDS

MEMORY_BYTES: Final = 1 << 30


def main() -> None:
    """One image from stdin to stdout."""
    limit_this_process(SECONDS, MEMORY_BYTES)
    try:
        result = encode(sys.stdin.buffer.read(), sys.argv[1])
    except Exception:
        sys.exit(1)
    sys.stdout.buffer.write(result)


main()
