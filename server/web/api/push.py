"""The HTTP API of web push: the server's key, and the subscriptions of a driver's browsers."""

from server.ids import new_id
from server.notify.push_message import mistake_in_auth, mistake_in_endpoint, mistake_in_p256dh, origin_of
from server.store import push_subscriptions as store
from server.store.queues.push_notices import note_shown
from server.store.reads.drivers import driver_exists
from server.web.access.guards import ANY_DRIVER_AND_VIEWERS, THE_DRIVER, THE_DRIVER_AND_ADMIN, THE_DRIVER_AND_VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import CallingDriver
from server.web.api.endpoint import PathId, endpoint
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import FieldError, invalid, not_found, unauthorized


@endpoint("GET /drivers/push-key", "Get the `applicationServerKey` for push subscriptions.", ANY_DRIVER_AND_VIEWERS)
async def get_push_key(request: Call) -> a.PushKeyView:
    return a.PushKeyView((await node_of(request).push.signer()).public_key)


@endpoint(
    "POST /drivers/{driver_id}/push-subscriptions",
    "Subscribe a browser to pushes of offers for a closed driver page, until the token or device ends.",
    THE_DRIVER,
    status=201,
)
async def add_push_subscription(
    request: Call, driver_id: CallingDriver, new: s.NewPushSubscription
) -> a.PushSubscriptionView:
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
        driver_id,
        new.endpoint,
        new.keys.p256dh.rstrip("="),
        new.keys.auth.rstrip("="),
        request.user.expires_at,
        request.user.device,
    )
    if added is None:
        raise unauthorized("This device is signed out. Sign in with a new invitation.")
    node.push.look()
    return subscription_view(added)


@endpoint(
    "GET /drivers/{driver_id}/push-subscriptions",
    "List the browsers that get pushes for this driver.",
    THE_DRIVER_AND_VIEWERS,
)
async def list_push_subscriptions(request: Call, driver_id: CallingDriver) -> a.PushSubscriptionsView:
    node = node_of(request)
    if not await driver_exists(node.database.pool, driver_id):
        raise not_found()
    found = await store.read_subscriptions(node.database.pool, driver_id)
    return a.PushSubscriptionsView([subscription_view(row) for row in found])


@endpoint(
    "DELETE /drivers/{driver_id}/push-subscriptions/{subscription_id}",
    "Delete a push subscription.",
    THE_DRIVER_AND_ADMIN,
)
async def remove_push_subscription(request: Call, driver_id: CallingDriver, subscription_id: PathId) -> None:
    if not await store.remove_subscription(pool_of(request), driver_id, subscription_id):
        raise not_found()


@endpoint(
    "POST /drivers/{driver_id}/pushes/{push_id}/shown",
    "Report that a browser has displayed a push. Only the app can report `received`.",
    THE_DRIVER,
)
async def confirm_push(request: Call, driver_id: CallingDriver, push_id: PathId) -> None:
    if not await note_shown(pool_of(request), driver_id, push_id):
        raise not_found()


def subscription_view(row: store.Subscription) -> a.PushSubscriptionView:
    return a.view(a.PushSubscriptionView, row, service=origin_of(row.endpoint))
