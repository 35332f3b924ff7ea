"""The words and times of the screens, as the templates get them."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from babel.support import NullTranslations
from msgspec.structs import replace

from server import dispatch
from server.board.constant_texts import TextFolder
from server.board.formats import lately, money, percent, seconds
from server.board.render import Renderer
from server.board.templates import environment
from server.contract import words
from server.dispatch.events import KINDS
from server.dispatch.model import (
    AlertKind,
    AssignmentSource,
    AssignmentStatus,
    Availability,
    DeliveryStatus,
    OfferStatus,
    RiskCode,
)
from server.dispatch.policy import DEFAULT_POLICY, EscalationAction, Policy
from server.dispatch.reason_codes import FAILURE, REJECTION, RELEASE
from server.settings import time_zone_of
from server.store.reads.board import BoardDelivery
from server.texts.speech import ENGLISH
from tests.builders import DROPOFF, NOW, PICKUP
from tests.web.html_tree import parse


def waiting_row() -> BoardDelivery:
    row: dict[str, Any] = dict.fromkeys(BoardDelivery.__struct_fields__)
    places = {"lat": PICKUP.lat, "lon": PICKUP.lon, "dropoff_lat": DROPOFF.lat, "dropoff_lon": DROPOFF.lon}
    row |= {"id": "d1", "status": "READY", "created_at": NOW, "unassigned_since": NOW, "level": 0, **places}
    return BoardDelivery(**row)


def km_shown(renderer: Renderer) -> float:
    rows = renderer.delivery(waiting_row(), None, 1)
    return float(parse(f"<table>{rows['waiting']}</table>").one("tr")["data-km"])


def test_two_nodes_of_one_process_show_kilometres_each_by_its_own_policy() -> None:
    def renderer(policy: Policy) -> Renderer:
        return Renderer(environment("UTC"), lambda: policy)

    straight = renderer(replace(DEFAULT_POLICY, detour_factor=1.0))
    winding = renderer(replace(DEFAULT_POLICY, detour_factor=2.0))
    assert km_shown(straight) == 1.5
    assert km_shown(winding) == 3.0


SAID = datetime(2025, 5, 3, 22, 2, 11, tzinfo=UTC)
"""In Berlin the 4th of May, a Sunday, two minutes past midnight."""


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("{{ at | day_and_clock }}", "Sun 04 May 2025, 00:02"),
        ("{{ at | day_and_clock_seconds }}", "Sun 04 May 2025, 00:02:11"),
        ("{{ none | day_and_clock or 'never' }}", "never"),
    ],
)
def test_a_date_has_its_year_on_every_screen(shown: str, text: str) -> None:
    assert environment("Europe/Berlin").from_string(shown).render(at=SAID) == text


@pytest.mark.parametrize(
    ("at", "zone"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "America/New_York"),
        (datetime(9999, 12, 31, 23, 59, tzinfo=UTC), "Europe/Berlin"),
    ],
)
def test_a_time_that_is_in_no_year_of_the_time_zone_is_shown_in_utc(at: datetime, zone: str) -> None:
    """Programs send such times for none, as `promisedAt` and `shiftEndsAt`: one order must not take a screen away."""
    shown = "{{ at | clock }} {{ at | day_and_clock }} {{ at | lately }} {{ at | ms }} {{ at | instant }}"
    text = environment(zone).from_string(shown).render(at=at)
    assert text.startswith(f"{at:%H:%M} ")


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (datetime(2025, 5, 4, 9, tzinfo=UTC), "00:02:11"),
        (datetime(2025, 5, 4, 22, tzinfo=UTC), "04 May 00:02"),
        (datetime(2025, 12, 31, 22, 59, tzinfo=UTC), "04 May 00:02"),
        (datetime(2025, 12, 31, 23, 0, tzinfo=UTC), "04 May 2025 00:02"),
    ],
)
def test_a_time_says_as_much_of_its_day_as_is_needed(now: datetime, text: str) -> None:
    assert lately(SAID, time_zone_of("Europe/Berlin"), now=now) == text


@pytest.mark.parametrize(
    ("minor_units", "currency", "text"),
    [(5400, "USD", "$54.00"), (123456, "EUR", "€1,234.56"), (1250, "JPY", "¥1,250"), (-730, "EUR", "-€7.30"),
     (1500, "TND", "TND\u00a01.500"), (123456, "IQD", "IQD\u00a0123.456"), (None, "EUR", "")],
)  # fmt: skip
def test_an_amount_has_the_digits_of_its_currency(minor_units: int | None, currency: str, text: str) -> None:
    assert money(minor_units, currency) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (0.004, "0.4%"), (0.0436, "4.4%"), (0.05, "5%"), (0.737, "74%"), (1.0, "100%")]
)
def test_a_share_is_written_in_one_way(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "less than 0.1 s"), (2.34, "2.3 s"), (42, "42 s"), (75, "1 min 15 s"), (7200, "2 h")]
)
def test_a_short_duration_has_tenths(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_number_agrees_with_its_noun() -> None:
    assert [ENGLISH.counted("{count} order", "{count} orders", n) for n in (0, 1, 2, 1234)] == [
        "0 orders",
        "1 order",
        "2 orders",
        "1,234 orders",
    ]


DISPATCH = "\n".join(path.read_text() for path in sorted(Path(dispatch.__file__).parent.glob("*.py")))
BY_THE_RULES = set(re.findall(r'(?:change_to|withdrawn)\(.*"([a-z_]+)", |reason="([a-z_]+)"', DISPATCH))
"""The reasons that the rules give for a change of availability or a withdrawn offer."""
CODED = {
    "REASONS": REJECTION | RELEASE | FAILURE | {reason for found in BY_THE_RULES for reason in found if reason},
    "RISKS": set(get_args(RiskCode)),
    "STATUSES": set(get_args(DeliveryStatus)),
    "OFFERS": set(get_args(OfferStatus)),
    "ASSIGNMENTS": set(get_args(AssignmentStatus)),
    "SOURCES": set(get_args(AssignmentSource)),
    "STATES": {*get_args(Availability), "busy"},
    "ALERTS": set(get_args(AlertKind)),
    "LEVEL_ACTIONS": set(get_args(EscalationAction)),
    "EVENTS": {kind.type for kind in KINDS if kind.type.partition(".")[0] in ("delivery", "offer", "ticket", "driver")},
}


@pytest.mark.parametrize("table", CODED)
def test_every_code_has_words_for_people(table: str) -> None:
    words_of: dict[str, str] = getattr(words, table)
    assert CODED[table] - words_of.keys() == set()
    assert not [text for text in words_of.values() if "_" in text]


def test_peoples_own_reasons_are_shown_as_they_are() -> None:
    assert words.words(words.REASONS, "vehicle") == "Vehicle trouble"
    assert words.words(words.REASONS, "some_new_code") == "some new code"
    assert words.words(words.REASONS, "Call Dan_2 first") == "Call Dan_2 first"
    assert words.words(words.REASONS, None) == ""
    assert words.lower_first("Vehicle trouble") == "vehicle trouble"
    assert words.lower_first("PIN wrong") == "PIN wrong"


class Turned(NullTranslations):
    """A language that says it the other way round, and a percent sign with it."""

    def gettext(self, message: str) -> str:
        return {"%(part)s of %(whole)s": "<i>%(whole)s</i>: 100%% von %(part)s", "Waiting": "Wartet"}[message]


def test_a_text_is_looked_up_once_and_its_values_are_escaped_wherever_they_stand() -> None:
    env = TextFolder(Turned(), autoescape=True)
    shown = env.from_string(
        """{{ _("%(part)s of %(whole)s", part=a, whole=b) }} {{ _("Waiting") if a else b }}"""
        """ {{ [_("%(part)s of %(whole)s", part=a, whole=b), b] | join("; ") }}"""
    )
    env.translations.gettext = None  # type: ignore[assignment, method-assign]
    said = "<i>&lt;b&gt;</i>: 100% von &amp;"
    assert shown.render(a="&", b="<b>") == f"{said} Wartet {said}; &lt;b&gt;"
