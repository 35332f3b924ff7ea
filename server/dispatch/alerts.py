"""The rules of alerts: when a zone's number is worth waking somebody, and when it is over.

A number over its threshold raises one alert. It stands until the number is well below, so that one that wavers around
its threshold does not raise it again and again.
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
"""The share of the threshold (and of the minimum sample) below which an alert is over."""


class Measured(Struct, frozen=True):
    """One number of a zone beside its threshold. `sample` of `minimum_sample` things were counted for it."""

    kind: AlertKind
    zone: str
    value: float
    threshold: float
    sample: int = 1
    minimum_sample: int = 1


class ZoneNumbers(Struct, frozen=True):
    """What is watched of a zone: deliveries unassigned now; offers that were rejected, and those that ended with an
    answer or without one, in the policy's window.
    """

    zone: str
    unassigned: int = 0
    rejected: int = 0
    answered: int = 0

    @property
    def rejected_share(self) -> float:
        """Of the offers that ended; 0 if none did."""
        return self.rejected / self.answered if self.answered else 0.0


def measure(numbers: ZoneNumbers, policy: AlertPolicy) -> tuple[Measured, ...]:
    """A zone's numbers, each beside its threshold."""
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


def judge(measured: Measured, *, standing: bool) -> Literal["raise", "resolve"] | None:
    """What a number asks for.

    1. No alert stands: raise one when the number is over its threshold, of a sample that is large enough.
    2. One stands: it is over when the number is below 80 % of the threshold or nothing at all, or when there is too
       little left to tell from.
    """
    if not standing:
        worth_waking = measured.sample >= measured.minimum_sample and measured.value > measured.threshold
        return "raise" if worth_waking else None
    below = measured.value == 0 or measured.value < RESOLVES_BELOW * measured.threshold
    unknown = measured.sample < RESOLVES_BELOW * measured.minimum_sample
    return "resolve" if below or unknown else None


def raise_alert(command: c.RaiseAlert, world: World) -> Decided | r.Refusal:
    """One that stands already is the same alert."""
    for alert in world.alerts.values():
        if (alert.kind, alert.zone, alert.resolved_at) == (command.kind, command.zone, None):
            return Decided(repeated=True)
    alert = Alert(command.new_alert_id, command.kind, command.zone, command.value, command.threshold, world.now)
    return Decided((e.AlertRaised(at=world.now, actor=command.actor, alert=alert),))


def resolve_alert(command: c.ResolveAlert, world: World) -> Decided | r.Refusal:
    """One that stands no more is over."""
    alert = world.standing_alert(command.alert_id)
    if alert is None:
        return r.ALERT_OVER
    return Decided((e.AlertResolved(at=world.now, actor=command.actor, alert=replace(alert), value=command.value),))


def acknowledge_alert(command: c.AcknowledgeAlert, world: World) -> Decided | r.Refusal:
    """By name, while it stands. The first who said so keeps it; again, or by another: harmless."""
    alert = world.standing_alert(command.alert_id)
    if alert is None:
        return r.ALERT_OVER
    if alert.acknowledged_by is not None:
        return Decided(repeated=True)
    by = command.actor.id or command.actor.type
    acknowledged = replace(alert, acknowledged_by=by, acknowledged_at=world.now)
    return Decided((e.AlertAcknowledged(at=world.now, actor=command.actor, alert=acknowledged),))
