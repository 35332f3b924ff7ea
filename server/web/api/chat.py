"""The HTTP API of messages between dispatch and drivers."""

import asyncio
from typing import Final

from litestar.response.base import ASGIResponse
from msgspec import UNSET

from server.contract.views import ChatMessageView, chat_message_view
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.model import ChatMessage
from server.dispatch.refusals import Refusal
from server.ids import derived_id, new_id
from server.store.reads.chat import ids_at_work, read_chat
from server.store.reads.drivers import driver_exists
from server.web.access.guards import OPS, THE_DRIVER, VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.drivers import CallingDriver
from server.web.api.endpoint import MayBeMissing, PathId, answer, endpoint
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of, submit
from server.web.http.errors import TOO_MANY, not_found, refused
from server.web.http.paging import BY_INSTANT, Page

TOGETHER: Final = 50
"""Messages to several drivers that are sent at once; other commands get their turn between two such parts."""


@endpoint(
    "POST /admin/drivers/{driver_id}/messages",
    "Send a message to a driver. At most 50 can wait to be seen.",
    OPS,
    r.DRIVER_DEACTIVATED,
    r.TOO_MANY_UNSEEN,
    status=201,
)
async def send_message(request: Call, driver_id: PathId, new: s.NewMessage) -> ChatMessageView:
    command = c.SendMessage(driver_id, new_id(), new.text.strip(), request.user.actor)
    done = await submit(request, command)
    actor = command.actor.id or command.actor.type
    sent = ChatMessage(command.message_id, command.driver_id, False, actor, command.text, done.at)
    return chat_message_view(sent)


@endpoint("GET /admin/drivers/{driver_id}/messages", "List the messages to and from a driver, newest first.", VIEWERS)
async def list_messages(request: Call, driver_id: PathId, query: s.PageQuery) -> Page[a.ChatItem]:
    found = await read_chat(pool_of(request), driver_id, BY_INSTANT.key(query.cursor), query.limit + 1)
    if not found and not await driver_exists(pool_of(request), driver_id):
        raise not_found()
    return BY_INSTANT.page(found, query.limit, lambda m: (m.at, m.id), lambda m: a.view(a.ChatItem, m, from_=m.author))


@endpoint(
    "POST /admin/messages",
    "Send a message to all drivers on shift, in a zone if given. `refused` counts those who did not get it, as with 50"
    " unseen ones.",
    OPS,
)
async def send_to_all(request: Call, new: s.NewMessageToAll) -> a.SentToAll:
    """In parts, so that accepts and pickups do not wait for all of it. If the node or the database stops meanwhile,
    some drivers do not get it; an error would say that nobody did.
    """
    node = node_of(request)
    drivers = await ids_at_work(pool_of(request), await zone_of_query(node, UNSET if new.zone is None else new.zone))
    sent, failure = 0, None
    for start in range(0, len(drivers), TOGETHER):
        part = [
            node.executor.submit(c.SendMessage(driver_id, new_id(), new.text.strip(), request.user.actor))
            for driver_id in drivers[start : start + TOGETHER]
        ]
        for done in await asyncio.gather(*part):
            if not isinstance(done, Refusal):
                sent += 1
            elif done.code not in (r.TOO_MANY_UNSEEN.code, r.DRIVER_DEACTIVATED.code):
                failure = done
        if failure is not None:
            break
    if failure is not None and not sent:
        raise refused(failure)
    return a.SentToAll(sent, len(drivers) - sent)


@endpoint(
    "POST /drivers/{driver_id}/messages",
    "Write to dispatch, at most 10 messages a minute. The same `actionId` again is the same message.",
    THE_DRIVER,
    answers={201: a.SaidView, 200: a.SaidView},
    problems=(TOO_MANY,),
)
async def say(request: Call, driver_id: CallingDriver, said: s.SaidMessage) -> ASGIResponse:
    message_id = new_id() if said.action_id is None else derived_id(driver_id, said.action_id.lower())
    done = await submit(request, c.Say(driver_id, message_id, said.text.strip(), request.user.actor))
    return answer(a.SaidView(message_id), 200 if done.decided.repeated else 201)


@endpoint(
    "POST /drivers/{driver_id}/messages/{message_id}/seen",
    "Confirm that the driver has seen a message of dispatch.",
    THE_DRIVER,
)
async def see_message(
    request: Call, driver_id: CallingDriver, message_id: PathId, _: MayBeMissing[s.EmptyBody]
) -> None:
    await submit(request, c.SeeMessage(driver_id, message_id, request.user.actor))
