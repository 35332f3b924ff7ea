"""All steps of the checklist, and what the board shows of them."""

from server.store.reads.first_run import Started, read_started
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.screens.first_run import city, company, connections, drivers, rules
from server.web.screens.first_run.step import Installation, RefusedForm, SetupStep


async def setup_steps(request: Call, started: Started, refused: RefusedForm | None = None) -> list[SetupStep]:
    """The steps, in the order in which they are best done. `refused` is a form that was just sent."""
    here = Installation(request, started, refused)
    return [
        company.people(here),
        company.name(here),
        company.phone_of_dispatch(here),
        company.time_zone(here),
        company.public_address(here),
        city.streets(here),
        city.address_search(here),
        rules.unanswered_offers_and_currency(here),
        city.zones(here),
        drivers.drivers(here),
        drivers.sign_in(here),
        drivers.test_order(here),
        await connections.mail(here),
        connections.shop(here),
    ]


async def steps_for_board(request: Call) -> list[SetupStep] | None:
    """The steps if there was no order yet, the person can do something about it, and it is no demo."""
    if request.user.role == "viewer" or node_of(request).settings.demo:
        return None
    started = await read_started(pool_of(request))
    return None if started.delivery else await setup_steps(request, started)


async def titles_of_open_steps(request: Call) -> list[str]:
    """What an admin has still to do once there was an order: the titles of the steps that are not optional."""
    if request.user.role != "admin" or node_of(request).settings.demo:
        return []
    started = await read_started(pool_of(request))
    if not started.delivery:
        return []
    return [step.title for step in await setup_steps(request, started) if not step.done and not step.optional]
