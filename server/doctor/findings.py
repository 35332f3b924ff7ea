"""What a check finds, as a line for people."""

from msgspec import Struct


class Finding(Struct, frozen=True):
    """The result of a check: `ok`, `note` (works, but somebody may want to know), or `bad`."""

    what: str
    how: str
    text: str
    todo: str = ""
    """What to do about a problem."""

    @property
    def bad(self) -> bool:
        """Whether this keeps Callboard from working, or from working well."""
        return self.how == "bad"

    @property
    def line(self) -> str:
        """The finding as a line of text, and what to do about it as another."""
        return f"{self.how:5} {self.what:10} {self.text}" + (f"\n{'':16} -> {self.todo}" if self.todo else "")


def ok(what: str, text: str) -> Finding:
    """A check without a problem."""
    return Finding(what, "ok", text)


def note(what: str, text: str, todo: str = "") -> Finding:
    """Something that works, but that somebody may want to know."""
    return Finding(what, "note", text, todo)


def bad(what: str, text: str, todo: str) -> Finding:
    """A problem, and what to do about it."""
    return Finding(what, "bad", text, todo)


def bad_as_said(what: str, text: str) -> Finding:
    """The same of a text that says both: "the problem: what to do"."""
    problem, _, todo = text.partition(": ")
    return bad(what, problem, todo)
