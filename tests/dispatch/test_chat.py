"""The rules of messages between dispatch and a driver."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.chat import SAID_LIMIT, UNSEEN_LIMIT
from server.dispatch.model import ChatMessage
from server.dispatch.world import World
from tests.builders import ALICE, DAN, DORA, NOW, a_driver, a_world, by, id_of, minutes
from tests.dispatch.cases import Case, check, happens, name_of

MESSAGE, OTHER = id_of("message"), id_of("other message")
SEND = c.SendMessage(DAN, MESSAGE, "Call me", ALICE)
SAY = c.Say(DAN, MESSAGE, "Flat tyre", by(DAN))
SEE = c.SeeMessage(DAN, MESSAGE, by(DAN))


def a_message(message_id: str = MESSAGE, *, by_driver: bool = False, **changes: Any) -> ChatMessage:
    return ChatMessage(**{  # type: ignore[arg-type]
        "id": message_id, "driver_id": DAN, "by_driver": by_driver, "author": "dan" if by_driver else "alice",
        "text": "Hi", "at": NOW - minutes(2),
    } | changes)  # fmt: skip


def chatting(*messages: ChatMessage, **of_dan: Any) -> Callable[[], World]:
    return lambda: a_world(a_driver(**of_dan), chats={DAN: {m.id: a_message(m.id, **_fields(m)) for m in messages}})


def _fields(message: ChatMessage) -> dict[str, Any]:
    return {"by_driver": message.by_driver, "at": message.at, "seen_at": message.seen_at}


def many(number: int, **changes: Any) -> list[ChatMessage]:
    return [a_message(id_of(f"message {n}"), **changes) for n in range(number)]


def message_in(world: World) -> ChatMessage:
    return world.chat(DAN)[MESSAGE]


LATELY = NOW - timedelta(seconds=59)
CASES = [
    Case(
        "dispatch writes to a driver",
        given=chatting(),
        command=SEND,
        then=[happens(e.MessageSent, driver_id=DAN, actor=ALICE)],
        afterwards=lambda w: (
            (message_in(w).text, message_in(w).author, message_in(w).by_driver) == ("Call me", "alice", False)
            and message_in(w).at == NOW
            and list(w.new_chat_messages) == [MESSAGE]
            and DAN in w.changed_drivers
        ),
    ),
    Case("not to one who is deactivated", chatting(active=False), SEND, "driver_deactivated"),
    Case("one more can wait", chatting(*many(UNSEEN_LIMIT - 1)), SEND, [happens(e.MessageSent)]),
    Case("not any number", chatting(*many(UNSEEN_LIMIT)), SEND, "too_many_unseen"),
    Case("seen ones do not count", chatting(*many(UNSEEN_LIMIT, seen_at=NOW)), SEND, [happens(e.MessageSent)]),
    Case("nor the driver's own", chatting(*many(UNSEEN_LIMIT, by_driver=True)), SEND, [happens(e.MessageSent)]),
    Case("nobody is not found", lambda: a_world(absent=[DAN]), SEND, "not_found"),
    Case(
        "a driver writes to dispatch",
        given=chatting(),
        command=SAY,
        then=[happens(e.MessageSent, driver_id=DAN, actor=by(DAN))],
        afterwards=lambda w: message_in(w).by_driver and message_in(w).text == "Flat tyre",
    ),
    Case("the same message again is sent once", chatting(a_message(by_driver=True)), SAY, []),
    Case("also when they are deactivated now", chatting(a_message(by_driver=True), active=False), SAY, []),
    Case("who is deactivated writes nothing new", chatting(active=False), SAY, "driver_deactivated"),
    Case(
        "one more in this minute",
        given=chatting(*many(SAID_LIMIT - 1, by_driver=True, at=LATELY)),
        command=SAY,
        then=[happens(e.MessageSent)],
    ),
    Case("not any number", chatting(*many(SAID_LIMIT, by_driver=True, at=LATELY)), SAY, "too_many_messages"),
    Case("older ones do not count", chatting(*many(SAID_LIMIT, by_driver=True)), SAY, [happens(e.MessageSent)]),
    Case("nor those of dispatch", chatting(*many(SAID_LIMIT, at=LATELY)), SAY, [happens(e.MessageSent)]),
    Case(
        "a message is seen",
        given=chatting(a_message(), a_message(OTHER)),
        command=SEE,
        then=[happens(e.MessageSeen, driver_id=DAN, message_id=MESSAGE)],
        afterwards=lambda w: (
            message_in(w).seen_at == NOW
            and w.chat(DAN)[OTHER].seen_at is None
            and list(w.changed_chat_messages) == [MESSAGE]
        ),
    ),
    Case("once", chatting(a_message(seen_at=NOW)), SEE, []),
    Case("their own is not", chatting(a_message(by_driver=True)), SEE, "not_found"),
    Case("nor one that never was", chatting(), SEE, "not_found"),
    Case(
        "nor another's",
        given=lambda: a_world(a_driver(), a_driver("Dora"), chats={DAN: {MESSAGE: a_message()}}),
        command=c.SeeMessage(DORA, MESSAGE, by(DORA)),
        then="not_found",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_messages(case: Case) -> None:
    check(case)


def test_a_message_that_is_sent_and_seen_in_one_batch_is_saved_as_new_only() -> None:
    world = chatting()()
    message = a_message(at=NOW)
    world.add_chat_message(message)
    world.touch_chat_message(DAN, MESSAGE).seen_at = NOW
    assert (list(world.new_chat_messages), list(world.changed_chat_messages)) == ([MESSAGE], [])
    assert message.seen_at is None, "the event keeps the row as it was"


def test_no_event_has_the_text() -> None:
    sent = e.MessageSent(at=NOW, actor=ALICE, driver_id=DAN, message=a_message())
    seen = e.MessageSeen(at=NOW, actor=by(DAN), driver_id=DAN, message_id=MESSAGE)
    assert sent.data() == {"messageId": MESSAGE, "byDriver": False}
    assert seen.data() == {"messageId": MESSAGE}
