"""Metrics that every commit updates, on the node that made it."""

from typing import Final

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


def count_commit(commit: Committed) -> None:
    """Count what was committed here."""
    for event in commit.events:
        match event:
            case e.OfferCreated():
                OFFERS.labels("created").inc()
            case e.OfferAccepted(response_ms=ms):
                OFFERS.labels("accepted").inc()
                RESPONSE.labels("accepted").observe(ms / 1000)
            case e.OfferRejected(response_ms=ms):
                OFFERS.labels("rejected").inc()
                RESPONSE.labels("rejected").observe(ms / 1000)
            case e.OfferExpired(auto_accepted=auto_accepted):
                OFFERS.labels("auto_accepted" if auto_accepted else "expired").inc()
            case e.OfferWithdrawn():
                OFFERS.labels("withdrawn").inc()
            case e.DeliveryEscalated(level=level):
                ESCALATIONS.labels(str(level)).inc()
            case e.AlertRaised(alert=alert):
                ALERTS.labels(alert.kind, "raised").inc()
            case e.AlertResolved(alert=alert):
                ALERTS.labels(alert.kind, "resolved").inc()
            case e.TicketCreated():
                TICKETS.inc()
            case _:
                pass
