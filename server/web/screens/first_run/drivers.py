"""The steps to the first delivery: drivers, the sign-in of one, and a test order."""

from server.texts.speech import said
from server.web.screens.driver_list import INVITE
from server.web.screens.first_run.step import Installation, SetupStep


def drivers(here: Installation) -> SetupStep:
    return SetupStep(
        here.started.driver,
        said("Drivers"),
        said("Add your first driver, or import all of them from a spreadsheet."),
        [(said("New driver"), "/board/drivers/new"), (said("Import"), "/board/drivers/import")],
    )


def sign_in(here: Installation) -> SetupStep:
    return SetupStep(
        here.started.device,
        said("A driver signs in"),
        said("Invite your drivers: each scans a code with their phone."),
        [(said("Invite drivers"), INVITE)],
    )


def test_order(here: Installation) -> SetupStep:
    return SetupStep(
        here.started.delivery,
        said("Test order"),
        said(
            "Place an order near a driver who is signed in, and see it offered, accepted and delivered. No report "
            "counts it."
        ),
        [(said("New order"), "/orders/new")],
        test_order=True,
    )
