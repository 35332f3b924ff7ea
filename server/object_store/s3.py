"""A bucket of an S3-compatible store, for photos and signatures. It is used only if the settings name one.

obstore makes the calls: it signs, retries and needs no threads. It is imported with the first call.
"""

import asyncio
import re
from collections.abc import Awaitable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar

from prometheus_client import Counter

from server.settings import Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

CONNECT_SECONDS: Final = 3
CALL_SECONDS: Final = 10
RETRIES: Final = 2
TOTAL_SECONDS: Final = 20.0
"""The limit of a call with its retries."""
CHECK_KEY: Final = "callboard-check"
"""An object without content that nodes write to see whether the store takes files."""

CALLS: Final = Counter("callboard_object_store_calls", "Calls to the S3-compatible store", ["call", "outcome"])

T = TypeVar("T")


class ObjectStoreAway(Exception):
    """The store could not be reached, or refused the call: why, in one line."""


class ObjectStore:
    """Puts, gets and deletes objects. `problem` says why the last call failed; None after a success."""

    def __init__(self, settings: Settings) -> None:
        self.problem: str | None = None
        self._settings = settings
        self._opened: S3Store | None = None

    @property
    def place(self) -> str:
        """The bucket and where it is."""
        return f"bucket {self._settings.proofs_s3_bucket} at {self._settings.proofs_s3_endpoint or 'AWS'}"

    async def put(self, key: str, content: bytes, media_type: str) -> None:
        """Store an object. Raises ObjectStoreAway; then the object may be there or not."""
        import obstore

        attributes: Any = {"Content-Type": media_type}
        store = self._store()
        await self._call("put", obstore.put_async(store, key, content, attributes=attributes, use_multipart=False))

    async def get(self, key: str) -> bytes | None:
        """The content of an object; None if there is none. Raises ObjectStoreAway."""
        try:
            return await self._call("get", self._content(key))
        except _Missing:
            return None

    async def delete(self, key: str) -> None:
        import obstore

        await self._call("delete", obstore.delete_async(self._store(), key))

    async def check(self) -> None:
        """Write a small object, to see whether the store takes files. Raises ObjectStoreAway."""
        await self.put(CHECK_KEY, b"", "text/plain")

    async def _content(self, key: str) -> bytes:
        import obstore

        try:
            found = await obstore.get_async(self._store(), key)
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            raise _Missing from None
        return bytes(await found.bytes_async())

    async def _call(self, name: str, call: Awaitable[T]) -> T:
        from obstore.exceptions import BaseError

        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                answer = await call
        except _Missing:
            self.problem = None
            raise
        except (BaseError, OSError, TimeoutError) as error:
            self.problem = _in_one_line(error)
            CALLS.labels(name, "failed").inc()
            raise ObjectStoreAway(self.problem) from None
        self.problem = None
        CALLS.labels(name, "done").inc()
        return answer

    def _store(self) -> "S3Store":
        if self._opened is None:
            from obstore.store import S3Store

            wanted = self._settings
            given = {
                "endpoint": wanted.proofs_s3_endpoint,
                "access_key_id": wanted.proofs_s3_access_key,
                "secret_access_key": wanted.proofs_s3_secret_key,
            }
            config: Any = {"region": wanted.proofs_s3_region} | {name: value for name, value in given.items() if value}
            self._opened = S3Store(
                wanted.proofs_s3_bucket,
                prefix=wanted.proofs_s3_prefix or None,
                config=config,
                client_options={
                    "allow_http": wanted.proofs_s3_endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "timeout": timedelta(seconds=CALL_SECONDS),
                },
                retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=CALL_SECONDS)},
            )
        return self._opened


class _Missing(Exception):
    """There is no such object."""


def _in_one_line(error: BaseException) -> str:
    """Why a call failed. obstore's texts name the URL, the status and the store's code, and no key or secret."""
    if isinstance(error, TimeoutError):
        return f"no answer within {TOTAL_SECONDS:g} s"
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    first = " ".join(text.partition("\n")[0].split())
    status = re.search(r"status code: (.*?)(?::|$)", first)
    if code is not None:
        return f"{status.group(1)}, {code.group(1)}" if status is not None else code.group(1)
    return first.rpartition("Error performing ")[2] or type(error).__name__
