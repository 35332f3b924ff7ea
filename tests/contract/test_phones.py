"""Phone numbers as people write them."""

import pytest

from server.contract.phones import digits_in_any_spelling, is_same_number


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0151 2223334", "1512223334"),
        ("01512223334", "1512223334"),
        ("+49 151 2223334", "512223334"),
        ("0049 (0)151 2223334", "512223334"),
        ("+1 555 0101", "5550101"),
        ("222 3334", "2223334"),
        ("12 34", None),
        ("Torstr. 1512223334", None),
        ("", None),
    ],
)
def test_a_number_is_known_by_the_digits_of_every_spelling(text: str, wanted: str | None) -> None:
    assert digits_in_any_spelling(text) == wanted


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0151 2223334", "01512223334", True),
        ("+49 151 2223334", "0151 2223334", True),
        ("0151 2223334", "0049 (0)151 2223334", True),
        ("0151 2223334", "0152 2223334", False),
        ("+49 151 2223334", "+43 151 2223334", False),
        ("0222 333", "+49 222 333", False),
        ("+4930 1512223334", "01512223334", False),
        ("", "", False),
    ],
)
def test_two_spellings_are_one_number_or_two(one: str, other: str, same: bool) -> None:
    assert is_same_number(one, other) is same
