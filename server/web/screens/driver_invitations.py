"""The screens that invite many drivers: which ones, then a sheet with all invitations and their links as a file.

The codes come from the form's own number, from when its page was read and from who sends it, so the same form sent
twice makes the same invitations. Nobody whose access changed after the page was read is invited by it, so no code of it
that was used, replaced or revoked becomes valid again. A form is valid for a day, because what such a change leaves in
the database is deleted some time.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from litestar import get, post
from litestar.response.base import ASGIResponse
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import replace

from server.board.formats import day_and_clock
from server.contract.views import instant, parse_instant
from server.dispatch.model import Driver
from server.ids import canonical, new_id
from server.settings import time_zone_of
from server.store.devices import count_devices
from server.store.query import DatabaseAway, unless_away
from server.store.reads.drivers import search_drivers
from server.store.sign_in import Access, read_access
from server.texts.speech import later, said, speech
from server.web.access.device_secrets import code_of_form
from server.web.access.guards import OPS
from server.web.access.sessions import FORM
from server.web.access.tokens import hashed
from server.web.api.sign_in import invitation_link, invited_with
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.forms import Form, FormInvalid, read_form
from server.web.screens.downloads import table_file
from server.web.screens.driver_access import language_of_invitations, qr_code, ways_to_send
from server.web.screens.driver_list import INVITE, drivers_wanted, list_filters
from server.web.screens.driver_page import words_of_strip
from server.web.screens.live_lists import address
from server.web.screens.reach import warnings_of
from server.web.screens.shell import page, sessions_of

INVITE_LIMIT: Final = 100
"""Drivers on one page, and invitations of one form: each takes a write and some 10 ms for its code."""
TICKS: Final = {
    "": later("Not invited yet"),
    "never": later("Never signed in"),
    "all": later("All"),
    "none": later("All, nobody ticked"),
}
"""Which drivers the page shows and ticks, by `?tick=`."""
SIGNED_IN: Final[dict[str, Literal["never", "never_invited"]]] = {"": "never_invited", "never": "never"}
FORM_AGE: Final = timedelta(days=1)
OLD_FORM: Final = later("This form cannot be read. Open the page again.")


class ListedForInvitation(Struct, frozen=True):
    """A driver to choose. `devices` are those in use."""

    driver: Driver
    access: Access
    devices: int
    ticked: bool


class Strip(Struct, frozen=True):
    """An invitation on the sheet. `words` are for the driver, in the language of the driver page."""

    driver_id: str
    name: str
    phone: str | None
    url: str
    expires_at: datetime
    words: str
    code: Markup
    sms: str | None
    mail: str


class Left(Struct, frozen=True):
    """A driver who got no invitation, and why."""

    driver_id: str
    name: str
    why: str


class ManyForm(Form):
    """`once` is the form's own number, `read_at` when its page was read, and `drivers` are chosen."""

    def once(self) -> str:
        return self._known(canonical(self.text("once")))

    def read_at(self) -> datetime:
        """In whole milliseconds, as all times that are stored."""
        try:
            at = parse_instant(self.text("read_at"))
            return at.replace(microsecond=at.microsecond // 1000 * 1000)
        except (ValueError, OverflowError):
            raise FormInvalid(said(OLD_FORM)) from None

    def drivers(self) -> list[str]:
        """The ids that are ticked. Raises FormInvalid."""
        given = list(dict.fromkeys(self._known(canonical(one)) for one in self.all("driver")))
        if not given:
            raise FormInvalid(said("Tick at least one driver."))
        if len(given) > INVITE_LIMIT:
            raise FormInvalid(said("Tick at most {limit} drivers. Nobody was invited.", limit=INVITE_LIMIT))
        return given

    @staticmethod
    def _known(found: str | None) -> str:
        if found is None:
            raise FormInvalid(said(OLD_FORM))
        return found


@get(INVITE, guards=[OPS])
async def choose(request: Call) -> ASGIResponse:
    """Which drivers to invite, of a search as on the list of drivers. `?tick=` says which, ticked. Cursor: `after`."""
    return await _choose(request)


@post(INVITE, guards=[OPS], status_code=200, opt={FORM: True})
async def invite_many(request: Call) -> ASGIResponse:
    """Invite the ticked drivers, and show their invitations this once."""
    form = await read_form(request, ManyForm)
    try:
        once, read_at, ids = form.once(), form.read_at(), form.drivers()
    except FormInvalid as wrong:
        return await _choose(request, 422, wrong.detail, form.all("driver"))
    last = canonical(form.text("following"))
    people = await read_access(pool_of(request), ids)
    if any(not timedelta() <= one.read_at - read_at <= FORM_AGE for one in people):
        problem = said("This page is out of date. Send it again as it is now.")
        return await _choose(request, 422, problem, ids)
    codes = _codes(request, once, read_at, ids)
    made, is_away = await _invited(request, people, codes, read_at)
    left = [one.driver_id for one in people if one.driver_id not in made]
    now = {one.driver_id: one for one in (await unless_away(read_access(pool_of(request), left)) or [])} if left else {}
    # Made before by the same form, which is sent again.
    made |= {one.driver_id: at for one in now.values() if (at := _made_with(codes, one)) is not None}
    why = [_left(one, now.get(one.driver_id), read_at) for one in people if one.driver_id not in made]
    why += [Left("", said("A driver"), said("is no longer here"))] * (len(ids) - len(people))
    return await page(
        request,
        "invited.html",
        201 if made else 409,
        nav="board/drivers",
        strips=await _strips(request, [one for one in people if one.driver_id in made], codes, made),
        left=why,
        is_away=is_away and bool(why),
        warnings=warnings_of(invitation_link(request, "")),
        strip_language=language_of_invitations(request),
        once=once,
        read_at=form.text("read_at"),
        ids=ids,
        back=_path(request),
        last=last or "",
        following=_following(request, last),
        path=INVITE,
    )


@post(f"{INVITE}/links.csv", guards=[OPS], status_code=200, opt={FORM: True})
async def links_file(request: Call) -> ASGIResponse:
    """Names, phones and links of the sheet, for the person who saw it, as long as they can be used. Raises 422, 503."""
    form = await read_form(request, ManyForm)
    ids = form.drivers()
    codes = _codes(request, form.once(), form.read_at(), ids)
    found = [one for one in await read_access(pool_of(request), ids) if _made_with(codes, one) is not None]
    if not found:
        raise FormInvalid(later("None of these links can be used any more. Invite the drivers again."))
    headings = (said("Name"), said("Phone"), said("Link"))
    rows = [(one.name, one.phone, invitation_link(request, codes[one.driver_id])) for one in found]
    return table_file(request, "callboard-invitations.csv", [headings, *rows])


def _codes(request: Call, once: str, read_at: datetime, ids: Iterable[str]) -> dict[str, str]:
    """By driver the code that this form gives them, if this person sends it in this login."""
    session = request.scope["state"].get("session")
    mark = sessions_of(request).mark(session) if session is not None else ""
    secret = node_of(request).settings.secret
    return {one: code_of_form(secret, once, read_at, one, mark, request.user.subject) for one in ids}


async def _invited(
    request: Call, people: Sequence[Access], codes: Mapping[str, str], read_at: datetime
) -> tuple[dict[str, datetime], bool]:
    """By driver until when the invitation is valid that was made now; whether the database went away meanwhile."""
    made: dict[str, datetime] = {}
    for one in people:
        try:
            _, expires_at = await invited_with(request, one.driver_id, codes[one.driver_id], read_at)
        except DatabaseAway:
            return made, True
        if expires_at is not None:
            made[one.driver_id] = expires_at
    return made, False


def _made_with(codes: Mapping[str, str], one: Access) -> datetime | None:
    """Until when the driver's invitation is valid, if it is the one with the code of this form."""
    return one.expires_at if one.code_hash == hashed(codes[one.driver_id]) else None


def _left(before: Access, now: Access | None, read_at: datetime) -> Left:
    if now is not None and not now.active:
        why = said("is deactivated")
    elif now is not None and now.signed_in_at is not None and now.signed_in_at >= read_at:
        why = said("signed in after you opened the page")
    elif now is not None and now.invited_at is not None and now.invited_at >= read_at:
        why = said("was invited by {person} after you opened the page", person=now.invited_by or said("a program"))
    elif now is not None and now.active_changed_at is not None and now.active_changed_at >= read_at:
        why = said("was deactivated after you opened the page, and is active again")
    else:
        why = said("the database did not answer")
    return Left(before.driver_id, before.name, why)


async def _strips(
    request: Call, people: Sequence[Access], codes: Mapping[str, str], made: Mapping[str, datetime]
) -> list[Strip]:
    time_zone = node_of(request).settings.time_zone
    zone = time_zone_of(time_zone)
    language = language_of_invitations(request)
    links = [invitation_link(request, codes[one.driver_id]) for one in people]
    titles = [said("QR code for {name}", name=one.name) for one in people]
    drawn = await asyncio.to_thread(lambda: [qr_code(*one) for one in zip(links, titles, strict=True)])
    strips = []
    for one, url, code in zip(people, links, drawn, strict=True):
        until = made[one.driver_id]
        words = words_of_strip(language, f"{day_and_clock(until, zone, speech=speech(language))} {time_zone}")
        sms, mail = ways_to_send(language, one.name, one.phone, url)
        strip = Strip(one.driver_id, one.name, one.phone, url, until, words, code, sms if one.phone else None, mail)
        strips.append(strip)
    return strips


async def _choose(request: Call, status: int = 200, problem: str = "", chosen: Sequence[str] = ()) -> ASGIResponse:
    node = node_of(request)
    pool = node.database.pool
    filters, tick = _filters(request), _tick(request)
    given = {name: value for name, value in filters.items() if value}
    after = canonical(request.query_params.get("after", ""))
    wanted = replace(await drivers_wanted(node, filters), signed_in=SIGNED_IN.get(tick))
    found = await search_drivers(pool, wanted, after, INVITE_LIMIT + 1)
    ids = [driver.id for driver in found[:INVITE_LIMIT]]
    access = {one.driver_id: one for one in await read_access(pool, ids)}
    devices = await count_devices(pool, ids)
    rows = [
        ListedForInvitation(
            one, access[one.id], devices.get(one.id, 0), one.id in chosen if problem else tick != "none"
        )
        for one in found[:INVITE_LIMIT]
        if one.id in access
    ]
    return await page(
        request,
        "invite.html",
        status,
        nav="board/drivers",
        rows=rows,
        problem=problem,
        once=new_id(),
        read_at=instant(min(one.read_at for one in access.values())) if access else "",
        path=_path(request),
        ticks=[(address(INVITE, **given, tick=name), text, tick == name) for name, text in TICKS.items()],
        last=ids[-1] if len(found) > INVITE_LIMIT else "",
        following=_following(request, ids[-1]) if len(found) > INVITE_LIMIT else None,
        first=address(INVITE, **given, tick=tick) if after is not None else None,
        is_part=bool(given),
        tick=tick,
        all=address(INVITE, **given, tick="none"),
    )


def _filters(request: Call) -> dict[str, str]:
    filters = list_filters(request)
    return filters if filters["show"] != "deactivated" else {**filters, "show": ""}


def _tick(request: Call) -> str:
    tick = request.query_params.get("tick", "")
    return tick if tick in TICKS else ""


def _path(request: Call) -> str:
    """The page with the search that it was opened with."""
    return address(
        INVITE, **_filters(request), after=canonical(request.query_params.get("after", "")), tick=_tick(request)
    )


def _following(request: Call, last: str | None) -> str | None:
    """The page behind the driver `last`, of the same search."""
    return address(INVITE, **_filters(request), after=last, tick=_tick(request)) if last is not None else None
