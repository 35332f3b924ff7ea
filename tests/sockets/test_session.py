"""The driver's session without a loop: frames and stream messages in, effects out."""

import json
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from server.contract.unstorable import HALF_CHARACTER
from server.dispatch import commands as c
from server.dispatch.model import Actor
from server.dispatch.refusals import OFFER_NO_LONGER_OPEN
from server.ids import new_id
from server.sockets import session as s
from server.sockets.session import Answered, Close, Effects, Execute, FetchMissing, PositionReported, Send, Session

DAN = "01930000-0000-7000-8000-00000000000d"
OFFER = "01930000-0000-7000-8000-0000000000f1"
ASSIGNMENT = "01930000-0000-7000-8000-0000000000a1"
NOW = datetime(2026, 2, 1, 10, tzinfo=UTC)
ACTOR = Actor("driver", DAN)


@pytest.fixture
def session() -> Session:
    numbers = count(1)
    return Session(DAN, ACTOR, lambda: f"new-{next(numbers)}", 0.0)


def say(session: Session, now: float = 0.0, **message: Any) -> Effects:
    return session.frame(json.dumps(message), now, lambda: NOW)


def heard(effect: object) -> dict[str, object]:
    assert isinstance(effect, Send)
    found: dict[str, object] = json.loads(effect.text)
    return found


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"type": "accept", "offerId": OFFER}, c.AcceptOffer(OFFER, DAN, "new-1", ACTOR)),
        ({"type": "reject", "offerId": OFFER, "reason": "far"}, c.RejectOffer(OFFER, DAN, ACTOR, "far")),
        ({"type": "received", "offerId": OFFER}, c.ConfirmReceipt(OFFER, DAN, ACTOR)),
        ({"type": "picked_up", "assignmentId": ASSIGNMENT}, c.PickUp(ASSIGNMENT, DAN, ACTOR)),
        (
            {"type": "arrived", "assignmentId": ASSIGNMENT, "where": "pickup", "lat": 52.5, "lon": 13.4},
            c.Arrive(ASSIGNMENT, DAN, "pickup", ACTOR, c.Action(lat=52.5, lon=13.4)),
        ),
        (
            {
                "type": "picked_up",
                "assignmentId": ASSIGNMENT,
                "actionId": OFFER.upper(),
                "at": "2026-02-01T10:00:00Z",
                "sentAt": "2026-02-01T11:00:00+01:00",
                "lat": 52.5,
                "lon": 13.4,
            },
            c.PickUp(ASSIGNMENT, DAN, ACTOR, c.Action(OFFER, NOW, NOW, 52.5, 13.4)),
        ),
        (
            {"type": "completed", "assignmentId": ASSIGNMENT, "proof": {"pin": "0417", "name": "Mr Gray"}},
            c.Complete(ASSIGNMENT, DAN, ACTOR, c.PLAIN_ACTION, "0417", "Mr Gray"),
        ),
        (
            {"type": "release", "assignmentId": ASSIGNMENT, "reason": "unwell", "note": "fever"},
            c.Release(ASSIGNMENT, DAN, "unwell", ACTOR, "fever"),
        ),
        (
            {"type": "failed", "assignmentId": ASSIGNMENT, "reason": "refused", "then": "return"},
            c.Fail(ASSIGNMENT, DAN, "refused", ACTOR, None, "return"),
        ),
        ({"type": "completed", "assignmentId": ASSIGNMENT}, c.Complete(ASSIGNMENT, DAN, ACTOR)),
        ({"type": "take_break", "durationMinutes": 5}, c.TakeBreak(DAN, 5, ACTOR)),
        ({"type": "take_break", "durationMinutes": 120.0}, c.TakeBreak(DAN, 120, ACTOR)),
        ({"type": "take_break", "durationMinutes": 10, "extend": True}, c.TakeBreak(DAN, 10, ACTOR, None, True)),
        ({"type": "end_shift"}, c.EndShift(DAN, ACTOR)),
        ({"type": "pause"}, c.Pause(DAN, ACTOR)),
        ({"type": "resume"}, c.Resume(DAN, ACTOR)),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_a_message_becomes_its_command(session: Session, message: dict[str, Any], command: c.Command) -> None:
    assert say(session, id="m1", **message) == (Execute(command, "m1"),)
    assert Execute(command, None).reply_id is None


def test_an_id_in_upper_case_is_the_same_id(session: Session) -> None:
    assert say(session, type="received", offerId=OFFER.upper()) == (Execute(c.ConfirmReceipt(OFFER, DAN, ACTOR), None),)


def test_an_id_that_cannot_exist_is_not_found(session: Session) -> None:
    (error,) = say(session, type="accept", id="m1", offerId="nonsense")
    assert heard(error) == {
        "type": "error",
        "id": "m1",
        "code": "not_found",
        "message": "Nothing has this id.",
    }


def test_a_position_is_taken_and_acknowledged_when_it_has_an_id(session: Session) -> None:
    place: dict[str, Any] = {"lat": 52.5, "lon": 13.4, "at": "2026-02-01T11:00:00+01:00"}
    moved = PositionReported(52.5, 13.4, None, None, None, NOW)
    assert say(session, type="location", **place) == (moved,)
    first, ack = say(session, type="location", id="l1", **place)
    assert first == moved
    assert heard(ack) == {"type": "ack", "id": "l1"}


def test_ping_is_answered_at_once(session: Session) -> None:
    (pong,) = say(session, type="ping", id="p")
    assert heard(pong) == {"type": "pong", "id": "p", "serverTime": "2026-02-01T10:00:00.000Z"}
    (pong,) = say(session, type="ping")
    assert "id" not in heard(pong)


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "no json",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"type":"dance"}',
        '{"type":"accept"}',
        '{"type":"accept","offerId":7}',
        '{"type":"arrived","assignmentId":"a","where":"moon"}',
        '{"type":"picked_up","assignmentId":"a","actionId":"nonsense"}',
        '{"type":"picked_up","assignmentId":"a","at":"yesterday"}',
        '{"type":"picked_up","assignmentId":"a","lon":13.4}',
        '{"type":"completed","assignmentId":"a","lat":52.5,"lon":null}',
        '{"type":"release","assignmentId":"a"}',
        '{"type":"failed","assignmentId":"a","reason":"x","then":"fly"}',
        '{"type":"failed","assignmentId":"a","reason":"x","note":"a\\u0000b"}',
        '{"type":"completed","assignmentId":"a","proof":{"name":"a\\u0000b"}}',
        '{"type":"accept","offerId":"' + "x" * 37 + '"}',
        '{"type":"accept","offerId":"a","more":1}',
        '{"type":"location","lat":91,"lon":0}',
        '{"type":"location","lat":0,"lon":-180.5}',
        '{"type":"location","lat":NaN,"lon":0}',
        '{"type":"location","lat":1e999,"lon":0}',
        '{"type":"location","lat":"1","lon":0}',
        '{"type":"location","lat":1,"lon":0,"at":"yesterday"}',
        '{"type":"location","lat":1,"lon":0,"at":"2026-02-01T10:00:00"}',
        '{"type":"take_break","durationMinutes":4}',
        '{"type":"take_break","durationMinutes":121}',
        '{"type":"take_break","durationMinutes":5.5}',
        '{"type":"take_break"}',
        '{"type":"ping","id":"' + "x" * 65 + '"}',
        '{"type":"reject","offerId":"a","reason":"\\u0000"}',
        '{"type":"reject","offerId":"a","reason":"' + "x" * 501 + '"}',
        "[" * 30_000,
        '{"type":"hello"}',
    ],
)
def test_a_malformed_frame_gets_an_error(session: Session, frame: str) -> None:
    (error,) = session.frame(frame, 0.0, lambda: NOW)
    assert heard(error)["code"] == "invalid"


BLANKS = ("", "   ", "\t\n", "\u00a0", "\u200b", "\ufeff", " \u200d\u2060 ", "\u3164", "\x00")


@pytest.mark.parametrize("blank", BLANKS, ids=ascii)
@pytest.mark.parametrize(
    "message",
    [
        {"type": "release", "assignmentId": new_id(), "reason": None},
        {"type": "failed", "assignmentId": new_id(), "reason": None, "then": "return"},
        {"type": "say", "text": None},
    ],
    ids=lambda message: str(message["type"]),
)
def test_a_text_that_nobody_can_see_is_none(session: Session, message: dict[str, Any], blank: str) -> None:
    field = next(name for name, value in message.items() if value is None)
    (error,) = session.frame(json.dumps({**message, field: blank, "id": "b"}), 0.0, lambda: NOW)
    assert (heard(error)["code"], heard(error)["id"]) == ("invalid", "b")
    (effect,) = session.frame(json.dumps({**message, field: f"{blank}x".replace("\x00", "")}), 0.0, lambda: NOW)
    assert isinstance(effect, Execute)


def test_an_error_carries_the_id_of_the_frame_if_it_can_be_made_out(session: Session) -> None:
    (error,) = say(session, type="dance", id="m7")
    assert heard(error)["id"] == "m7"
    (error,) = say(session, type="dance", id=7)
    assert "id" not in heard(error)


@pytest.mark.parametrize(
    ("frame", "field"),
    [
        (r'{"type":"take_break","id":"2","durationMinutes":5,"reason":"a\ud83db"}', "reason"),
        (r'{"type":"take_break","id":"2","durationMinutes":5,"reason":"a\ud83d"}', "reason"),
        (r'{"type":"say","id":"2","text":"\udc00 first"}', "text"),
        (r'{"type":"say","id":"2","text":"\ude00\ud83d"}', "text"),
        (r'{"type":"completed","id":"2","assignmentId":"a","proof":{"name":"\ud800x"}}', "proof.name"),
        (r'{"type":"ping","id":"2","x":[0,["\ud83d"]]}', "x[1][0]"),
        (r'{"type":"ping","id":"2","\ud83d":1}', "?"),
    ],
)
def test_half_a_character_is_an_error_with_the_id_that_names_the_field(
    session: Session, frame: str, field: str
) -> None:
    (error,) = session.frame(frame, 0.0, lambda: NOW)
    answer = heard(error)
    assert (answer["code"], answer["id"]) == ("invalid", "2")
    assert answer["message"] == f"{HALF_CHARACTER} - at `$.{field}`"


def test_an_id_with_half_a_character_is_no_id(session: Session) -> None:
    (error,) = session.frame(r'{"type":"ping","id":"a\ud83d"}', 0.0, lambda: NOW)
    assert heard(error) == {"type": "error", "code": "invalid", "message": f"{HALF_CHARACTER} - at `$.id`"}
    (pong,) = session.frame(r'{"type":"ping","id":"a\ud83d\ude00"}', 0.0, lambda: NOW)
    assert heard(pong)["id"] == "a😀"


def test_ten_malformed_frames_in_a_row_close_with_4104(session: Session) -> None:
    for _ in range(9):
        assert len(session.frame("{", 0.0, lambda: NOW)) == 1
    assert session.binary_frame(0.0)[-1] == Close(s.PROTOCOL_VIOLATION)


def test_a_valid_frame_resets_the_count_of_malformed_ones(session: Session) -> None:
    for _ in range(9):
        session.frame("{", 0.0, lambda: NOW)
    say(session, type="ping")
    for _ in range(9):
        assert len(session.binary_frame(0.0)) == 1
    assert len(session.binary_frame(0.0)) == 2


def test_bursts_are_allowed_and_floods_are_not(session: Session) -> None:
    for _ in range(100):
        assert isinstance(say(session, type="ping")[0], Send)
    assert isinstance(say(session, now=0.051, type="ping")[0], Send)
    assert say(session, now=0.052, type="ping") == (Close(s.TOO_MANY_MESSAGES),)
    assert session.binary_frame(0.053) == (Close(s.TOO_MANY_MESSAGES),)


def test_positions_may_come_a_thousand_a_second_and_no_faster(session: Session) -> None:
    for n in range(1_000):
        assert say(session, now=n / 1e6, type="location", lat=52.5, lon=13.4) == (
            PositionReported(52.5, 13.4, None, None, None, None),
        )
    assert say(session, now=0.001, type="location", lat=52.5, lon=13.4) == (Close(s.TOO_MANY_MESSAGES),)


def test_positions_leave_other_messages_their_share_and_nothing_else_is_a_position(session: Session) -> None:
    for _ in range(400):
        say(session, type="location", lat=52.5, lon=13.4)
    for _ in range(99):
        assert isinstance(say(session, type="ping")[0], Send)
    assert isinstance(say(session, type="location", lat=91, lon=13.4)[0], Send), "malformed"
    assert say(session, type="location", lat=91, lon=13.4) == (Close(s.TOO_MANY_MESSAGES),)
    assert session.binary_frame(0.0) == (Close(s.TOO_MANY_MESSAGES),)


def test_positions_with_an_unreadable_time_are_malformed_and_limited_as_such(session: Session) -> None:
    """Good ones in between end the row of malformed ones, not the limit."""
    for n in range(100):
        (error,) = say(session, now=n / 1e6, type="location", lat=52.5, lon=13.4, at="soon")
        assert isinstance(error, Send)
        say(session, now=n / 1e6, type="location", lat=52.5, lon=13.4)
    assert say(session, now=1e-4, type="location", lat=52.5, lon=13.4, at="soon") == (Close(s.TOO_MANY_MESSAGES),)


def test_a_message_without_an_id_is_only_answered_if_it_is_refused(session: Session) -> None:
    accept = c.AcceptOffer(OFFER, DAN, "new", ACTOR)
    assert session.answered(accept, None, Answered()) == ()
    (error,) = session.answered(accept, None, OFFER_NO_LONGER_OPEN)
    assert heard(error) == {"type": "error", "code": "offer_no_longer_open", "message": "This offer is no longer open."}


def test_an_ack_without_a_result_says_just_that(session: Session) -> None:
    (ack,) = session.answered(c.ConfirmReceipt(OFFER, DAN, ACTOR), "m1", Answered())
    assert heard(ack) == {"type": "ack", "id": "m1"}


class TestTheStream:
    def test_numbers_are_sent_once_and_in_order(self, session: Session) -> None:
        assert session.greeted(4) == ()
        assert session.message(5, "five") == (Send("five"),)
        assert session.message(5, "five") == ()
        assert session.message(3, "three") == ()
        assert session.message(6, "six") == (Send("six"),)

    def test_what_came_before_hello_follows_it_unless_hello_has_it(self, session: Session) -> None:
        assert session.message(4, "four") == ()
        assert session.message(5, "five") == ()
        assert session.greeted(4) == (Send("five"),)

    def test_a_gap_is_fetched_once_and_then_filled_in_order(self, session: Session) -> None:
        session.greeted(1)
        assert session.message(4, "four") == (FetchMissing(1),)
        assert session.message(5, "five") == ()
        assert session.message(2, "two") == (Send("two"), FetchMissing(2))
        assert session.message(3, "three") == (Send("three"), Send("four"), Send("five"))

    def test_a_fetch_that_failed_is_asked_for_again(self, session: Session) -> None:
        session.greeted(1)
        assert session.message(3, "three") == (FetchMissing(1),)
        session.fetch_over()
        assert session.message(3, "three") == (FetchMissing(1),)
