"""What is personal in a document, and what is not."""

from typing import Any

import pytest

from server.contract.personal import without_people


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"name": "Mr Gray", "phone": "+49 30 2", "lat": 52.123456}, {"name": None, "phone": None, "lat": 52.123}),
        ({"pickup": {"address": "3 Elm Road", "lon": 13.4}}, {"pickup": {"address": None, "lon": 13.4}}),
        ({"changes": {"dropoff": {"old": {"notes": "ring"}}}}, {"changes": {"dropoff": {"old": {"notes": None}}}}),
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
