"""What a step of the checklist is made of: what is known when it is looked at, and what it shows."""

from typing import Final, TypedDict

from msgspec import Struct

from server.node import Node
from server.settings import Settings
from server.store.reads.first_run import Started
from server.texts.speech import said
from server.web.http.caller import Call
from server.web.http.current_node import node_of

OPEN_STREET_MAP: Final = "https://tile.openstreetmap.org/{z}/{x}/{y}.png"
COMPANY, PHONE, TIME_ZONE, ADDRESS, MAP = "company", "dispatch-phone", "time-zone", "address", "map"
FORMS: Final = {
    COMPANY: ("company_name",),
    PHONE: ("dispatch_phone",),
    TIME_ZONE: ("time_zone",),
    ADDRESS: ("public_url",),
    MAP: ("map_tiles", "map_attribution"),
}
"""The forms of the checklist, with the settings that each sets. The first decides who set them."""


class RefusedForm(Struct, frozen=True):
    """A form of a step as it was sent, and what is wrong with it."""

    fields: dict[str, str]
    problem: str

    @property
    def form(self) -> str:
        return self.fields["form"]


class SetupStep(Struct, frozen=True):
    """A step: whether it is done, what it is about, what is missing or wrong, and where it is done. `form` is the form
    that sets it here, with the values in its fields; `origin` says who set it. With `test_order`, a button places one.
    """

    done: bool
    title: str
    text: str
    links: list[tuple[str, str]] = []
    warnings: list[str] = []
    form: str | None = None
    fields: dict[str, str] = {}
    problem: str | None = None
    origin: str | None = None
    test_order: bool = False
    optional: bool = False


class FormOfStep(TypedDict):
    """The form of a step, as far as this person has one."""

    form: str | None
    fields: dict[str, str]
    problem: str | None
    origin: str | None


class Installation(Struct, frozen=True):
    """What is known of an installation, and of the person who looks at its steps."""

    request: Call
    started: Started
    refused: RefusedForm | None = None

    @property
    def node(self) -> Node:
        return node_of(self.request)

    @property
    def settings(self) -> Settings:
        return self.node.settings

    @property
    def is_admin(self) -> bool:
        return self.request.user.role == "admin"

    def is_set(self, setting: str) -> bool:
        """Whether somebody chose the setting: in the environment, or on the screen."""
        return self.node.known_settings.origin(setting) != "default"

    def typed(self, form: str) -> RefusedForm | None:
        """This form as it was just sent, if it was refused."""
        return self.refused if self.refused is not None and self.refused.form == form else None

    def form(self, form: str) -> FormOfStep:
        """The form that sets these settings, unless the environment does, or the person is no admin."""
        known = self.node.known_settings
        names = FORMS[form]
        origin = known.origin(names[0])
        if origin == "environment":
            text = said("{setting} of the server’s settings is in force.", setting=f"CALLBOARD_{names[0].upper()}")
        elif origin == "screen":
            text = said("{person} set this here.", person=known.on_screen[names[0]].by)
        else:
            text = None
        if origin == "environment" or not self.is_admin:
            return FormOfStep(form=None, fields={}, problem=None, origin=text)
        values = {name: str(getattr(known.current, name)) for name in names}
        if "map_attribution" in known.on_screen:
            values["map_attribution"] = known.on_screen["map_attribution"].value
        refused = self.typed(form)
        fields = {name: refused.fields.get(name, "") for name in names} if refused is not None else values
        if form == MAP:
            tiles = fields["map_tiles"]
            chosen = "none" if not tiles else "osm" if tiles == OPEN_STREET_MAP else "own"
            fields["source"] = refused.fields.get("source", "") if refused is not None else chosen
        problem = refused.problem if refused is not None else None
        return FormOfStep(form=form, fields=fields, problem=problem, origin=text)
