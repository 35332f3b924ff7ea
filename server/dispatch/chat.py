"""The rules of messages between dispatch and a driver: how many, and who has seen them."""

from datetime import timedelta
from typing import Final

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import ChatMessage
from server.dispatch.world import World

UNSEEN_LIMIT: Final = 50
"""Messages to a driver that they have not seen. More would not be read either."""
SAID_LIMIT: Final = 10
SAID_WITHIN: Final = timedelta(seconds=60)
"""How many messages a driver can write in this time."""


def send_message(command: c.SendMessage, world: World) -> Decided | r.Refusal:
    """Dispatch writes to a driver who works for us and does not have too many unseen messages already."""
    driver = world.driver(command.driver_id)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    unseen = [m for m in world.chat(driver.id).values() if not m.by_driver and m.seen_at is None]
    if len(unseen) >= UNSEEN_LIMIT:
        return r.TOO_MANY_UNSEEN
    return _sent(command, world, by_driver=False)


def say(command: c.Say, world: World) -> Decided | r.Refusal:
    """A driver writes to dispatch. The same message again is sent once; too many in a minute are refused."""
    driver = world.driver(command.driver_id)
    chat = world.chat(driver.id)
    if command.message_id in chat:
        return Decided((), driver_id=driver.id, repeated=True)
    if not driver.active:
        return r.DRIVER_DEACTIVATED
    if sum(m.by_driver and world.now - m.at < SAID_WITHIN for m in chat.values()) >= SAID_LIMIT:
        return r.TOO_MANY_MESSAGES
    return _sent(command, world, by_driver=True)


def _sent(command: c.SendMessage | c.Say, world: World, *, by_driver: bool) -> Decided:
    author = command.actor.id or command.actor.type
    message = ChatMessage(command.message_id, command.driver_id, by_driver, author, command.text, world.now)
    sent = e.MessageSent(at=world.now, actor=command.actor, driver_id=command.driver_id, message=message)
    return Decided((sent,), driver_id=command.driver_id)


def see_message(command: c.SeeMessage, world: World) -> Decided | r.Refusal:
    """The driver has seen a message of dispatch. Repeats are safe."""
    message = world.chat(world.driver(command.driver_id).id).get(command.message_id)
    if message is None or message.by_driver:
        return r.NOT_FOUND
    if message.seen_at is not None:
        return Decided((), driver_id=command.driver_id, repeated=True)
    seen = e.MessageSeen(at=world.now, actor=command.actor, driver_id=command.driver_id, message_id=command.message_id)
    return Decided((seen,), driver_id=command.driver_id)
