"""The policy: every tunable of dispatch as one versioned document, with the range of each."""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, structs

from server.dispatch.money import is_currency

EscalationAction = Literal["ticket", "notify_ops", "widen_search", "notify_critical", "cancel"]
ExpiryPolicy = Literal["auto_accept", "next_driver"]

Share = Annotated[float, Meta(ge=0, le=1)]
RadiusKm = Annotated[float, Meta(ge=0.1, le=100)]


class EscalationLevel(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A level of escalation, due `afterSeconds` after the delivery became unassigned."""

    level: Annotated[int, Meta(ge=1, le=10)]
    after_seconds: Annotated[int, Meta(ge=1, le=86_400)]
    actions: Annotated[tuple[EscalationAction, ...], Meta(max_length=5)]


class AlertPolicy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The thresholds that raise an alert in a zone."""

    window_minutes: Annotated[int, Meta(ge=1, le=1440)] = 60
    minimum_sample: Annotated[int, Meta(ge=1, le=100_000)] = 20
    rejected_share: Share = 0.2
    unassigned_count: Annotated[int, Meta(ge=0, le=1_000_000)] = 10


class WatchPolicy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """When a delivery with a driver counts as at risk, and when an unreachable driver loses it automatically."""

    gone_seconds: Annotated[int, Meta(ge=2, le=3600)] = 120
    late_minutes: Annotated[int, Meta(ge=0, le=120)] = 5
    stalled_minutes: Annotated[int, Meta(ge=1, le=120)] = 6
    release_gone_seconds: Annotated[int, Meta(ge=2, le=86_400)] | None = None


class PlanningPolicy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Whether deliveries are held until their driver must leave, and how many a driver may have beyond capacity.

    A held delivery is offered `holdSlackMinutes` before its driver must leave; their time to answer is part of it.
    An add-on makes a customer of the same driver wait at most `maxExtraMinutes` longer, and goods are on board for at
    most `maxMinutesInBag`, unless the way itself takes longer.
    """

    hold: bool = True
    next_jobs: Annotated[int, Meta(ge=0, le=1)] = 0
    hold_slack_minutes: Annotated[int, Meta(ge=0, le=30)] = 2
    max_extra_minutes: Annotated[int, Meta(ge=0, le=60)] = 8
    max_minutes_in_bag: Annotated[int, Meta(ge=1, le=240)] = 25
    same_store_only: bool = False


DEFAULT_LADDER = (
    EscalationLevel(1, 300, ("ticket", "notify_ops")),
    EscalationLevel(2, 900, ("widen_search",)),
    EscalationLevel(3, 1800, ("notify_critical",)),
)


class Policy(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The complete policy document. The name of each field says its unit. `language` is that of the driver page; empty:
    each phone's own.
    """

    version: Annotated[int, Meta(ge=1)] = 1
    offer_timeout_seconds: Annotated[int, Meta(ge=1, le=600)] = 30
    expiry_policy: ExpiryPolicy = "auto_accept"
    reoffer_cooldown_seconds: Annotated[int, Meta(ge=0, le=3600)] = 120
    pause_after_expiries: Annotated[int, Meta(ge=1, le=100)] = 3
    search_radius_km: RadiusKm = 5.0
    wide_search_radius_km: RadiusKm = 10.0
    average_speed_kmh: Annotated[float, Meta(ge=1, le=150)] = 25.0
    detour_factor: Annotated[float, Meta(ge=1, le=5)] = 1.3
    handover_seconds: Annotated[int, Meta(ge=0, le=7200)] = 600
    base_pay_cents: Annotated[int, Meta(ge=0, le=1_000_000)] = 300
    per_km_pay_cents: Annotated[int, Meta(ge=0, le=1_000_000)] = 80
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$", max_length=3)] = "USD"
    presence_lapse_seconds: Annotated[int, Meta(ge=1, le=3600)] = 45
    call_presence_seconds: Annotated[int, Meta(ge=1, le=3600)] = 90
    position_fresh_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 300
    match_window_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0
    escalation: Annotated[tuple[EscalationLevel, ...], Meta(max_length=10)] = DEFAULT_LADDER
    alerts: AlertPolicy = AlertPolicy()
    watch: WatchPolicy = WatchPolicy()
    planning: PlanningPolicy = PlanningPolicy()
    max_trip_km: Annotated[float, Meta(ge=0.1, le=20_000)] = 100.0
    language: Annotated[str, Meta(pattern="^([a-z]{2,3})?$", max_length=3)] = ""


DEFAULT_POLICY = Policy()
ADDED: Final = ("watch", "planning", "max_trip_km", "language")
"""Fields that the previous release does not know. They are stored apart from the document, which it has to read."""


def search_radius_km(widened: bool, policy: Policy) -> float:
    """The search radius around the pickup, in a straight line."""
    return policy.wide_search_radius_km if widened else policy.search_radius_km


def contradictions(policy: Policy) -> list[tuple[str, str]]:
    """Conflicts between fields, as (wire field, message); empty for a valid document."""
    found = []
    if not is_currency(policy.currency):
        found.append(("currency", "must be a currency of ISO 4217"))
    if policy.wide_search_radius_km < policy.search_radius_km:
        found.append(("wideSearchRadiusKm", "must not be below searchRadiusKm"))
    for index, (lower, upper) in enumerate(zip(policy.escalation, policy.escalation[1:], strict=False), start=1):
        if upper.level <= lower.level:
            found.append((f"escalation[{index}].level", "must rise from level to level"))
        if upper.after_seconds <= lower.after_seconds:
            found.append((f"escalation[{index}].afterSeconds", "must rise from level to level"))
    return found


def with_version(policy: Policy, version: int) -> Policy:
    """The same document with another version number."""
    return structs.replace(policy, version=version)
