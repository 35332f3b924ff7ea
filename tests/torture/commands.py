"""The commands in the histories: who wanted what, with the answer."""

import re
from collections.abc import Iterable
from typing import Any, Final, Literal

from msgspec import Struct

from tests.torture.history import Answered, Asked, Closed, Entry, Heard, Opened, Sent

Outcome = Literal["done", "refused", "open"]


class Command(Struct):
    """`open` is one whose answer never came: it may have been carried out, or not.

    `kind` is the message's type, or the name in CALLS; `target` the id it is about; `fields` what else was sent.
    `socket_lasted` tells of an open one whether its socket stayed open until the end.
    """

    actor: str
    role: str
    subject: str
    kind: str
    target: str
    fields: dict[str, Any]
    sent_at: float
    answered_at: float | None = None
    outcome: Outcome = "open"
    code: str = ""
    status: int = 0
    result: Any = None
    answers: int = 0
    socket_lasted: bool = False

    def names(self) -> str:
        """For a sentence about it."""
        return f"{self.kind} of {self.target or self.fields} by {self.actor} ({self.outcome} {self.code})".rstrip()


CALLS: Final[tuple[tuple[str, str, str], ...]] = (
    ("POST", r"/deliveries", "create"),
    ("POST", r"/deliveries/([^/]+)/assign", "search"),
    ("POST", r"/deliveries/([^/]+)/cancel", "cancel"),
    ("PATCH", r"/deliveries/([^/]+)", "change"),
    ("POST", r"/deliveries/([^/]+)/ready", "ready"),
    ("POST", r"/deliveries/([^/]+)/delay", "delay"),
    ("POST", r"/deliveries/([^/]+)/restore", "restore"),
    ("POST", r"/deliveries/([^/]+)/retry", "retry"),
    ("POST", r"/drivers/[^/]+/offers/([^/]+)/accept", "accept"),
    ("POST", r"/drivers/[^/]+/offers/([^/]+)/reject", "reject"),
    ("POST", r"/drivers/[^/]+/offers/([^/]+)/received", "received"),
    ("POST", r"/drivers/[^/]+/assignments/([^/]+)/pickup", "picked_up"),
    ("POST", r"/drivers/[^/]+/assignments/([^/]+)/complete", "completed"),
    ("POST", r"/drivers/[^/]+/assignments/([^/]+)/proofs\?.*", "proof"),
    ("POST", r"/drivers/[^/]+/assignments/([^/]+)/(arrived|release|failed)", ""),
    ("POST", r"/drivers/([^/]+)/availability/take-break", "take_break"),
    ("POST", r"/drivers/([^/]+)/availability/end-shift", "end_shift"),
    ("POST", r"/drivers/([^/]+)/availability/pause", "pause"),
    ("POST", r"/drivers/([^/]+)/availability/resume", "resume"),
    ("POST", r"/admin/assignments/([^/]+)/reassign", "reassign"),
    ("POST", r"/admin/assignments/([^/]+)/pickup", "picked_up_for"),
    ("POST", r"/admin/assignments/([^/]+)/complete", "completed_for"),
    ("POST", r"/admin/assignments/([^/]+)/release", "release_for"),
    ("POST", r"/admin/assignments/([^/]+)/failed", "failed_for"),
    ("POST", r"/admin/deliveries/([^/]+)/assign", "assign"),
    ("POST", r"/admin/drivers/([^/]+)/availability", "set_availability"),
    ("POST", r"/admin/unassigned-orders/([^/]+)/acknowledge", "acknowledge"),
    ("PUT", r"/admin/policy\?reason=([^&]*)", "change_policy"),
)
"""Method, path with the id in it, and what it is called here: as the path's second group, where there is one."""
_calls: Final = [(method, re.compile(path).fullmatch, kind) for method, path, kind in CALLS]

MESSAGES: Final[dict[str, str | None]] = {
    "accept": "offerId",
    "reject": "offerId",
    "received": "offerId",
    "arrived": "assignmentId",
    "picked_up": "assignmentId",
    "completed": "assignmentId",
    "release": "assignmentId",
    "failed": "assignmentId",
    "take_break": None,
    "end_shift": None,
    "pause": None,
    "resume": None,
}
"""The socket's commands, and the field that names what they are about: a driver themselves for None."""


def commands(entries: dict[str, list[Entry]]) -> list[Command]:
    """All of everybody's, in no order across actors."""
    return [
        command for actor, own in entries.items() for command in (*_on_sockets(actor, own), *_over_http(actor, own))
    ]


def _on_sockets(actor: str, entries: Iterable[Entry]) -> Iterable[Command]:
    """A message without an id has no answer and stays open."""
    found: list[Command] = []
    driver_id = ""
    waiting: dict[tuple[int, str], Command] = {}
    lasting: set[int] = set()
    sockets: list[tuple[Command, int]] = []
    for entry in entries:
        match entry:
            case Opened():
                lasting.add(entry.socket)
            case Closed():
                lasting.discard(entry.socket)
            case Heard(message={"type": "hello", "driver": {"id": str(driver_id)}}):
                pass
            case Sent(message={"type": str(kind)}) if kind in MESSAGES:
                names = MESSAGES[kind]
                target = entry.message[names] if names is not None else driver_id
                command = Command(actor, "driver", driver_id, kind, target, entry.message, entry.at)
                found.append(command)
                sockets.append((command, entry.socket))
                if "id" in entry.message:
                    waiting[entry.socket, entry.message["id"]] = command
            case Heard(message={"type": "ack" | "error" as kind, "id": str(reply_id)}):
                answered = waiting.get((entry.socket, reply_id))
                if answered is not None:
                    _answer(
                        answered, entry.at, kind == "ack", entry.message.get("code", ""), entry.message.get("result")
                    )
            case _:
                pass
    for command, socket in sockets:
        command.socket_lasted = socket in lasting and "id" in command.fields
    return found


def _over_http(actor: str, entries: Iterable[Entry]) -> Iterable[Command]:
    waiting: dict[int, Command] = {}
    for entry in entries:
        if isinstance(entry, Asked):
            for method, matches, kind in _calls:
                if method == entry.method and (found := matches(entry.path)):
                    target = found[1] if found.re.groups else ""
                    fields = entry.body if isinstance(entry.body, dict) else {}
                    named = kind or found[2]
                    waiting[entry.call] = Command(actor, entry.role, entry.subject, named, target, fields, entry.at)
        elif isinstance(entry, Answered) and entry.call in waiting and entry.status:
            command = waiting[entry.call]
            command.status = entry.status
            code = entry.body.get("code", "") if isinstance(entry.body, dict) else ""
            _answer(command, entry.at, entry.status // 100 == 2, code, entry.body)
    return waiting.values()


def _answer(command: Command, at: float, done: bool, code: str, result: Any) -> None:
    command.answers += 1
    if command.answers == 1:
        command.answered_at = at
        command.outcome = "done" if done else "refused"
        command.code = code
        command.result = result
