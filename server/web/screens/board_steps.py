"""The steps of an order that ops can report on its page: the goods are ready or late, it is restored or retried, and
what a driver whose phone is dead did. One dialog for all of them.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Literal

from litestar import get
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from msgspec import Struct
from msgspec.structs import replace

from server.board import formats as f
from server.contract import words as w
from server.dispatch import commands as c
from server.dispatch import refusals as r
from server.dispatch.deliveries import not_at_the_store, not_restorable, not_retriable
from server.dispatch.driver_actions import not_active
from server.dispatch.model import Actor, Delivery
from server.dispatch.reason_codes import FAILURE, OTHER, RELEASE
from server.dispatch.refusals import Refusal
from server.ids import new_id
from server.store.reads.drivers import read_driver
from server.texts.speech import later, said
from server.web.access.guards import OPS
from server.web.api.endpoint import id_in_path
from server.web.http.caller import Call
from server.web.http.current_node import node_of, pool_of
from server.web.http.errors import existing
from server.web.http.forms import FormInvalid, read_form
from server.web.screens.board_actions import UNREADABLE
from server.web.screens.board_answers import NotDone, dialog_action, done, error_fragment
from server.web.screens.board_form import NOTE_LIMIT, BoardForm
from server.web.screens.board_seen import Overtaken, SeenOrder, carry_out, moved, parse_seen, read_seen
from server.web.screens.shell import fragment

MINUTES_LIMIT: Final = 240

Order = tuple[SeenOrder, BoardForm, Actor]
"""What a command is made of: the order as the dialog showed it, the form, and who acts."""


class OrderStep(Struct, frozen=True):
    """A step: its words, what its form asks for, why it is not possible now (None: it is), and its command.

    `reasons` are suggestions, `codes` the only ones that there are, each with its words. `end` asks whether the goods
    come back. `said` is announced when it is done. With `for_driver` it acts for the order's driver.
    """

    name: str
    label: str
    title: str
    meaning: str
    said: str
    why_not: Callable[[Delivery, datetime], Refusal | None]
    command: Callable[[Order], c.Command]
    reasons: Sequence[str] = ()
    codes: Sequence[tuple[str, str]] = ()
    minutes: bool = False
    end: bool = False
    for_driver: bool = False


def _driven(delivery: Delivery, now: datetime) -> Refusal | None:
    """Why no driver has this order; None if one has."""
    if delivery.active_assignment() is not None:
        return None
    last = delivery.last_assignment()
    return r.ASSIGNMENT_NOT_ACTIVE if last is None else not_active(last, delivery)


def _before_pickup(delivery: Delivery, now: datetime) -> Refusal | None:
    assignment = delivery.active_assignment()
    if assignment is not None and assignment.picked_up_at is not None:
        return r.ALREADY_PICKED_UP
    return _driven(delivery, now)


def _with_the_goods(delivery: Delivery, now: datetime) -> Refusal | None:
    assignment = delivery.active_assignment()
    if assignment is not None and assignment.picked_up_at is None:
        return r.NOT_PICKED_UP
    return _driven(delivery, now)


def _minutes(form: BoardForm) -> int:
    minutes = form.whole_number("minutes")
    if minutes is None or not 1 <= minutes <= MINUTES_LIMIT:
        raise FormInvalid(said("A delay lasts 1 to {count} minutes.", count=MINUTES_LIMIT))
    return minutes


def _optional_reason(form: BoardForm) -> str | None:
    return form.reason() if form.text("reason") or form.text("own_reason") else None


def _code(form: BoardForm, known: frozenset[str]) -> tuple[str, str | None]:
    """A reason of the closed set, and a note; `other` needs one. Raises FormInvalid."""
    code, note = form.text("reason"), form.text("own_reason") or None
    if code == "" and note is not None:
        code = OTHER
    if code not in known or (code == OTHER and note is None):
        raise FormInvalid(said("Choose a reason, or write your own."))
    if note is not None and len(note) > NOTE_LIMIT:
        raise FormInvalid(said("A note has at most {count} characters.", count=NOTE_LIMIT))
    return code, note


def _then(form: BoardForm) -> Literal["return", "end"]:
    match form.text("then"):
        case "return" | "end" as then:
            return then
        case _:
            raise FormInvalid(said("Choose what happens with the goods."))


def _assignment(seen: SeenOrder) -> str:
    """The id of the assignment that the dialog showed. Raises FormInvalid."""
    if seen.assignment_id is None:
        raise FormInvalid(said(UNREADABLE))
    return seen.assignment_id


def _delay(order: Order) -> c.Command:
    seen, form, actor = order
    return c.DelayDelivery(seen.delivery_id, _minutes(form), new_id(), actor, _optional_reason(form), seen.version)


def _release(order: Order) -> c.Command:
    seen, form, actor = order
    reason, note = _code(form, RELEASE)
    return c.Release(_assignment(seen), None, reason, actor, note)


def _fail(order: Order) -> c.Command:
    seen, form, actor = order
    reason, note = _code(form, FAILURE)
    return c.Fail(_assignment(seen), None, reason, actor, note, _then(form))


def _in_words(known: frozenset[str]) -> list[tuple[str, str]]:
    """Codes with their words, `other` last."""
    return sorted(((code, w.words(w.REASONS, code)) for code in known), key=lambda one: (one[0] == OTHER, one[1]))


STEPS: Final = {
    step.name: step
    for step in (
        OrderStep(
            "ready",
            later("Ready now"),
            later("Ready now: order {order}"),
            later("The goods are ready at the store. The driver sees it at once."),
            later("Order {order} is ready."),
            lambda delivery, now: not_at_the_store(delivery),
            lambda order: c.MarkReady(order[0].delivery_id, new_id(), order[2]),
        ),
        OrderStep(
            "delay",
            later("Delay"),
            later("Delay order {order}"),
            later("The goods are ready later: the minutes count from the planned time, or from now if that is later."),
            later("Order {order} is delayed."),
            lambda delivery, now: not_at_the_store(delivery),
            _delay,
            f.REASONS_TO_DELAY,
            minutes=True,
        ),
        OrderStep(
            "restore",
            later("Restore"),
            later("Restore order {order}"),
            later("It was cancelled by mistake: it waits for a driver again, or for the time when its search starts."),
            later("Order {order} is restored."),
            not_restorable,
            lambda order: c.RestoreDelivery(order[0].delivery_id, order[2]),
        ),
        OrderStep(
            "retry",
            later("Retry"),
            later("Retry order {order}"),
            later("It waits for a driver again, who picks it up where the goods are."),
            later("Order {order} waits for a driver again."),
            lambda delivery, now: not_retriable(delivery),
            lambda order: c.RetryDelivery(order[0].delivery_id, order[1].reason(), order[2]),
            f.REASONS_TO_RETRY,
        ),
        OrderStep(
            "pickup",
            later("Picked up"),
            later("Picked up: order {order}"),
            later("The driver has the goods, but cannot report it."),
            later("Order {order} is picked up."),
            _before_pickup,
            lambda order: c.PickUp(_assignment(order[0]), None, order[2], c.Action(reason=order[1].reason())),
            f.REASONS_TO_REPORT,
            for_driver=True,
        ),
        OrderStep(
            "complete",
            later("Delivered"),
            later("Delivered: order {order}"),
            later("The customer has the goods, but the driver cannot report it. This ends the order."),
            later("Order {order} is delivered."),
            _driven,
            lambda order: c.Complete(_assignment(order[0]), None, order[2], c.Action(reason=order[1].reason())),
            f.REASONS_TO_DELIVER,
            for_driver=True,
        ),
        OrderStep(
            "failed",
            later("Could not deliver"),
            later("Could not deliver order {order}"),
            later("The handover failed, but the driver cannot report it."),
            later("Order {order} could not be delivered."),
            _with_the_goods,
            _fail,
            codes=_in_words(FAILURE),
            end=True,
            for_driver=True,
        ),
        OrderStep(
            "release",
            later("Give back"),
            later("Give back order {order}"),
            later("The driver gives it back before the pickup. A new search starts, without this driver."),
            later("Order {order} is given back. A new search started."),
            _before_pickup,
            _release,
            codes=_in_words(RELEASE),
            for_driver=True,
        ),
    )
}
RETURNED: Final = replace(
    STEPS["complete"],
    label=later("Returned to the store"),
    title=later("Returned to the store: order {order}"),
    meaning=later("The goods are back at the store, but the driver cannot report it. This ends the order."),
    said=later("Order {order} is returned to the store."),
)
"""What `complete` means while the goods come back."""


def _shown(step: OrderStep, delivery: Delivery) -> OrderStep:
    return RETURNED if step.name == "complete" and delivery.status == "RETURNING" else step


def steps_of(delivery: Delivery, now: datetime) -> list[OrderStep]:
    """The steps that the rules allow now and that change something, in the order of their buttons."""
    without_effect = set()
    if delivery.is_ready_at() <= now:
        without_effect.add("ready")
    if delivery.status == "RETURNING":
        without_effect.add("failed")
    possible = [step for step in STEPS.values() if step.why_not(delivery, now) is None]
    return [_shown(step, delivery) for step in possible if step.name not in without_effect]


def _refused(refusal: Refusal) -> NotDone:
    # The words for dialogs with a box to tick do not fit here.
    if refusal.code == r.ALREADY_PICKED_UP.code:
        return NotDone(said(refusal.message), 409)
    return NotDone.refused(refusal)


def _step(name: str) -> OrderStep:
    return existing(STEPS.get(name))


@get("/board/deliveries/{delivery_id:str}/steps/{name:str}", guards=[OPS])
async def step_dialog(request: Call, delivery_id: FromPath[str], name: FromPath[str]) -> ASGIResponse:
    """What the step means, and what it takes; or why it is not possible now."""
    step, known = _step(name), id_in_path(delivery_id)
    found = existing((await read_seen(pool_of(request), [known])).get(known))
    delivery, seen = found
    refusal = step.why_not(delivery, node_of(request).clock.now())
    if refusal is not None:
        not_done = _refused(refusal)
        return error_fragment(str(not_done), not_done.status)
    assignment = delivery.active_assignment() if step.for_driver else None
    driver = await read_driver(pool_of(request), assignment.driver_id) if assignment is not None else None
    return fragment(
        request,
        "board/dialogs/step.html",
        delivery=delivery,
        seen=seen,
        step=_shown(step, delivery),
        driver=driver,
        minutes_limit=MINUTES_LIMIT,
    )


@dialog_action("/board/deliveries/{delivery_id:str}/steps/{name:str}", OPS)
async def take_step(request: Call, delivery_id: FromPath[str], name: FromPath[str]) -> ASGIResponse:
    """Carry out the step, on the order and the assignment that the dialog showed."""
    step, known = _step(name), id_in_path(delivery_id)
    form = await read_form(request, BoardForm)
    seen = parse_seen(form.text("seen"))
    if seen is None or seen.delivery_id != known:
        raise FormInvalid(said(UNREADABLE))
    node, me = node_of(request), request.user.actor
    step.command((seen, form, me))  # raises FormInvalid for what the form lacks, before anything is read
    # Most of these commands have no version: "delivered" must not mean "returned" because the driver was faster.
    before = await moved(node.database.pool, seen, me)
    if before is not None:
        raise NotDone.overtaken(before)
    answer = await carry_out(
        node.database.pool, node.executor, seen, lambda current: step.command((current, form, me)), me
    )
    if isinstance(answer, Refusal):
        raise _refused(answer)
    if isinstance(answer, Overtaken):
        raise NotDone.overtaken(answer.what)
    delivery = answer.delivery
    assert delivery is not None
    what = RETURNED.said if step.name == "complete" and delivery.status == "RETURNED" else step.said
    return done(said(what, order=delivery.seller_order_id))
