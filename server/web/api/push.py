"""The HTTP API of web push: the server's key, and the subscriptions of a driver's browsers."""

from typing import Final

from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from server.ids import new_id
from server.notify.push_message import mistake_in_auth, mistake_in_endpoint, mistake_in_p256dh, origin_of
from server.store import push_subscriptions as store
from server.store.queues.push_notices import note_shown
from server.store.reads.drivers import driver_exists
from server.web.access.guards import ANY_DRIVER_AND_VIEWERS, THE_DRIVER, THE_DRIVER_AND_ADMIN, THE_DRIVER_AND_VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import PATH, TAG, driver_of
from server.web.api.endpoint import Body, answer, endpoint, id_in_path, no_content
from server.web.http.caller import Call
from server.web.http.calls import node_of, pool_of
from server.web.http.errors import FieldError, invalid, not_found, unauthorized

SUBSCRIPTION: Final = Body(s.NewPushSubscription)
SUBSCRIPTIONS: Final = PATH + "/push-subscriptions"


@endpoint(
    "GET",
    "/drivers/push-key",
    tag=TAG,
    summary="Get the `applicationServerKey` for push subscriptions.",
    guard=ANY_DRIVER_AND_VIEWERS,
    answers={200: a.PushKeyView},
)
async def get_push_key(request: Call) -> ASGIResponse:
    return answer(a.PushKeyView((await node_of(request).push.signer()).public_key))


@endpoint(
    "POST",
    SUBSCRIPTIONS,
    tag=TAG,
    summary="Subscribe a browser to pushes of offers for a closed driver page, until the token or device ends.",
    guard=THE_DRIVER,
    body=SUBSCRIPTION,
    answers={201: a.PushSubscriptionView},
)
async def add_push_subscription(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    new = await SUBSCRIPTION.of(request)
    known = await driver_of(request, driver_id)
    node = node_of(request)
    mistakes = {
        "endpoint": mistake_in_endpoint(new.endpoint, allow_private=node.settings.webhooks_allow_private),
        "keys.p256dh": mistake_in_p256dh(new.keys.p256dh),
        "keys.auth": mistake_in_auth(new.keys.auth),
    }
    found = [FieldError(field, mistake) for field, mistake in mistakes.items() if mistake is not None]
    if found:
        raise invalid(found)
    added = await store.add_subscription(
        node.database.pool,
        new_id(),
        known,
        new.endpoint,
        new.keys.p256dh.rstrip("="),
        new.keys.auth.rstrip("="),
        request.user.expires_at,
        request.user.device,
    )
    if added is None:
        raise unauthorized("This device is signed out. Sign in with a new invitation.")
    node.push.look()
    return answer(subscription_view(added), 201)


@endpoint(
    "GET",
    SUBSCRIPTIONS,
    tag=TAG,
    summary="List the browsers that get pushes for this driver.",
    guard=THE_DRIVER_AND_VIEWERS,
    answers={200: a.PushSubscriptionsView},
)
async def list_push_subscriptions(request: Call, driver_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    node = node_of(request)
    if not await driver_exists(node.database.pool, known):
        raise not_found()
    found = await store.read_subscriptions(node.database.pool, known)
    return answer(a.PushSubscriptionsView([subscription_view(row) for row in found]))


@endpoint(
    "DELETE",
    SUBSCRIPTIONS + "/{subscription_id:str}",
    tag=TAG,
    summary="Delete a push subscription.",
    guard=THE_DRIVER_AND_ADMIN,
    answers={204: None},
)
async def remove_push_subscription(
    request: Call, driver_id: FromPath[str], subscription_id: FromPath[str]
) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    if not await store.remove_subscription(pool_of(request), known, id_in_path(subscription_id)):
        raise not_found()
    return no_content()


@endpoint(
    "POST",
    PATH + "/pushes/{push_id:str}/shown",
    tag=TAG,
    summary="Report that a browser has displayed a push. Only the app can report `received`.",
    guard=THE_DRIVER,
    answers={204: None},
)
async def confirm_push(request: Call, driver_id: FromPath[str], push_id: FromPath[str]) -> ASGIResponse:
    known = await driver_of(request, driver_id)
    if not await note_shown(pool_of(request), known, id_in_path(push_id)):
        raise not_found()
    return no_content()


def subscription_view(row: store.Subscription) -> a.PushSubscriptionView:
    """The view of a subscription."""
    return a.view(a.PushSubscriptionView, row, service=origin_of(row.endpoint))
