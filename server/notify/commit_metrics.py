"""Metrics that every commit updates, on the node that made it."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import prometheus_client as p

from server.contract.commit import Committed
from server.dispatch import events as e

OFFERS: Final = p.Counter("callboard_offers", "Closed offers, by outcome", ["outcome"])
RESPONSE: Final = p.Histogram(
    "callboard_offer_response_seconds",
    "How long drivers took to answer offers",
    ["answer"],
    buckets=(1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300, 600),
)
ESCALATIONS: Final = p.Counter("callboard_escalations", "Escalations, by level", ["level"])
ALERTS: Final = p.Counter("callboard_alerts", "Alerts raised, acknowledged and resolved, by kind", ["kind", "what"])
TICKETS: Final = p.Counter("callboard_tickets", "Support tickets created")


_CREATED, _ACCEPTED, _REJECTED, _EXPIRED, _AUTO_ACCEPTED, _WITHDRAWN = (
    OFFERS.labels(outcome) for outcome in ("created", "accepted", "rejected", "expired", "auto_accepted", "withdrawn")
)
_ACCEPTED_AFTER, _REJECTED_AFTER = RESPONSE.labels("accepted"), RESPONSE.labels("rejected")


def _accepted(event: e.OfferAccepted) -> None:
    _ACCEPTED.inc()
    _ACCEPTED_AFTER.observe(event.response_ms / 1000)


def _rejected(event: e.OfferRejected) -> None:
    _REJECTED.inc()
    _REJECTED_AFTER.observe(event.response_ms / 1000)


_COUNT: Final[Mapping[type[e.Event], Callable[[Any], None]]] = {
    e.OfferCreated: lambda _: _CREATED.inc(),
    e.OfferAccepted: _accepted,
    e.OfferRejected: _rejected,
    e.OfferExpired: lambda event: (_AUTO_ACCEPTED if event.auto_accepted else _EXPIRED).inc(),
    e.OfferWithdrawn: lambda _: _WITHDRAWN.inc(),
    e.DeliveryEscalated: lambda event: ESCALATIONS.labels(str(event.level)).inc(),
    e.AlertRaised: lambda event: ALERTS.labels(event.alert.kind, "raised").inc(),
    e.AlertResolved: lambda event: ALERTS.labels(event.alert.kind, "resolved").inc(),
    e.TicketCreated: lambda _: TICKETS.inc(),
}


def count_commit(commit: Committed) -> None:
    for event in commit.events:
        count = _COUNT.get(type(event))
        if count is not None:
            count(event)
