"""A response of server-sent events."""

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from litestar.response.streaming import ASGIStreamingResponse
from litestar.types import Receive, Scope, Send

EVENT_STREAM: Final = "text/event-stream"


class EventStream(ASGIStreamingResponse):
    """A stream to one client. `ended` is called however it ends: it frees the place of the client."""

    def __init__(self, events: AsyncIterator[bytes], headers: Mapping[str, str], ended: Callable[[], None]) -> None:
        super().__init__(
            iterator=events,
            media_type=EVENT_STREAM,
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no", **headers},
        )
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes or the stream is closed."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._ended()
