"""The rows of `notices`: what people in ops are told by name, saved with the events."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from server.contract.notices import Severity, ops_notice
from server.dispatch import events as e
from server.dispatch.world import World
from server.ids import new_id


class NoticeRow(Struct, frozen=True):
    """What of a notice is known when it is made. `link` is a path on the board."""

    id: str
    kind: str
    severity: Severity
    zone: str
    delivery_id: str | None
    alert_id: str | None
    text: str
    link: str
    created_at: datetime


def notice_rows(events: Iterable[e.Event], world: World) -> list[NoticeRow]:
    """The notices of a batch."""
    rows = []
    for event in events:
        notice = ops_notice(event, world)
        if notice is None:
            continue
        delivery_id, alert_id = notice.delivery_id, notice.alert_id
        link = "/board" if delivery_id is None else f"/admin/unassigned-orders/{delivery_id}"
        about = (notice.severity, notice.zone, delivery_id, alert_id, notice.text, link)
        rows.append(NoticeRow(new_id(), event.type, *about, event.at))
    return rows
