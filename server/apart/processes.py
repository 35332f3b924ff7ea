"""Reads files from outside in a separate process, because parsers have bugs.

The process has limits of memory, CPU and time, no connection, no secret in its environment, and ends after one file.
"""

import asyncio
import resource
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

PACKAGES: Final = Path(__file__).parent.parent.parent
"""Where `server` is imported from."""


async def run_apart(module: str, args: Sequence[str], data: bytes, seconds: float) -> bytes | None:
    """What the module, run as a program, writes for these bytes. None if it fails. Raises TimeoutError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=PACKAGES,
        env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    try:
        async with asyncio.timeout(seconds):
            result, _ = await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return result if process.returncode == 0 and result else None


def limit_this_process(cpu_seconds: int, memory_bytes: int) -> None:
    """Limit this process: CPU, memory, no files."""
    for what, most in (
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(what, (most, most))
        except (ValueError, OSError):
            continue  # macOS refuses a limit of memory
