"""The steps about the city: its map, the search of addresses, and zones."""

from server.texts.speech import said
from server.web.screens.first_run.step import MAP, Installation, SetupStep


def streets(here: Installation) -> SetupStep:
    return SetupStep(
        here.is_set("map_tiles"),
        said("Map"),
        said("Browsers get the streets of the map from a tile server. Without one the map has no streets."),
        optional=bool(here.settings.geocoder_url),
        **here.form(MAP),
    )


def address_search(here: Installation) -> SetupStep:
    has_geocoder = bool(here.settings.geocoder_url)
    return SetupStep(
        has_geocoder,
        said("Address search"),
        said("People who enter an order write an address, and Callboard finds its position.")
        if has_geocoder
        else said(
            "Without it, people who enter an order click on the map or write a position. {setting} in the server’s "
            "settings names a geocoder (Nominatim, Photon or Pelias): see docs/deployment.md.",
            setting="CALLBOARD_GEOCODER_URL",
        ),
        optional=True,
    )


def zones(here: Installation) -> SetupStep:
    return SetupStep(
        len(here.node.zones.current) > 0,
        said("Zones"),
        said("Zones divide a large city: orders get drivers of the same zone. One zone needs no setting."),
        [(said("Zones"), "/zones")],
        optional=True,
    )
