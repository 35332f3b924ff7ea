"""A real S3-compatible server on a folder: rclone, which checks the signatures of requests."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.waiting import until

BUCKET = "proofs"
KEY, SECRET = "callboard-tests", "the-secret-key-of-the-store"


class S3Server:
    """`start` it; `stop` it at any time, and start it again on the same address."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / BUCKET).mkdir(parents=True)
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self.port: int = found.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a node that keeps proofs here."""
        return {
            "proofs_s3_bucket": BUCKET,
            "proofs_s3_endpoint": self.url,
            "proofs_s3_access_key": KEY,
            "proofs_s3_secret_key": SECRET,
            "proofs_s3_prefix": "photos",
        }

    def objects(self) -> dict[str, bytes]:
        """Everything that is stored, without what nodes write to check the store."""
        files = [path for path in (self._folder / BUCKET).rglob("*") if path.is_file()]
        found = {path.relative_to(self._folder / BUCKET).as_posix(): path.read_bytes() for path in files}
        return {key: content for key, content in found.items() if not key.endswith("callboard-check")}

    def forget(self) -> None:
        """Lose everything that is stored."""
        for path in (self._folder / BUCKET).rglob("*"):
            if path.is_file():
                path.unlink()

    async def start(self) -> None:
        command = [
            *(str(Path(sys.executable).parent / "rclone"), "serve", "s3", str(self._folder)),
            *("--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{KEY},{SECRET}", "--config", ""),
        ]
        env = {"PATH": os.defpath, "HOME": str(self._folder)}
        self._process = await asyncio.to_thread(
            subprocess.Popen, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env
        )
        await until(self._answers)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    def stop(self) -> None:
        """Harmless if it is stopped already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
