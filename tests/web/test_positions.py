"""Positions as people write and copy them."""

import pytest

from server.web.api.positions import position_in

BERLIN = (52.53, 13.41)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("52.53, 13.41", BERLIN),
        ("52.53,13.41", BERLIN),
        ("52.53 13.41", BERLIN),
        ("52.53; 13.41", BERLIN),
        (" (52.53,\t13.41) ", BERLIN),
        ("52,53 13,41", BERLIN),
        ("52,53, 13,41", BERLIN),
        ("52,53;13,41", BERLIN),
        ("52,53,13,41", BERLIN),
        ("52, 13", (52, 13)),
        ("\u221233.8 151.2", (-33.8, 151.2)),
        ("52.53°, 13.41°", BERLIN),
        ("52.53° N, 13.41° E", BERLIN),
        ("N 52.53 E 13.41", BERLIN),
        ("13,41 E 52,53 N", BERLIN),
        ("33° 52' 30\" S, 70° 30' W", (-33.875, -70.5)),
        ("91, 13", (91, 13)),
        ("https://www.google.com/maps/@52.53,13.41,15z", BERLIN),
        ("https://www.google.com/maps/place/A/@1.1,2.2,17z/data=!4m6!3m5!8m2!3d52.53!4d13.41", BERLIN),
        ("https://www.google.com/maps/search/?api=1&query=52.53%2C13.41", BERLIN),
        ("https://www.openstreetmap.org/#map=15/52.53/13.41", BERLIN),
        ("https://www.openstreetmap.org/?mlat=52.53&mlon=13.41#map=15/1.1/2.2", BERLIN),
        ("https://maps.apple.com/?q=Store&ll=52.53,13.41", BERLIN),
        ("geo:52.53,13.41?z=3", BERLIN),
        ("https://maps.app.goo.gl/abc", None),
        ("", None),
        ("52.53", None),
        ("52.53 N", None),
        ("52.53 N 13.41 N", None),
        ("1, 2, 3", None),
        ("1 2 3", None),
        ("nan, 2", None),
        ("1e3, 2", None),
        ("52° 31′ N, 13° 24′ O", None),
        ("Torstr. 1, Berlin", None),
    ],
)
def test_a_position_is_read_in_one_way_or_not_at_all(text: str, wanted: tuple[float, float] | None) -> None:
    found = position_in(text)
    assert found == pytest.approx(wanted) if wanted is not None and found is not None else found is wanted
