"""What is personal in a document, and what is not."""

import re
from typing import Any

import pytest

from server.contract.personal import names_phone, phone_pattern, without_people


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"name": "Mr Gray", "phone": "+49 30 2", "lat": 52.123456}, {"name": None, "phone": None, "lat": 52.123}),
        ({"pickup": {"address": "3 Elm Road", "lon": 13.4}}, {"pickup": {"address": None, "lon": 13.4}}),
        ({"changes": {"dropoff": {"old": {"notes": "ring"}}}}, {"changes": {"dropoff": {"old": {"notes": None}}}}),
        ({"changes": {"notes": {"old": None, "new": "x"}}}, {"changes": {"notes": {"old": None, "new": None}}}),
        ({"stops": [{"note": "fell"}, 1, "two"]}, {"stops": [{"note": None}, 1, "two"]}),
        ({"pin": "0417"}, {"pin": None}),
        ({"pin": "verified"}, {"pin": "verified"}),
        ({"pin": ["0417"]}, {"pin": None}),
        ({"reason": "driver_gone", "endReason": "Mr Gray"}, {"reason": "driver_gone", "endReason": "erased"}),
        ({"reason": "gray", "endReason": "vehicle"}, {"reason": "erased", "endReason": "vehicle"}),
        ({"reason": None}, {"reason": None}),
        ({"lat": 52, "storeName": "Blue Bowl"}, {"lat": 52, "storeName": "Blue Bowl"}),
        ({"endNote": "bit me", "acknowledgementNote": "x"}, {"endNote": None, "acknowledgementNote": None}),
        ([{"fields": ["name", "pin"]}], [{"fields": ["name", "pin"]}]),
        (None, None),
    ],
)
def test_a_document_keeps_its_form_and_loses_the_people(before: Any, after: Any) -> None:
    assert without_people(before) == after
    assert without_people(after) == after, "once is enough"


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ({"phone": "0049 (0)30 / 555"}, True),
        ({"phone": "+49 30 555 1"}, False),
        ({"pickup": {"notes": "ring +49(0)30-555."}}, True),
        ({"reason": "\uff14\uff1930555 said no"}, True),
        ({"data": [{"note": "4930555"}]}, True),
        ({"changes": {"notes": {"old": "call 4930555", "new": None}}}, True),
        ({"notes": "14930555"}, False),
        ({"notes": "49305551"}, False),
        ({"notes": "49 and 30555"}, False),
        ({"storeName": "4930555", "deliveryId": "4930555", "amount": 4930555}, False),
        ("4930555", False),
    ],
)
def test_a_document_names_a_phone_in_a_personal_text(document: Any, found: bool) -> None:
    assert names_phone(document, "4930555") is found


@pytest.mark.parametrize("text", ["+49 (0)30 555", "0049 30/555", "x\uff14\uff19.30.55\u0665", "49 (\uff10) 30-555"])
def test_the_pattern_of_a_phone_finds_all_its_forms(text: str) -> None:
    pattern = phone_pattern("4930555")
    assert re.search(pattern, text)
    assert not re.search(pattern, text + "1")
