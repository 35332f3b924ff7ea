"""The HTTP API for monitoring: unassigned orders, tickets, alerts, and the metrics of a time window."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from server.contract.views import RiskView, instant, instant_or_none
from server.dispatch.escalation import next_level_at
from server.dispatch.model import Alert
from server.dispatch.planning.forecast import MINUTES, ZoneForecast
from server.dispatch.policy import Policy
from server.node import Node
from server.store.reads.alerts import read_alerts
from server.store.reads.at_risk import AtRiskRow, read_at_risk
from server.store.reads.tickets import read_tickets
from server.store.reads.unassigned import UnassignedRow, read_all_unassigned, read_waiting
from server.store.reads.window_numbers import read_delivery_numbers, read_offer_numbers
from server.store.reads.zone_numbers import read_numbers_now
from server.web.access.guards import VIEWERS
from server.web.api import answers as a
from server.web.api import schemas as s
from server.web.api.endpoint import endpoint
from server.web.api.zones import zone_of_query
from server.web.http.caller import Call
from server.web.http.current_node import node_of
from server.web.http.paging import BY_ID, BY_RANK, Page


@endpoint(
    "GET /admin/unassigned-orders",
    "List deliveries that wait for a driver, oldest first; `all` adds those that no longer wait, newest first.",
    VIEWERS,
)
async def list_unassigned(request: Call, query: s.UnassignedQuery) -> Page[a.UnassignedView]:
    node = node_of(request)
    read = read_all_unassigned if query.all else read_waiting
    found = await read(
        node.database.pool, await zone_of_query(node, query.zone), BY_ID.only(query.cursor), query.limit + 1
    )
    policy = node.policies.current
    return BY_ID.page(found, query.limit, lambda row: (row.delivery_id,), lambda row: unassigned_view(row, policy))


def unassigned_view(row: UnassignedRow, policy: Policy) -> a.UnassignedView:
    """The view of a waiting delivery; the current policy gives the time of its next escalation."""
    next_at = next_level_at(row.escalation_level, row.unassigned_since, policy)
    return a.view(a.UnassignedView, row, next_escalation_at=instant_or_none(next_at))


@endpoint("GET /admin/at-risk", "List deliveries with a driver that may arrive late, the worst first.", VIEWERS)
async def list_at_risk(request: Call, query: s.ZonePageQuery) -> Page[a.AtRiskView]:
    node = node_of(request)
    zone = await zone_of_query(node, query.zone)
    found = await read_at_risk(node.database.pool, zone, BY_RANK.key(query.cursor), query.limit + 1)
    return BY_RANK.page(found, query.limit, lambda row: row.place, at_risk_view)


def at_risk_view(row: AtRiskRow) -> a.AtRiskView:
    risks = row.worst_first()
    shown = [RiskView(risk.code, instant(risk.since)) for risk in risks]
    return a.view(a.AtRiskView, row, risk=risks[0].code, risks=shown)


@endpoint(
    "GET /admin/forecast", "Forecast who comes free, what arrives, and when all that wait have a driver.", VIEWERS
)
async def get_forecast(request: Call, query: s.ForecastQuery) -> a.ForecastView:
    node = node_of(request)
    found = await node.forecasts.of_zones(await zone_of_query(node, query.zone))
    return a.ForecastView([forecast_view(zone) for zone in found])


def forecast_view(zone: ZoneForecast) -> a.ZoneForecastView:
    minutes = [str(each) for each in MINUTES]
    return a.view(
        a.ZoneForecastView,
        zone,
        waiting=zone.numbers.waiting,
        held=zone.numbers.held,
        free_in=dict(zip(minutes, zone.free_in, strict=True)),
        arriving_in=dict(zip(minutes, zone.numbers.arriving, strict=True)),
    )


@endpoint("GET /admin/tickets", "List support tickets, newest first.", VIEWERS)
async def list_tickets(request: Call, query: s.ZonePageQuery) -> Page[a.TicketView]:
    node = node_of(request)
    zone = await zone_of_query(node, query.zone)
    found = await read_tickets(node.database.pool, zone, BY_ID.only(query.cursor), query.limit + 1)
    root = node.settings.root
    return BY_ID.page(
        found,
        query.limit,
        lambda ticket: (ticket.id,),
        lambda ticket: a.view(a.TicketView, ticket, action_url=root + ticket.action_url),
    )


@endpoint("GET /admin/alerts", "List alerts, newest first. An alert without `resolvedAt` is open.", VIEWERS)
async def list_alerts(request: Call, query: s.ZonePageQuery) -> Page[a.AlertView]:
    node = node_of(request)
    zone = await zone_of_query(node, query.zone)
    found = await read_alerts(node.database.pool, zone, BY_ID.only(query.cursor), query.limit + 1)
    numbers = await alert_numbers(node, found)
    return BY_ID.page(found, query.limit, lambda row: (row.id,), lambda row: alert_view(row, numbers))


async def alert_numbers(node: Node, alerts: Iterable[Alert]) -> dict[str, float]:
    """The current numbers of the open alerts, by id. Raises DatabaseAway."""
    open_alerts = [(alert.id, alert.kind, alert.zone) for alert in alerts if alert.resolved_at is None]
    return await read_numbers_now(node.database.pool, open_alerts, node.policies.current.alerts)


def alert_view(row: Alert, numbers: Mapping[str, float]) -> a.AlertView:
    """The view of an alert with its current number."""
    return a.view(a.AlertView, row, current_value=numbers.get(row.id))


@endpoint("GET /admin/stats", "Get the metrics of a time window that ends now.", VIEWERS)
async def get_stats(request: Call, query: s.StatsQuery) -> a.StatsView:
    node = node_of(request)
    return await stats(node, query.window_minutes, await zone_of_query(node, query.zone))


async def stats(node: Node, window_minutes: int, zone: str | None) -> a.StatsView:
    """The metrics of the last `minutes`. Auto-accepts are never counted as accepts."""
    since = node.clock.now() - timedelta(minutes=window_minutes)
    offers = await read_offer_numbers(node.database.pool, since, zone)
    deliveries = await read_delivery_numbers(node.database.pool, since, zone)
    return a.view(
        a.StatsView,
        offers,
        window_minutes=window_minutes,
        zone=zone,
        offers_sent=offers.sent,
        deliveries_created=deliveries.created,
        deliveries_delivered=deliveries.delivered,
        deliveries_cancelled=deliveries.cancelled,
        unassigned_now=deliveries.unassigned_now,
        unassigned_over5_min_share=deliveries.late_share,
    )
