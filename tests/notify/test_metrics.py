"""What the documented alert rules ask for is what `/metrics` tells."""

import re
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from server.dispatch import events as e
from server.dispatch.model import SYSTEM, Alert, Ticket
from server.execute import Committed
from server.notify.counts import count_commit
from tests.builders import NOW, SOUP, a_delivery, a_driver, an_open_offer, id_of
from tests.web.conftest import Site

RULES = Path(__file__).parent.parent.parent / "docs" / "alert-rules.yml"


def value(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_every_metric_of_the_rules_is_there(site: Site) -> None:
    families = list(text_string_to_metric_families((await site.nobody.get("/metrics")).text))
    told = {family.name for family in families}
    asked = set(re.findall(r"\bcallboard_\w+", RULES.read_text()))
    assert len(asked) > 15
    assert {re.sub(r"_(total|bucket)$", "", name) for name in asked} <= told


def test_every_rule_says_what_to_do() -> None:
    text = RULES.read_text()
    alerts = re.findall(r"- alert: (\w+)", text)
    assert len(set(alerts)) == len(alerts)
    for part in ("expr:", "severity:", "summary:", "what:"):
        assert text.count(part) == len(alerts)


def test_commits_are_counted() -> None:
    alert = Alert(id_of("alert"), "unassigned_count", "default", 11.0, 10.0, NOW)
    ticket = Ticket("t", "unassigned_delivery", "high", "t", "d", SOUP, "default", "/", NOW)
    offer = an_open_offer(a_delivery(), a_driver())
    which: dict[str, Any] = {"at": NOW, "actor": SYSTEM, "delivery_id": SOUP}
    events = [
        e.OfferCreated(**which, offer=offer),
        e.OfferAccepted(**which, response_ms=1500),
        e.OfferRejected(**which, response_ms=2500),
        e.OfferExpired(**which, auto_accepted=True),
        e.OfferExpired(**which, auto_accepted=False),
        e.OfferWithdrawn(**which, reason="cancelled"),
        e.DeliveryEscalated(**which, level=3, actions=("notify_critical",), minutes_since_creation=30),
        e.TicketCreated(**which, ticket=ticket),
        e.AlertRaised(at=NOW, actor=SYSTEM, alert=alert),
        e.AlertResolved(at=NOW, actor=SYSTEM, alert=alert, value=1.0),
        e.DeliveryPickedUp(**which),
    ]
    samples: list[tuple[str, dict[str, str]]] = [
        *(
            ("callboard_offers_total", {"outcome": outcome})
            for outcome in ("created", "accepted", "rejected", "auto_accepted", "expired", "withdrawn")
        ),
        ("callboard_offer_response_seconds_count", {"answer": "accepted"}),
        ("callboard_offer_response_seconds_count", {"answer": "rejected"}),
        ("callboard_escalations_total", {"level": "3"}),
        ("callboard_tickets_total", {}),
        ("callboard_alerts_total", {"kind": "unassigned_count", "what": "raised"}),
        ("callboard_alerts_total", {"kind": "unassigned_count", "what": "resolved"}),
    ]
    before = [value(name, **labels) for name, labels in samples]
    count_commit(Committed(NOW, events, [], [], [], None))
    assert [value(name, **labels) - known for (name, labels), known in zip(samples, before, strict=True)] == [
        1.0
    ] * len(samples)
