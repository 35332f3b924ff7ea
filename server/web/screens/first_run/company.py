"""The steps about the company: its people, name, phone, time zone and address."""

from server.texts.speech import said
from server.web.screens.first_run.step import ADDRESS, COMPANY, PHONE, TIME_ZONE, Installation, SetupStep
from server.web.screens.reach import home_of, warnings_of


def people(here: Installation) -> SetupStep:
    return SetupStep(
        here.started.people > 1,
        said("People"),
        said("Give each person their own login, so that the board says who did what."),
        [(said("Add people"), "/users")] if here.is_admin else [],
    )


def name(here: Installation) -> SetupStep:
    return SetupStep(
        bool(here.settings.company_name),
        said("Company"),
        said("The name of your company is at the top of the screens."),
        **here.form(COMPANY),
    )


def phone_of_dispatch(here: Installation) -> SetupStep:
    phone = here.settings.dispatch_phone
    return SetupStep(
        here.is_set("dispatch_phone"),
        said("Phone of dispatch"),
        said("Drivers call {phone} with one tap on their phones.", phone=phone)
        if phone
        else said("With it, drivers call you with one tap on their phones. Without it they have no such button."),
        **here.form(PHONE),
    )


def time_zone(here: Installation) -> SetupStep:
    return SetupStep(
        here.is_set("time_zone"),
        said("Time zone"),
        said("Times on all screens are in {time_zone}.", time_zone=here.settings.time_zone),
        **here.form(TIME_ZONE),
    )


def public_address(here: Installation) -> SetupStep:
    url = here.settings.public_url
    warnings = warnings_of(home_of(here.request), is_set_up=True)
    return SetupStep(
        bool(url) and not warnings,
        said("Public address"),
        said("Invitations and links lead to {address}.", address=url)
        if url
        else said("Invitations and links lead to the address that your browser uses now."),
        warnings=warnings,
        **here.form(ADDRESS),
    )
