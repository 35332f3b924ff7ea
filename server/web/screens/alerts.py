"""The screen of alerts: the open ones with their causes, the resolved ones, and a page for each."""

from typing import Final

from litestar import get, post
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct

from server.dispatch import commands as c
from server.dispatch.alerts import RESOLVES_BELOW
from server.dispatch.refusals import Refusal
from server.ids import canonical
from server.store.reads import notices as record
from server.store.reads.alerts import (
    AlertWithText,
    read_alert,
    read_alert_with_text,
    read_open_alerts,
    read_past_alerts,
)
from server.store.reads.zone_numbers import DeliveryBehind, DriverBehind, read_behind, read_numbers_now
from server.texts.speech import said
from server.web.access.guards import OPS, VIEWERS
from server.web.access.sessions import FORM
from server.web.api.alerts import just_acknowledged
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import existing, not_found
from server.web.screens.live_lists import acted, address, chosen_of, live, refused_here
from server.web.screens.shell import with_now

PATH: Final = "/alerts"
TOPIC: Final = "watch"
PAST_PAGE: Final = 30
BEHIND_SHOWN: Final = 6
NOTICES_SHOWN: Final = 20


class AlertWithCauses(Struct, frozen=True):
    """An alert with its number now (None if it is resolved) and its causes."""

    alert: AlertWithText
    now: float | None
    deliveries: list[DeliveryBehind]
    drivers: list[DriverBehind]

    @property
    def resolves_below(self) -> float:
        """The number below which it resolves."""
        return self.alert.threshold * RESOLVES_BELOW


async def _with_causes(request: Call, alerts: list[AlertWithText]) -> list[AlertWithCauses]:
    node = node_of(request)
    pool, policy = node.database.pool, node.policies.current.alerts
    numbers = await read_numbers_now(
        pool, [(alert.id, alert.kind, alert.zone) for alert in alerts if alert.resolved_at is None], policy
    )
    found = []
    for alert in alerts:
        now = numbers.get(alert.id)
        deliveries, drivers = await read_behind(pool, alert, node.clock.now(), policy.window_minutes)
        found.append(AlertWithCauses(alert, now, deliveries, drivers))
    return found


@get(with_now(PATH), guards=[VIEWERS])
async def alerts(request: Call) -> ASGIResponse:
    """The open ones, and the resolved ones."""
    pool = pool_of(request)
    before = canonical(chosen_of(request, "before") or "")
    past = await read_past_alerts(pool, before, PAST_PAGE + 1)
    return await live(
        request,
        "watch/alerts",
        nav="alerts",
        topic=TOPIC if before is None else None,
        now=address(f"{PATH}/now", before=before),
        open=await _with_causes(request, await read_open_alerts(pool)),
        past=past[:PAST_PAGE],
        before=before,
        older=address(PATH, before=past[PAST_PAGE - 1].id) if len(past) > PAST_PAGE else None,
        shown=BEHIND_SHOWN,
        policy=node_of(request).policies.current.alerts,
    )


@get(with_now(f"{PATH}/{{alert_id:str}}"), guards=[VIEWERS])
async def alert(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    """One alert: its causes, and its notices."""
    pool = pool_of(request)
    known = id_in_path(alert_id)
    found = existing(await read_alert_with_text(pool, known))
    (shown,) = await _with_causes(request, [found])
    listed = await record.read_notices(pool, record.NoticeFilter(alert_id=known), record.START, NOTICES_SHOWN)
    now = f"{PATH}/{known}/now"
    return await live(
        request, "watch/alert", nav="alerts", topic=TOPIC, now=now, s=shown, notices=listed.notices, shown=None
    )


@post(f"{PATH}/{{alert_id:str}}/acknowledge", guards=[OPS], status_code=200, opt={FORM: True})
async def acknowledge(request: Call, alert_id: FromPath[str]) -> ASGIResponse:
    """Acknowledge it; the first person who did so keeps it."""
    node = node_of(request)
    known = id_in_path(alert_id)
    if await read_alert_with_text(node.database.pool, known) is None:
        raise not_found()
    answer = await node.executor.submit(c.AcknowledgeAlert(known, request.user.actor))
    if isinstance(answer, Refusal):
        return refused_here(request, answer, PATH)
    alert = just_acknowledged(answer) or await read_alert(node.database.pool, known)
    return acted(
        request,
        said("Alert acknowledged by {person}.", person=alert.acknowledged_by if alert else request.user.subject),
        PATH,
    )
