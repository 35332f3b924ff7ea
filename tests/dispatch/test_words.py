"""What people and phones write, taken for what it means: reasons, clocks, money, and orders that come again."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch.apply import apply
from server.dispatch.decide import decide
from server.dispatch.decided import Decided
from server.dispatch.model import ERASED, Place
from server.dispatch.money import EXPONENTS, is_currency
from server.dispatch.names import visible
from server.dispatch.phone_clocks import happened, phone_time
from server.dispatch.reason_codes import FAILURE, REJECTION, RELEASE, coded
from server.dispatch.refusals import Refusal
from server.dispatch.sameness import KNOWN, differing, kept, posted, posted_for
from server.dispatch.world import NeedsRows, World
from tests.builders import (
    ALICE,
    DAN,
    NOW,
    SHOP,
    SOUP,
    a_delivery,
    a_driver,
    a_policy,
    a_world,
    an_assignment,
    by,
    id_of,
    minutes,
    seconds,
)
from tests.dispatch.test_deliveries import NEW, create

HOUR = timedelta(hours=1)
NEW_OFFER = id_of("new offer")
MIDNIGHT = datetime(1, 1, 1, tzinfo=UTC)
THE_END = datetime(9999, 12, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "note", "expected"),
    [
        (None, None, (None, None)),
        ("", " ", (None, None)),
        (" too_far ", None, ("too_far", None)),
        ("too_far", " the bridge ", ("too_far", "the bridge")),
        ("Too far", None, ("other", "Too far")),
        ("my bike broke", "sorry", ("other", "my bike broke: sorry")),
        (None, "sorry", (None, "sorry")),
        ("other", None, ("other", None)),
    ],
)
def test_an_unknown_reason_is_a_note(text: Any, note: Any, expected: Any) -> None:
    assert coded(text, note, REJECTION) == expected


def test_every_set_of_reasons_has_a_way_out() -> None:
    assert all("other" in codes for codes in (REJECTION, RELEASE, FAILURE))


@pytest.mark.parametrize(
    ("at", "sent_at", "expected"),
    [
        (None, None, NOW),
        (None, NOW, NOW),
        (NOW - minutes(5), NOW - minutes(2), NOW - minutes(3)),
        (NOW - minutes(5) + HOUR, NOW - minutes(2) + HOUR, NOW - minutes(3)),
        (NOW - minutes(5) - 900 * HOUR, NOW - minutes(2) - 900 * HOUR, NOW - minutes(3)),
        (NOW + HOUR, NOW, NOW),
        (MIDNIGHT, THE_END, NOW - minutes(10)),
        (THE_END, MIDNIGHT, NOW),
        (NOW - minutes(5), None, NOW - minutes(5)),
        (NOW + minutes(5), None, NOW),
        (NOW - HOUR, None, NOW - minutes(10)),
        (NOW - timedelta(microseconds=1), None, NOW - timedelta(milliseconds=1)),
    ],
)
def test_a_deed_happened_between_the_start_and_now_whatever_the_phone_believes(
    at: Any, sent_at: Any, expected: datetime
) -> None:
    assert happened(at, sent_at, arrived=NOW, start=NOW - minutes(10)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-02-01T20:00:00+02:00", "2026-02-01T18:00:00+00:00"),
        ("0001-01-01T00:00:00+02:00", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59-02:00", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_a_clock_that_was_never_set_is_a_time_too(text: str, expected: str) -> None:
    assert phone_time(datetime.fromisoformat(text)) == datetime.fromisoformat(expected)


def test_a_start_in_the_future_is_no_reason_to_be_late() -> None:
    assert happened(NOW - minutes(5), NOW, arrived=NOW, start=NOW + seconds(1)) == NOW
    assert happened(NOW - minutes(5), None, arrived=NOW, start=NOW + seconds(1)) == NOW


def test_only_money_is_a_currency() -> None:
    assert is_currency("EUR")
    assert not any(map(is_currency, ("XYZ", "XXX", "eur", "", "DEM")))
    assert all(len(code) == 3 and code.isupper() for code in EXPONENTS)


# Sameness


def known(command: c.CreateDelivery, **changes: Any) -> World:
    """Soup was ordered by this command, and what was posted is at hand."""
    soup = a_delivery(fingerprint="first", **changes)
    return World(NOW, a_policy(), {SOUP: soup}, {}, posted={SOUP: posted(command, "USD")})


FIRST = create(
    dispatch_at=NOW,
    pickup=Place(52, 13.4, "1 Market Square"),
    notes="no onions",
    requirements=("cold", "van"),
    proof_required=("photo",),
)


@pytest.mark.parametrize(
    "again",
    [
        {},
        {"notes": "  no onions\n"},
        {"pickup": Place(52.0, 13.40, " 1 Market Square ", "", None, " ")},
        {"requirements": ("van", "cold ", "van")},
        {"currency": "USD"},
        {"spare_pin": "9999"},
    ],
)
def test_the_same_order_in_other_words_is_the_same(again: dict[str, Any]) -> None:
    row = {name: getattr(FIRST, name) for name in FIRST.__struct_fields__} | {"fingerprint": "again"} | again
    decided = decide(c.CreateDelivery(**row), known(FIRST))
    assert isinstance(decided, Decided), decided
    assert decided.repeated
    assert decided.delivery_id == SOUP


@pytest.mark.parametrize(
    ("again", "fields"),
    [
        ({"notes": None}, ["notes"]),
        ({"currency": "EUR"}, ["currency"]),
        ({"pickup": Place(52.1, 13.4, "1 Market Square"), "tip_cents": 0}, ["pickup", "tipCents"]),
        ({"requirements": ()}, ["requirements"]),
        ({"dispatch_at": NOW + seconds(1), "pin": "1234"}, ["dispatchAt", "pin"]),
    ],
)
def test_another_order_says_in_what_it_differs_and_from_which(again: dict[str, Any], fields: list[str]) -> None:
    row = {name: getattr(FIRST, name) for name in FIRST.__struct_fields__} | {"fingerprint": "again"} | again
    refused = decide(c.CreateDelivery(**row), known(FIRST))
    assert isinstance(refused, Refusal), refused
    assert (refused.code, refused.more) == ("delivery_differs", {"id": SOUP, "fields": fields})


def test_what_was_erased_is_no_difference_and_the_rest_is() -> None:
    first = create(pickup=Place(52.0, 13.4), dropoff=Place(52.0, 13.4), notes=None, pin=None)
    again = create(fingerprint="again", dropoff=Place(52.01, 13.41, "3 Elm Road", "Mr Gray"), notes="ring", pin="0417")
    world = known(first)
    soup = world.locked_delivery(SOUP)
    assert isinstance(decide(again, world), Refusal)
    soup.fingerprint = ERASED
    decided = decide(again, world)
    assert isinstance(decided, Decided)
    assert decided.repeated
    refused = decide(create(fingerprint="again", store_name="Blue Bowl"), world)
    assert isinstance(refused, Refusal)
    assert refused.more["fields"] == ["storeName"]


def test_the_policys_currency_of_the_first_time_counts() -> None:
    world = known(create())
    world.policy = a_policy(currency="EUR")
    assert isinstance(decide(create(fingerprint="again"), world), Decided)


def test_what_was_posted_is_read_only_if_the_fingerprint_differs() -> None:
    world = World(NOW, a_policy(), {SOUP: a_delivery(fingerprint="first")}, {})
    assert isinstance(decide(create(fingerprint="first"), world), Decided)
    with pytest.raises(NeedsRows) as needs:
        decide(create(fingerprint="again"), world)
    assert (needs.value.delivery_id, needs.value.posted) == (SOUP, True)


def test_in_one_batch_it_is_at_hand() -> None:
    world = World(NOW, a_policy(), {}, {})
    decided = decide(create(), world)
    assert isinstance(decided, Decided)
    for event in decided.events:
        apply(world, event)
    assert isinstance(decide(create(fingerprint="again"), world), Decided)
    assert isinstance(decide(create(fingerprint="again", notes="extra"), world), Refusal)


@pytest.mark.parametrize(
    ("at", "again", "same"),
    [
        (NOW - minutes(1), {}, True),
        (NOW, {"dispatch_at": NOW}, True),
        (NOW, {}, False),
        (NOW - minutes(1), {"notes": "extra"}, False),
    ],
)
def test_an_order_of_a_release_that_kept_only_a_fingerprint_is_compared_with_the_row(
    at: datetime, again: dict[str, Any], same: bool
) -> None:
    soup = a_delivery(fingerprint="old", dispatch_at=at)
    world = World(NOW, a_policy(), {SOUP: soup}, {}, posted={SOUP: None})
    assert isinstance(decide(create(fingerprint="new", **again), world), Decided) == same


@pytest.mark.parametrize(
    "asked",
    [
        {"promised_at": NOW + HOUR},
        {"proof_required": ("photo",)},
        {"pin": "1234"},
        {"dispatch_at": NOW},
    ],
)
def test_what_the_delivery_does_not_say_is_kept_beside_it(asked: dict[str, Any]) -> None:
    command = create(**asked)
    assert kept(command, "USD", NOW) == posted(command, "USD")


texts = st.sampled_from([None, "", " ", "bell", " bell "])


@given(
    asked=st.fixed_dictionaries(
        {
            "pickup": st.builds(Place, st.just(52.5), st.just(13), texts, texts, texts, texts),
            "seller_id": st.sampled_from(["", " ", "bakery"]),
            "zone": st.sampled_from(["default", "north"]),
            "prep_seconds": st.sampled_from([0, 600]),
            "dispatch_at": st.sampled_from([None, NOW - minutes(1), NOW, NOW + minutes(90)]),
            "promised_at": st.sampled_from([None, NOW + minutes(60)]),
            "price_cents": st.sampled_from([None, 0, 900]),
            "driver_pay_cents": st.sampled_from([0, 500]),
            "tip_cents": st.sampled_from([None, 0, 100]),
            "currency": st.sampled_from([None, "USD", "EUR"]),
            "notes": texts,
            "requirements": st.sampled_from([(), ("van", "cold")]),
            "proof_required": st.sampled_from([(), ("pin", "photo")]),
            "pin": st.sampled_from([None, "1234"]),
            "spare_pin": st.just("0417"),
        }
    )
)
def test_what_was_posted_is_known_though_an_offer_was_made_and_the_order_changed_twice(asked: dict[str, Any]) -> None:
    """By what was kept, or by the delivery itself; and before a change it is kept for good."""
    command = create(**asked)
    first = posted(command, "USD")
    world = World(NOW, a_policy(), {}, {})
    happen(world, decide(command, world))
    delivery = world.locked_delivery(NEW)
    delivery.promised_at = delivery.promised_at or NOW + minutes(20)
    assert (world.posted(NEW) or posted_for(delivery)) == first
    several: list[dict[str, Any]] = [
        {"notes": "ring twice", "tip_cents": 700},
        {"pickup": Place(52.51, 13), "prep_seconds": 60},
    ]
    for changes in several:
        happen(world, decide(c.ChangeDelivery(NEW, delivery.version, NEW_OFFER, ALICE, **changes), world))
        assert world.posted(NEW) == first
    assert isinstance(decide(create(fingerprint="again", **asked), world), Decided)
    changed = decide(create(fingerprint="again", **asked | {"notes": "ring twice"}), world)
    assert isinstance(changed, Refusal)
    assert changed.more["fields"] == ["notes"]


def happen(world: World, decided: Decided | Refusal) -> None:
    assert isinstance(decided, Decided), decided
    for event in decided.events:
        apply(world, event)


def test_what_was_posted_is_known_where_the_goods_were_left_elsewhere() -> None:
    """Dan has them, and somebody else is to pick them up from him."""
    soup, dan = a_delivery(fingerprint="first"), a_driver()
    job = an_assignment(soup, dan, picked_up_at=NOW - minutes(1))
    first = posted_for(soup)
    world = World(NOW, a_policy(), {SOUP: soup}, {DAN: dan}, posted={SOUP: None})
    happen(world, decide(c.Reassign(job.id, "flat tyre", NEW_OFFER, id_of("next"), ALICE, force=True), world))
    assert posted_for(soup) != first
    assert world.posted(SOUP) == first


def test_what_was_kept_of_a_changed_delivery_has_to_be_read() -> None:
    """The row as it was before this change may not be the one that was posted."""
    soup = a_delivery(fingerprint="first")
    world = World(NOW, a_policy(), {SOUP: soup}, {})
    happen(world, decide(c.ChangeDelivery(SOUP, soup.version, NEW_OFFER, ALICE, notes="ring twice"), world))
    with pytest.raises(NeedsRows):
        decide(create(fingerprint="again"), world)


def test_what_is_at_its_default_is_not_posted() -> None:
    assert set(posted(create(seller_id=" ", prep_seconds=0), "USD")) == {
        "sellerOrderId", "storeName", "pickup", "dropoff", "currency",
    }  # fmt: skip


def test_what_a_later_release_knows_is_no_difference() -> None:
    first = dict(posted(create(), "USD"))
    assert differing(first | {"giftWrap": True}, first, "z") == []
    assert differing(first, first | {"tipCents": 5}, "z") == ["tipCents"]
    everything = create(
        dispatch_at=NOW, price_cents=1, driver_pay_cents=1, notes="n", requirements=("a",), promised_at=NOW,
        proof_required=("pin",), pin="1234", tip_cents=1, zone="z",
    )  # fmt: skip
    assert set(posted(everything, "USD")) == KNOWN


@pytest.mark.parametrize(
    "blank", ["", "   ", "\t\n", "\u00a0", "\u200b", "\ufeff", " \u200d\u2060 ", "\u3164"], ids=ascii
)
def test_a_text_that_nobody_can_see_is_none(blank: str) -> None:
    assert visible(blank) is None
    assert visible(f"{blank}x") is not None
    assert coded(blank, blank, RELEASE) == (None, None)
    assert coded("vehicle", blank, RELEASE) == ("vehicle", None)
    soup, dan = a_delivery(), a_driver()
    job = an_assignment(soup, dan, picked_up_at=NOW)
    world = a_world(soup, dan)
    decided = decide(c.Complete(job.id, dan.id, by(dan.id), name=blank, note=blank), world)
    assert isinstance(decided, Decided)
    (delivered,) = decided.events
    assert isinstance(delivered, e.DeliveryDelivered)
    assert delivered.handover is None
    decided = decide(c.TakeBreak(dan.id, 5, by(dan.id), blank), world)
    assert isinstance(decided, Decided)
    assert decided.events[0].data()["reason"] == "driver_requested"
    waiting = a_world(a_delivery())
    decided = decide(c.DelayDelivery(SOUP, 5, id_of("new"), SHOP, blank), waiting)
    assert isinstance(decided, Decided)
    assert "reason" not in decided.events[0].data()
    decided = decide(c.Acknowledge(SOUP, ALICE, blank), waiting)
    assert isinstance(decided, Decided)
    assert decided.events[0].data()["note"] is None


def test_goods_at_the_end_of_the_calendar_are_ready_then() -> None:
    """Such orders were accepted once, and are listed."""
    assert a_delivery(dispatch_at=THE_END, prep_seconds=86_400).is_ready_at() == THE_END


def test_an_emoji_is_a_text_and_stays_whole() -> None:
    assert visible(" \u2764\ufe0f ") == "\u2764\ufe0f"
    assert visible(None) is None


def test_forms_that_systems_on_the_way_change_texts_between_are_no_difference() -> None:
    """Composed and decomposed characters, and the line ends of forms."""
    said = create(store_name="Süd", notes="ring twice\nné", pickup=Place(52.5, 13.4, address="Café 1"))
    sent = create(
        store_name="Su\u0308d", notes="ring twice\r\nne\u0301", pickup=Place(52.5, 13.4, address="Cafe\u0301 1")
    )
    assert differing(posted(said, "USD"), posted(sent, "USD"), "z") == []
    other = create(store_name="Sud", notes="ring twice né", pickup=Place(52.5, 13.4, address="Cafe 1"))
    assert differing(posted(said, "USD"), posted(other, "USD"), "z") == ["notes", "pickup", "storeName"]
