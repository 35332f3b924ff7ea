"""Health and metrics, for load balancers and Prometheus. These endpoints need no API token."""

import asyncio
import time
from hmac import compare_digest
from typing import Any, Final, Literal

from litestar import get
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.plugins.prometheus import PrometheusConfig, PrometheusMiddleware
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import UNSET, Struct, UnsetType
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram

from server.node import Node
from server.store.leases import DISPATCHER, lease_state
from server.store.query import DatabaseAway
from server.web.access.tokens import bearer
from server.web.api.endpoint import answer, endpoint
from server.web.http.caller import AsgiConnection, Call
from server.web.http.errors import unauthorized
from server.worker_metrics import exposition

CHECK_SECONDS: Final = 1.0


UpOrDown = Literal["up", "down"]


class Components(Struct, frozen=True):
    """What a node depends on. `dispatcher` is `up` while any node holds the lease. `proofs` is there if they are in
    an S3-compatible store.
    """

    database: UpOrDown
    redis: UpOrDown
    dispatcher: UpOrDown
    proofs: UpOrDown | UnsetType = UNSET


class Health(Struct, frozen=True):
    """`degraded`: the node works, but slower, or no node dispatches now. `down`: do not send requests here."""

    status: Literal["ok", "degraded", "down"]
    components: Components


class Alive(Struct, frozen=True):
    """The process answers."""

    status: Literal["ok"] = "ok"


@endpoint("GET /health/live", "Check that the process answers.", None)
async def live(request: Call) -> Alive:
    return Alive()


@endpoint("GET /health/ready", "Check that this node is ready for work.", None, answers={200: Health, 503: Health})
async def ready(request: Call) -> ASGIResponse:
    found = await health(request.app.state.node)
    return answer(found, 503 if found.status == "down" else 200)


async def health(node: Node) -> Health:
    """The health of a node. It is down without a writable database, and while it stops."""
    database: UpOrDown = "up"
    dispatched = False
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            lease = await lease_state(node.database.pool, DISPATCHER)
            dispatched = lease.held
            if lease.read_only:
                node.database.retire()
            if lease.read_only or not (node.hub.draining or await node.heartbeat.takes_writes()):
                database = "down"
    except (DatabaseAway, TimeoutError):
        database = "down"
    redis: UpOrDown = "up" if node.bus.connected else "down"
    dispatcher: UpOrDown = "up" if dispatched else "down"
    proofs: UpOrDown | UnsetType = UNSET
    if node.object_store is not None:
        proofs = "up" if node.object_store.problem is None else "down"
    components = Components(database, redis, dispatcher, proofs)
    if database == "down" or node.hub.draining:
        return Health("down", components)
    return Health("ok" if redis == dispatcher == "up" and proofs != "down" else "degraded", components)


async def may_scrape(connection: AsgiConnection, _: BaseRouteHandler) -> None:
    """Requires the metrics token, if the settings have one."""
    wanted = connection.app.state.settings.metrics_token
    given = bearer(connection.scope["headers"])
    if wanted and (given is None or not compare_digest(given.encode(), wanted.encode())):
        raise unauthorized("Send the metrics token: `Authorization: Bearer ...`.")


@get("/metrics", guards=[may_scrape])
async def metrics(request: Call) -> ASGIResponse:
    text = await exposition(request.app.state.siblings)
    return ASGIResponse(body=text, headers={"content-type": CONTENT_TYPE_LATEST})


class CountedRequests(PrometheusMiddleware):
    """The metrics of Litestar's plugin, cheaper: it looks up the labels of a route once, not per request."""

    def __init__(self, app: ASGIApp, config: PrometheusConfig) -> None:
        super().__init__(app, config)
        self._in_progress: dict[tuple[str, str], Any] = {}
        self._done: dict[tuple[str, str, int], tuple[Any, Any, Any]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path_template"]  # type: ignore[typeddict-item]
        in_progress = self._in_progress.get((method, path))
        if in_progress is None:
            labels = self._labels(method, path, 200)
            in_progress = self._in_progress[method, path] = self.requests_in_progress(labels).labels(*labels.values())
        status = 200
        started = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        in_progress.inc()
        try:
            await self.app(scope, receive, noting)
        finally:
            in_progress.dec()
            count, duration, errors = self._done.get((method, path, status)) or self._new(method, path, status)
            count.inc()
            duration.observe(time.perf_counter() - started)
            if status >= 500:
                errors.inc()

    def _new(self, method: str, path: str, status: int) -> tuple[Counter, Histogram, Counter]:
        labels = self._labels(method, path, status)
        values = labels.values()
        done = (
            self.request_count(labels).labels(*values),
            self.request_time(labels).labels(*values),
            self.requests_error_count(labels).labels(*values),
        )
        self._done[method, path, status] = done
        return done

    def _labels(self, method: str, path: str, status: int) -> dict[str, str | int | float]:
        return {"method": method, "path": path, "status_code": status, "app_name": self._config.app_name}


METRICS: Final = PrometheusConfig(
    app_name="callboard",
    prefix="callboard_http",
    group_path=True,
    scopes={ScopeType.HTTP},
    middleware_class=CountedRequests,
    buckets=[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5],
)
