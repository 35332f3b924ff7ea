"""What the documented alert rules ask for is what `/metrics` tells."""

import re
from pathlib import Path
from typing import Any

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from server.contract.commit import Committed
from server.dispatch import events as e
from server.dispatch.model import SYSTEM, Alert, Ticket
from server.notify.commit_metrics import count_commit
from tests.builders import NOW, SOUP, a_delivery, a_driver, an_open_offer, id_of
from tests.web.conftest import Site

RULES = Path(__file__).parent.parent.parent / "docs" / "alert-rules.yml"


def value(name: str, **labels: str) -> float:
    return prometheus_client.REGISTRY.get_sample_value(name, labels) or 0.0


async def test_every_metric_of_the_rules_is_there(site: Site) -> None:
    families = list(text_string_to_metric_families((await site.nobody.get("/metrics")).text))
    shown = {family.name for family in families}
    asked = set(re.findall(r"\bcallboard_\w+", RULES.read_text()))
    assert len(asked) > 15
    assert {re.sub(r"_(total|bucket)$", "", name) for name in asked} <= shown


def expressions() -> list[str]:
    """The expressions of the rules, each on one line."""
    found = re.findall(r"expr: >?\s*(.+?)(?=\n +(?:for|labels):)", RULES.read_text(), re.DOTALL)
    assert len(found) == RULES.read_text().count("- alert:")
    return [" ".join(expression.split()) for expression in found]


def labels_of(metric: str) -> set[str]:
    """The labels of one of our metrics."""
    collector: Any = prometheus_client.REGISTRY._names_to_collectors[metric]
    return {*collector._labelnames, *(["le"] if metric.endswith("_bucket") else [])}


async def test_every_label_of_the_rules_is_one_of_the_metrics_own(site: Site) -> None:
    """A selector or a grouping by a label that is not there matches nothing, for ever and in silence."""
    code = "".join(path.read_text() for path in (Path(__file__).parent.parent.parent / "server").rglob("*.py"))
    seen = 0
    for expression in expressions():
        for metric, selector in re.findall(r"\b(callboard_\w+)\{([^}]*)\}", expression):
            for label, values in re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', selector):
                assert label in labels_of(metric), (metric, label)
                for value in values.split("|"):
                    assert value.isdigit() or f'"{value}"' in code, (metric, label, value)
                seen += 1
        for grouping in re.findall(r"\b(?:by|without|on) \(([^)]*)\)", expression):
            for metric in re.findall(r"\bcallboard_\w+", expression):
                missing = {label.strip() for label in grouping.split(",")} - labels_of(metric) - {"instance"}
                assert not missing, (metric, missing)
                seen += 1
    assert seen > 10


def test_what_a_rule_says_of_its_labels_is_left_by_its_expression() -> None:
    """An annotation that names a label which the expression has summed away says nothing."""
    text = RULES.read_text()
    for expression, rule in zip(expressions(), text.split("- alert:")[1:], strict=True):
        for label in re.findall(r"\$labels\.(\w+)", rule):
            aggregated = re.match(r"(?:histogram_quantile\([^,]+, )?(sum|max|min|avg)\b", expression)
            grouped = re.findall(r"\bby \(([^)]*)\)", expression)
            assert not aggregated or any(label in by for by in grouped), (expression, label)


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
