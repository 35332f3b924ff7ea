"""The pages of one delivery and of one driver: facts, a map, everything that happened; live."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import msgspec
from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.board.candidates import CALLABLE, choices
from server.board.picture import Gone
from server.board.timeline import by, tell
from server.contract.tracking import tracking_view
from server.contract.views import NOTHING_EXPECTED, driver_view
from server.dispatch.availability import gone_since
from server.dispatch.deliveries import restorable_until
from server.dispatch.driver_actions import PIN_TRIES
from server.dispatch.escalation import next_level_at
from server.dispatch.model import OVER, Actor, Delivery, Driver
from server.dispatch.policy import search_radius_km
from server.dispatch.takeovers import two_devices
from server.dispatch.travel import road_km
from server.store.query import database_errors
from server.store.reads.board_driver import answers_of, offers_of, stops_of, work_of
from server.store.reads.chat import read_chat
from server.store.reads.connections import connections_of
from server.store.reads.deliveries import TimelineEvent, read_delivery, read_timeline
from server.store.reads.drivers import AvailabilityChange, off_shift_drivers, read_driver, read_history, read_names
from server.store.reads.notices import read_about
from server.store.reads.waiting import read_deliveries
from server.web.access.guards import VIEWERS
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.errors import existing, not_found
from server.web.screens.board_steps import steps_of
from server.web.screens.order_fields import PROOFS
from server.web.screens.shell import page_or_now, with_now

TIMELINE_LIMIT: Final = 2_000
NOTICES_LIMIT: Final = 500
HISTORY_LIMIT: Final = 50
MESSAGES_LIMIT: Final = 20
ONE_MINUTE: Final = timedelta(minutes=1)


@get(with_now("/board/deliveries/{delivery_id:str}"), guards=[VIEWERS])
async def delivery_page(request: Call, delivery_id: FromPath[str]) -> ASGIResponse:
    return await page_or_now(request, "board/delivery", {"nav": "board", **await _delivery(request, delivery_id)})


async def _delivery(request: Call, text: str) -> dict[str, object]:
    known = id_in_path(text)
    node = node_of(request)
    pool, policy = node.database.pool, node.policies.current
    with database_errors():
        found = (await read_deliveries(pool, [known])).get(known)
    if found is None:
        raise not_found()
    events = await read_timeline(pool, known, 0, TIMELINE_LIMIT) or []
    notices = await read_about(pool, known, NOTICES_LIMIT)
    offer, assignment, last = found.open_offer(), found.assignment(), found.last_assignment()
    if last is not None and (
        (found.status in ("FAILED", "RETURNED") and last.failed_at is not None)
        or (found.status == "CANCELLED" and last.status == "CANCELLED")
    ):
        assignment = last
    ids = [part.driver_id for part in (offer, assignment) if part is not None]
    waits = found.status == "READY"
    searched = await read_delivery(pool, known) if waits and offer is None else None
    nearest = searched.unassigned.nearest if searched is not None and searched.unassigned is not None else None
    names = await read_names(pool, [*ids, nearest.driver_id] if nearest is not None else ids)
    driver = await read_driver(pool, ids[0]) if ids else None
    carried = found.active_assignment() is not None
    now = node.clock.now()
    expected = (await node.forecasts.expected([found])).get(known, NOTHING_EXPECTED)
    done = last.details if last is not None and not found.erased else None
    wait = found.unassigned
    return {
        "d": found,
        "restorable_until": restorable_until(found),
        "steps": steps_of(found, node.clock.now()),
        "tiles": node.settings.map_tiles,
        "attribution": node.settings.map_attribution,
        "now": now,
        "policy": policy,
        "expected": expected,
        "assigned_in": _minutes_until(expected.assignment_at, now),
        "tracking_url": _tracking_url(request, found, now),
        "wait": wait if waits else None,
        "nearest": nearest,
        "off_shift": await off_shift_drivers(pool, [found.zone, *node.zones.current.helpers(found.zone)], CALLABLE)
        if waits
        else [],
        "around": await choices(pool, found, policy, None, node.zones.current.helpers(found.zone)) if waits else [],
        "level": wait.escalation_level if wait is not None else 0,
        "next_at": next_level_at(wait.escalation_level, found.unassigned_since, policy) if wait is not None else None,
        "offer": offer,
        "assignment": assignment,
        "cancelled": _cancelled(events) if found.status == "CANCELLED" else None,
        "asked": [PROOFS[one] for one in found.details.proof_required],
        "pin": found.details.pin if _may_see_pin(request) and found.status not in OVER else None,
        "pin_locked": done.pin_tries if carried and done is not None and done.pin_tries >= PIN_TRIES else None,
        "proofs": done.proofs if done is not None else (),
        "handover": done.handover if done is not None else None,
        "names": names,
        "driver_at": driver.position if driver is not None else None,
        "gone": _gone(request, driver) if driver is not None and carried else None,
        "km": road_km(found.pickup, found.dropoff, policy),
        "radius_km": search_radius_km(found.widened_at is not None, policy),
        "story": list(reversed(await tell(pool, events, notices))),
    }


def _cancelled(events: Sequence[TimelineEvent]) -> tuple[datetime, str | None] | None:
    """When the order was cancelled, and why."""
    for event in reversed(events):
        if event.type == "delivery.cancelled":
            return event.at, msgspec.json.decode(event.data).get("reason")
    return None


def _may_see_pin(request: Call) -> bool:
    return request.user.role in ("ops", "admin")


def _tracking_url(request: Call, delivery: Delivery, now: datetime) -> str | None:
    """The customer's link, for those who may see what it shows."""
    if not _may_see_pin(request) or tracking_view(delivery, None, now, None) is None:
        return None
    return node_of(request).tracking_links.url(delivery.id)


def _minutes_until(at: datetime | None, now: datetime) -> int | None:
    return max(0, ceil((at - now) / ONE_MINUTE)) if at is not None else None


def _gone(request: Call, driver: Driver) -> Gone | None:
    node = node_of(request)
    since = gone_since(driver, node.clock.now(), node.policies.current)
    return Gone(since, driver.phone) if since is not None else None


@get(with_now("/board/drivers/{driver_id:str}"), guards=[VIEWERS])
async def driver_page(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    return await page_or_now(request, "board/driver", {"nav": "board", **await _driver(request, driver_id)})


async def _driver(request: Call, text: str) -> dict[str, object]:
    known = id_in_path(text)
    node = node_of(request)
    pool = node.database.pool
    driver = existing(await read_driver(pool, known))
    history = await read_history(pool, known, None, HISTORY_LIMIT) or []
    answers = await answers_of(pool, known)
    work = await work_of(pool, known)
    state = "busy" if driver.availability == "available" and driver.busy else driver.availability
    began = [one.created_at for one in work] if state == "busy" else []
    return {
        "driver": driver,
        "tiles": node.settings.map_tiles,
        "attribution": node.settings.map_attribution,
        "now": node.clock.now(),
        "state": state,
        "state_since": max(driver.last_availability_change, *began) if began else driver.last_availability_change,
        "gone": _gone(request, driver) if driver.active_count else None,
        "two_devices": two_devices(await connections_of(pool, known)),
        "last_seen": driver_view(driver).last_seen_at,
        "work": work,
        "run": await stops_of(pool, known) if driver.active_count > 1 else [],
        "offers": await offers_of(pool, known, HISTORY_LIMIT),
        "answers": answers,
        "acceptance": answers.accepted / answers.offers if answers.offers else None,
        "history": _history(history, driver),
        "chat": await read_chat(pool, known, None, MESSAGES_LIMIT),
    }


def _history(history: Sequence[AvailabilityChange], driver: Driver) -> list[tuple[AvailabilityChange, str]]:
    return [(change, by(Actor(change.actor_type, change.actor_id), {driver.id: driver.name})) for change in history]
