"""The HTTP API of deliveries: create, read, change, offer and cancel them."""

from datetime import datetime
from typing import Annotated, Final, TypeAlias

import msgspec
from litestar.response.base import ASGIResponse
from msgspec import UNSET, UnsetType

from server.contract.action_urls import with_root
from server.contract.commit import Answer
from server.contract.seller_views import without_drivers, without_the_driver
from server.contract.views import NOTHING_EXPECTED, DeliveryView, Expected, delivery_view, instant
from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.model import Delivery
from server.dispatcher.search_on_request import NoDriverFound
from server.ids import new_id
from server.node import Node
from server.store.query import DatabaseAway, database_errors
from server.store.reads.deliveries import TimelineEvent, goods_moved_by, read_delivery, read_timeline, seller_of
from server.store.reads.delivery_search import DeliveryFilter, find_deliveries
from server.web.access.guards import OPS, SELLERS_AND_OPS, SELLERS_AND_VIEWERS, SERVICE_AND_VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.delivery_commands import change, creation, utc
from server.web.api.endpoint import MayBeMissing, PathId, answer, endpoint, given, id_in_path
from server.web.api.geocoding import LocatedBody
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of, submit
from server.web.http.errors import existing, invalid_field, not_found, refused, unless_refused
from server.web.http.paging import BY_ID, BY_NUMBER, Page

NEW_DELIVERY: Final = LocatedBody(s.NewDelivery)
CHANGE: Final = LocatedBody(s.ChangedDelivery)
FEWEST_CHARACTERS: Final = 3


async def delivery_of(request: Call, text: str) -> str:
    """The id in the path in its one form. Raises 404, also for a delivery that the caller's key is not for."""
    known = id_in_path(text)
    seller = request.user.seller
    if seller is not None and await seller_of(pool_of(request), known) != seller:
        raise not_found()
    return known


VisibleDelivery: TypeAlias = Annotated[str, delivery_of]


def _of_seller(request: Call, new: s.NewDelivery) -> s.NewDelivery:
    """The order as the caller's key may place it. Raises 404 for another seller's."""
    seller = request.user.seller
    if seller is None:
        return new
    if (new.seller_id or "").strip() not in ("", seller):
        raise not_found()
    return msgspec.structs.replace(new, seller_id=seller)


def _view(request: Call, delivery: Delivery, expected: Expected = NOTHING_EXPECTED) -> DeliveryView:
    """The view of a delivery, with its PIN and the customer's link, which shows it, if the caller's role may see it. A
    key of one seller does not get the name and phone of a driver who has the goods.
    """
    sees_pin = request.user.role in ("service", "ops", "admin")
    if request.user.seller is not None:
        delivery = without_the_driver(delivery)
    node = node_of(request)
    return delivery_view(
        delivery,
        node.policies.current,
        with_pin=sees_pin,
        expected=expected,
        tracking_url=node.tracking_links.url(delivery.id) if sees_pin else None,
    )


async def _shown(request: Call, delivery: Delivery) -> DeliveryView:
    """The view of a delivery with its times as they are expected now."""
    expected = await node_of(request).forecasts.expected([delivery])
    return _view(request, delivery, expected.get(delivery.id, NOTHING_EXPECTED))


async def _as_it_is_now(request: Call, delivery: Delivery) -> DeliveryView:
    """The view of a delivery that was just changed. It has no expected times if they cannot be read: `try_again` would
    say that nothing was done.
    """
    try:
        return await _shown(request, delivery)
    except DatabaseAway:
        return _view(request, delivery)


@endpoint(
    "POST /deliveries",
    "Create a delivery and start the search for a driver. Repeating the request is safe.",
    SELLERS_AND_OPS,
    r.DELIVERY_DIFFERS,
    answers={201: DeliveryView, 200: DeliveryView},
)
async def create_delivery(request: Call, new: Annotated[s.NewDelivery, NEW_DELIVERY]) -> ASGIResponse:
    done = await post_delivery(request, _of_seller(request, new))
    assert done.delivery is not None
    view = await _as_it_is_now(request, done.delivery) if done.decided.repeated else _view(request, done.delivery)
    return answer(view, 200 if done.decided.repeated else 201, {"Location": f"/deliveries/{view.id}"})


async def post_delivery(request: Call, new: s.NewDelivery, *, test: bool = False) -> Answer:
    """Create the delivery, or a test order, in the name of the caller. Raises 409, 422 or 503."""
    return await submit(request, creation(new, request.user.actor, test=test))


@endpoint("GET /deliveries", "List or search deliveries, newest first.", SELLERS_AND_VIEWERS)
async def list_deliveries(request: Call, query: s.DeliveriesQuery) -> Page[DeliveryView]:
    node = node_of(request)
    found = await find_deliveries(
        node.database.pool,
        await _wanted(node, query, request.user.seller),
        BY_ID.only(query.cursor),
        query.limit + 1,
    )
    known = await node.forecasts.expected(found)
    return BY_ID.page(
        found, query.limit, lambda d: (d.id,), lambda d: _view(request, d, known.get(d.id, NOTHING_EXPECTED))
    )


def _instant(text: str | UnsetType, field: str) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        return utc(msgspec.convert(text, s.Instant, strict=True), field)
    except msgspec.ValidationError:
        raise invalid_field(field, "must be an RFC 3339 instant with a time zone") from None


async def _wanted(node: Node, query: s.DeliveriesQuery, bound_to: str | None) -> DeliveryFilter:
    """The filter; with a key that is bound to a seller, only that seller's deliveries.

    Raises 404 for another seller, and 422 if `q` has fewer than three characters or an instant is out of range.
    """
    words = query.q.strip() if isinstance(query.q, str) else None
    if words is not None and len(words) < FEWEST_CHARACTERS:
        raise invalid_field("q", f"must have {FEWEST_CHARACTERS} characters or more")
    seller = query.seller_id.strip() if isinstance(query.seller_id, str) else bound_to
    if bound_to not in (None, seller):
        raise not_found()
    return DeliveryFilter(
        status=given(query.status),
        zone=await zone_of_query(node, query.zone),
        seller_order_id=query.seller_order_id.strip() if isinstance(query.seller_order_id, str) else None,
        seller_id=seller,
        driver_id=query.driver_id.lower() if isinstance(query.driver_id, str) else None,
        store=given(query.store),
        since=_instant(query.since, "from"),
        until=_instant(query.until, "to"),
        words=words,
        with_drivers=bound_to is None,  # a key of one seller gets no data of drivers
    )


@endpoint(
    "GET /deliveries/{delivery_id}", "Get a delivery with its active or completed assignment.", SELLERS_AND_VIEWERS
)
async def get_delivery(request: Call, delivery_id: VisibleDelivery) -> DeliveryView:
    found = existing(await read_delivery(pool_of(request), delivery_id))
    return await _shown(request, found)


@endpoint("GET /deliveries/{delivery_id}/timeline", "List the events of a delivery, oldest first.", SELLERS_AND_VIEWERS)
async def get_timeline(request: Call, delivery_id: VisibleDelivery, query: s.TimelineQuery) -> Page[a.TimelineItem]:
    after = BY_NUMBER.only(query.cursor) or 0
    found = existing(await read_timeline(pool_of(request), delivery_id, after, query.limit + 1))
    if request.user.seller is not None:
        moved_by = await goods_moved_by(pool_of(request), delivery_id)
        found = [_for_seller(event, goods_moved=moved_by is not None and event.id >= moved_by) for event in found]
    root = node_of(request).settings.root
    return BY_NUMBER.page(
        found, query.limit, lambda event: (event.id,), lambda event: timeline_item(_below(event, root))
    )


def _below(event: TimelineEvent, root: str) -> TimelineEvent:
    """The event with links that begin with `root`."""
    if not root or event.type != e.TicketCreated.type:
        return event
    data = with_root(bytes(event.data).decode(), root)
    return msgspec.structs.replace(event, data=msgspec.Raw(data.encode()))


def _for_seller(event: TimelineEvent, *, goods_moved: bool) -> TimelineEvent:
    """The event for a key of one seller."""
    data = without_drivers(msgspec.json.decode(event.data), goods_moved=goods_moved)
    return msgspec.structs.replace(event, data=msgspec.Raw(msgspec.json.encode(data)))


def timeline_item(event: TimelineEvent) -> a.TimelineItem:
    return a.TimelineItem(
        instant(event.at),
        event.type,
        a.ActorView(event.actor.type, event.actor.id),
        event.data,
        event.driver_id if event.driver_id is not None else UNSET,
        event.offer_id if event.offer_id is not None else UNSET,
        event.assignment_id if event.assignment_id is not None else UNSET,
    )


@endpoint(
    "GET /deliveries/{delivery_id}/candidates",
    "Show which driver a search would choose now, and why not the others.",
    SERVICE_AND_VIEWERS,
)
async def get_candidates(request: Call, delivery_id: PathId) -> a.CandidatesView:
    with database_errors():
        found = await node_of(request).on_request.candidates(delivery_id)
    if found is None:
        raise not_found()
    why = found.no_driver
    return a.CandidatesView(
        found.taken,
        [a.view(a.NotChosen, one) for one in found.not_taken],
        why.reason if why is not None else None,
        why.nearest if why is not None else None,
    )


@endpoint(
    "POST /deliveries/{delivery_id}/assign",
    "Search for a driver now and offer them the delivery.",
    SELLERS_AND_OPS,
    r.NO_DRIVER_AVAILABLE,
    r.DELIVERY_NOT_WAITING,
    answers={201: a.OfferStarted, 200: a.OfferStarted},
)
async def assign_delivery(request: Call, delivery_id: VisibleDelivery, _: MayBeMissing[s.EmptyBody]) -> ASGIResponse:
    found = await node_of(request).on_request.search(delivery_id, request.user.actor)
    if isinstance(found, NoDriverFound):
        # A key of one seller gets no data of drivers.
        alone = request.user.seller is not None
        raise refused(
            r.NO_DRIVER_AVAILABLE,
            failureReason=found.failure_reason,
            reasons=[] if alone else [a.view(a.NotChosen, one) for one in found.not_taken],
            nearest=None if alone else found.nearest,
        )
    done = unless_refused(found)
    offer = done.offer
    assert offer is not None
    started = a.OfferStarted(offer.id, offer.driver_id, instant(offer.expires_at))
    return answer(started, 200 if done.decided.repeated else 201)


@endpoint(
    "POST /deliveries/{delivery_id}/cancel",
    "Cancel a delivery before pickup; ops and admins can also cancel it after pickup, with `force`.",
    SELLERS_AND_OPS,
    r.ALREADY_PICKED_UP,
    r.ALREADY_DELIVERED,
    r.VERSION_CHANGED,
)
async def cancel_delivery(request: Call, delivery_id: VisibleDelivery, why: s.Cancellation) -> DeliveryView:
    command = c.CancelDelivery(delivery_id, why.reason, request.user.actor, why.force, why.version)
    return await _done(request, command)


@endpoint(
    "PATCH /deliveries/{delivery_id}",
    "Change an order; null clears a field. An open offer that the change affects is replaced.",
    SELLERS_AND_OPS,
    r.VERSION_CHANGED,
    r.ALREADY_PICKED_UP,
    r.DELIVERY_OVER,
)
async def change_delivery(
    request: Call, delivery_id: VisibleDelivery, new: Annotated[s.ChangedDelivery, CHANGE]
) -> DeliveryView:
    done = await patch_delivery(request, delivery_id, new)
    assert done.delivery is not None
    return await _as_it_is_now(request, done.delivery)


async def patch_delivery(request: Call, delivery_id: str, new: s.ChangedDelivery) -> Answer:
    """Change the delivery in the name of the caller. Raises 404, 409, 422 or 503."""
    return await submit(request, change(delivery_id, new, request.user.actor))


@endpoint(
    "POST /deliveries/{delivery_id}/ready",
    "Report that the goods are ready now.",
    SELLERS_AND_OPS,
    r.ALREADY_PICKED_UP,
    r.DELIVERY_OVER,
)
async def mark_ready(request: Call, delivery_id: VisibleDelivery, _: MayBeMissing[s.EmptyBody]) -> DeliveryView:
    return await _done(request, c.MarkReady(delivery_id, new_id(), request.user.actor))


@endpoint(
    "POST /deliveries/{delivery_id}/delay",
    "Report a delay of the goods, in minutes from the time when they should be ready, or from now if later.",
    SELLERS_AND_OPS,
    r.ALREADY_PICKED_UP,
    r.DELIVERY_OVER,
    r.VERSION_CHANGED,
)
async def delay_delivery(request: Call, delivery_id: VisibleDelivery, wanted: s.Delay) -> DeliveryView:
    actor = request.user.actor
    return await _done(
        request, c.DelayDelivery(delivery_id, wanted.minutes, new_id(), actor, wanted.reason, wanted.version)
    )


@endpoint(
    "POST /deliveries/{delivery_id}/restore",
    "Restore a delivery within 10 minutes of its cancellation. It waits for a driver again, or for its `dispatchAt`.",
    OPS,
    r.NOT_CANCELLED,
    r.TOO_LATE_TO_RESTORE,
    r.ALREADY_PICKED_UP,
    r.DELIVERY_ERASED,
)
async def restore_delivery(request: Call, delivery_id: PathId, _: MayBeMissing[s.EmptyBody]) -> DeliveryView:
    return await _done(request, c.RestoreDelivery(delivery_id, request.user.actor))


@endpoint(
    "POST /deliveries/{delivery_id}/retry",
    "Retry a failed or returned delivery, from the place where the goods are.",
    OPS,
    r.NOT_FAILED,
    r.DELIVERY_ERASED,
)
async def retry_delivery(request: Call, delivery_id: PathId, why: s.Retry) -> DeliveryView:
    return await _done(request, c.RetryDelivery(delivery_id, why.reason, request.user.actor))


async def _done(request: Call, command: c.Command) -> DeliveryView:
    done = await submit(request, command)
    assert done.delivery is not None
    return await _as_it_is_now(request, done.delivery)
