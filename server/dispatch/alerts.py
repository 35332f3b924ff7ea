"""The rules of alerts: when a number of a zone raises an alert, and when the alert is resolved.

A number over its threshold raises one alert. It stays open until the number is well below, so that a number near its
threshold does not raise it again and again.
"""

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from server.dispatch import commands as c
from server.dispatch import events as e
from server.dispatch import refusals as r
from server.dispatch.decided import Decided
from server.dispatch.model import Alert, AlertKind
from server.dispatch.policy import AlertPolicy
from server.dispatch.world import World

RESOLVES_BELOW = 0.8
"""Below this share of the threshold (and of the minimum sample) an alert is resolved."""


class Measured(Struct, frozen=True):
    """A number of a zone with its threshold. It was counted from `sample` things; at least `minimum_sample` are
    needed.
    """

    kind: AlertKind
    zone: str
    value: float
    threshold: float
    sample: int = 1
    minimum_sample: int = 1


class ZoneNumbers(Struct, frozen=True):
    """The numbers of a zone: deliveries that are unassigned now; rejected offers, and offers that ended with or without
    an answer, in the policy's time window.
    """

    zone: str
    unassigned: int = 0
    rejected: int = 0
    answered: int = 0

    @property
    def rejected_share(self) -> float:
        """The share of the offers that ended; 0 if none did."""
        return self.rejected / self.answered if self.answered else 0.0


def measure(numbers: ZoneNumbers, policy: AlertPolicy) -> tuple[Measured, ...]:
    """The numbers of a zone, each with its threshold."""
    return (
        Measured(
            "rejected_share",
            numbers.zone,
            numbers.rejected_share,
            policy.rejected_share,
            numbers.answered,
            policy.minimum_sample,
        ),
        Measured("unassigned_count", numbers.zone, numbers.unassigned, policy.unassigned_count),
    )


def evaluate(measured: Measured, *, is_open: bool) -> Literal["raise", "resolve"] | None:
    """What follows from a number.

    1. No open alert: raise one if the number exceeds its threshold and the sample is large enough.
    2. An open alert: resolve it if the number is below 80 % of the threshold or missing, or if the sample is too small.
    """
    if not is_open:
        worth_waking = measured.sample >= measured.minimum_sample and measured.value > measured.threshold
        return "raise" if worth_waking else None
    below = measured.value == 0 or measured.value < RESOLVES_BELOW * measured.threshold
    unknown = measured.sample < RESOLVES_BELOW * measured.minimum_sample
    return "resolve" if below or unknown else None


def raise_alert(command: c.RaiseAlert, world: World) -> Decided | r.Refusal:
    """If there is an open alert, nothing changes."""
    for alert in world.alerts.values():
        if (alert.kind, alert.zone, alert.resolved_at) == (command.kind, command.zone, None):
            return Decided(repeated=True)
    alert = Alert(command.new_alert_id, command.kind, command.zone, command.value, command.threshold, world.now)
    return Decided((e.AlertRaised(at=world.now, actor=command.actor, alert=alert),))


def resolve_alert(command: c.ResolveAlert, world: World) -> Decided | r.Refusal:
    """If the alert is already resolved, the command is refused."""
    alert = world.open_alert(command.alert_id)
    if alert is None:
        return r.ALERT_OVER
    return Decided((e.AlertResolved(at=world.now, actor=command.actor, alert=replace(alert), value=command.value),))


def acknowledge_alert(command: c.AcknowledgeAlert, world: World) -> Decided | r.Refusal:
    """Records who acknowledged an open alert. The first acknowledgement counts; later ones change nothing."""
    alert = world.open_alert(command.alert_id)
    if alert is None:
        return r.ALERT_OVER
    if alert.acknowledged_by is not None:
        return Decided(repeated=True)
    by = command.actor.id or command.actor.type
    acknowledged = replace(alert, acknowledged_by=by, acknowledged_at=world.now)
    return Decided((e.AlertAcknowledged(at=world.now, actor=command.actor, alert=acknowledged),))
