"""Phone numbers as phones dial them."""

import pytest

from server.dispatch.phones import dialled, phone_key


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0049 (0)171 5556677", "+49 171 5556677"),
        ("+49 (0) 171 555", "+49 171 555"),
        ("(0049) 171 555", "+49 171 555"),
        ("(+49) 171 555", "+49 171 555"),
        ("+372 555 0101", "+372 555 0101"),
        ("0151 2223334", "0151 2223334"),
        ("(0) 171", "(0) 171"),
        ("", ""),
    ],
)
def test_a_number_is_dialled_as_its_country_is(text: str, wanted: str) -> None:
    assert dialled(text) == wanted


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("0049 (0)30 90-18/20", "+49 30 901820", True),
        ("030 901820", "(030) 90.18.20", True),
        ("030 901820", "+49 30 901820", False),
        ("030 901820", "030 901821", False),
        ("ask for Zed", "ask for Zoe", False),
    ],
)
def test_two_ways_to_write_a_number_have_one_key(one: str, other: str, same: bool) -> None:
    assert (phone_key(one) == phone_key(other)) is same
