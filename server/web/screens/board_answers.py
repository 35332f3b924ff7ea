"""What the board's handlers have in common: how an action is answered, how refusals read."""

import json
from collections.abc import Callable
from typing import Final

from litestar import Response, post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse
from markupsafe import Markup

from server.board.feed import Feed
from server.contract import words as w
from server.dispatch import refusals as r
from server.dispatch.refusals import Refusal
from server.texts.speech import later, said
from server.web.access.guards import Guard
from server.web.api.endpoint import Handler
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.forms import FormInvalid
from server.web.screens.shell import HTML, NO_STORE

STATUSES: Final = {r.NOT_FOUND.code: 404, r.TRY_AGAIN.code: 503, r.INTERNAL_ERROR.code: 500}

PLAIN: Final = {
    r.DELIVERY_NOT_WAITING.code: later("This order is no longer waiting for a driver."),
    r.DELIVERY_NOT_DUE.code: later("This order is scheduled for later. Open its page to dispatch it now."),
    r.ALREADY_DELIVERED.code: later("This order is already delivered."),
    r.DELIVERY_OVER.code: later("This order has already ended."),
    r.NOT_PICKED_UP.code: later("This order is not picked up yet."),
    r.NOT_CANCELLED.code: later("This order is not cancelled."),
    r.TOO_LATE_TO_RESTORE.code: later("An order can be restored only within 10 minutes of its cancellation."),
    r.DELIVERY_ERASED.code: later("The personal data of this order was erased. Create a new order."),
    r.NOT_FAILED.code: later("Only an order that could not be delivered can be tried again."),
    r.OFFER_OPEN.code: later("A driver has an offer of this order now. Open the form again."),
    r.PIN_WRONG.code: later("This is not the PIN of this order."),
    r.HAS_ACTIVE_WORK.code: later("This driver still has active orders."),
    r.NOT_AT_RISK.code: later("This order is not at risk."),
    r.NO_DRIVER_AVAILABLE.code: later("No driver can take this order now."),
    r.VERSION_CHANGED.code: later("This changed after you opened the form. Close it and open it again."),
    r.ALREADY_PICKED_UP.code: later(
        "The driver has picked up this order. Open the form again and tick the box to continue."
    ),
}
"""Refusals in words for somebody who looks at a dialog."""


def feed_of(request: Call) -> Feed:
    return node_of(request).feed


def done(text: str) -> ASGIResponse:
    """The action is done: the dialog closes, and this is said once. The feed shows what changed."""
    headers = {**NO_STORE, "HX-Trigger": json.dumps({"board:done": {"said": text}}), "HX-Reswap": "none"}
    return ASGIResponse(body=b"", headers=headers, media_type=HTML)


def in_plain_words(refusal: Refusal) -> str:
    """A refusal for people: the codes within it translated."""
    if refusal.code == r.DRIVER_NOT_AVAILABLE.code and refusal.why:
        return said("This driver cannot get this order now: {why}.", why=said(w.words(w.NOT_TAKEN, refusal.why)))
    if refusal.code == r.ASSIGNMENT_NOT_ACTIVE.code and refusal.why:
        return said("The order changed before: {what}.", what=_ended(refusal.why))
    return said(PLAIN.get(refusal.code, refusal.message))


def _ended(why: str) -> str:
    """What became of an assignment, in words: its state and who did it."""
    status, *by = why.split(" ", 1)
    return " ".join([said(w.words(w.ASSIGNMENTS, status.upper())), *by])


class NotDone(Exception):
    """The command was refused; the dialog shows why."""

    def __init__(self, why: str, status: int) -> None:
        super().__init__(why)
        self.status = status

    @classmethod
    def refused(cls, refusal: Refusal) -> "NotDone":
        """409 (404, 503) with the reason in plain words."""
        return cls(in_plain_words(refusal), STATUSES.get(refusal.code, 409))

    @classmethod
    def overtaken(cls, what: str) -> "NotDone":
        """409 with what somebody did since the dialog was opened."""
        return cls(
            said("Nothing was done: {what}. This form is older than that: close it and open it again.", what=what), 409
        )


def dialog_action(path: str, guard: Guard) -> Callable[[Handler], HTTPRouteHandler]:
    """A handler for a dialog's button. The dialog shows FormInvalid and NotDone."""
    decorator: Callable[[Handler], HTTPRouteHandler] = post(
        path,
        guards=[guard],
        status_code=200,
        exception_handlers={
            FormInvalid: lambda _, wrong: _in_dialog(said(str(wrong)), 422),
            NotDone: lambda _, not_done: _in_dialog(str(not_done), not_done.status),
        },
    )
    return decorator


def refused_fragment(refusal: Refusal) -> ASGIResponse:
    """409 (404, 503) with the reason in plain words."""
    return error_fragment(in_plain_words(refusal), STATUSES.get(refusal.code, 409))


def invalid_fragment(text: str) -> ASGIResponse:
    """422: what is wrong with the form."""
    return error_fragment(text, 422)


def error_fragment(text: str, status: int) -> ASGIResponse:
    """What went wrong, in a sentence."""
    return ASGIResponse(body=_sentence(text), status_code=status, headers=NO_STORE, media_type=HTML)


def _in_dialog(text: str, status: int) -> Response[bytes]:
    """The same as an exception handler for Litestar."""
    return Response(_sentence(text), status_code=status, headers=NO_STORE, media_type=HTML)


def _sentence(text: str) -> bytes:
    return Markup('<p class="error">{}</p>').format(text).encode()
