"""The insights: the success metrics of a window, and the same numbers as CSV."""

import csv
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import asyncpg
import httpx2

from server.store.reads.insight_estimates import ErrorGroup
from server.store.reads.insights import OfferGroup, start_of
from server.web.screens.estimate_errors import BothStages, EstimateErrors, estimate_errors
from server.web.screens.insights_numbers import WINDOWS, insights_of
from tests.web.conftest import Check, Site
from tests.web.html_tree import Element, parse
from tests.web.offers_made import make_offers
from tests.web.people import logged_in

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 24, 13, 30, tzinfo=UTC)
TWELVE_HOURS = 12 * 3600
NO_ERRORS = EstimateErrors(BothStages(), [], [])


def ended(hour: datetime, **counts: int) -> OfferGroup:
    zero = dict.fromkeys(("accepted", "auto_accepted", "rejected", "expired", "answered", "wanted", "late"), 0)
    return OfferGroup("hour", None, hour, None, None, **zero | counts, ms=counts.get("answered", 0) * 4000.0)


def answered(second: int, accepted: int, rejected: int = 0) -> OfferGroup:
    return OfferGroup("second", "north", None, second, None, accepted, 0, rejected, 0, accepted + rejected, 0, 0, 0)


def rows_of(answer: httpx2.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(answer.content.decode("utf-8-sig").splitlines()))


async def made(site: Site, count: int = 200) -> None:
    await make_offers(site.node, count, TWELVE_HOURS)


def tile(page: Element, label: str) -> Element:
    return next(tile for tile in page.every("div", class_="tile") if tile.one("dt").text == label)


def test_every_part_of_a_window_is_there_also_where_the_clocks_change() -> None:
    for now in (NOW, datetime(2026, 10, 25, 9, 5, tzinfo=UTC), datetime(2026, 3, 29, 9, 5, tzinfo=UTC)):
        hours = insights_of(WINDOWS["24h"], now, BERLIN, [], NO_ERRORS).over_time
        assert len(hours) == 25
        assert all(later[0] - earlier[0] == timedelta(hours=1) for earlier, later in pairwise(hours))
        days = [at.astimezone(BERLIN) for at, _ in insights_of(WINDOWS["7d"], now, BERLIN, [], NO_ERRORS).over_time]
        assert [day.hour for day in days] == [0] * 8
        assert [day.date() - days[0].date() for day in days] == [timedelta(days=n) for n in range(8)]
    assert start_of(NOW, ZoneInfo("Asia/Kolkata"), by_day=False) == NOW
    # Midnight comes twice: at 0:00 and 1:00 UTC.
    now = datetime(2026, 10, 27, 9, 5, tzinfo=UTC)
    azores = insights_of(WINDOWS["7d"], now, ZoneInfo("Atlantic/Azores"), [], NO_ERRORS).over_time
    assert [at.hour for at, _ in azores] == [0] * 6 + [1] * 2


def test_yesterday_and_last_week_are_whole_days_also_where_the_clocks_change() -> None:
    midnight = datetime(2026, 3, 29, 22, tzinfo=UTC)  # of Monday 30 March, after a day of 23 hours
    for hours in (0.01, 11, 23.9):
        now = midnight + timedelta(hours=hours)
        yesterday = insights_of(WINDOWS["yesterday"], now, BERLIN, [], NO_ERRORS)
        assert (yesterday.since, yesterday.until) == (datetime(2026, 3, 28, 23, tzinfo=UTC), midnight)
        assert len(yesterday.over_time) == 23
    for days in (0.5, 2, 6.9):
        week = insights_of(WINDOWS["lastweek"], midnight + timedelta(days=days), BERLIN, [], NO_ERRORS)
        assert (week.since, week.until) == (datetime(2026, 3, 22, 23, tzinfo=UTC), midnight)
        assert [at.astimezone(BERLIN).day for at, _ in week.over_time] == [23, 24, 25, 26, 27, 28, 29]


def test_what_was_counted_is_put_where_it_belongs() -> None:
    noon = datetime(2026, 11, 24, 11, tzinfo=UTC)
    offers = [
        ended(noon, accepted=8, auto_accepted=2, rejected=4, expired=2, answered=12),
        ended(noon - timedelta(hours=24), accepted=2, answered=2),
    ]
    found = insights_of(WINDOWS["7d"], NOW, BERLIN, [*offers, ended(noon, wanted=20, late=1)], NO_ERRORS)
    assert (found.total.offers, found.total.acceptance) == (18, 10 / 18)
    assert (found.total.response_seconds, found.total.late_share) == (4.0, 0.05)
    assert found.hours[12][1].offers == 18
    assert [tally.offers for _, tally in found.over_time] == [0, 0, 0, 0, 0, 0, 2, 16]
    assert found.over_time[0][1].acceptance is None


def test_another_time_to_answer_catches_what_was_quicker() -> None:
    groups = [ended(NOW, accepted=9, expired=1, answered=9), answered(4, 6), answered(5, 2), answered(29, 1)]
    found = insights_of(WINDOWS["24h"], NOW, BERLIN, groups, NO_ERRORS)
    caught = {row.seconds: row for row in found.timeouts(25)}
    assert [(caught[at].answered, caught[at].share) for at in (5, 10, 25, 30)] == [
        (6, 0.6),
        (8, 0.8),
        (8, 0.8),
        (9, 0.9),
    ]
    assert [at for at, row in caught.items() if row.is_current] == [25]
    assert [row.is_known for row in found.timeouts(25)] == [True] * 5 + [False] * 5
    assert (found.within(0.5), found.within(0.95)) == (5, 30)
    assert [(part.seconds, part.accepted) for part in found.answers()] == [
        (0, 6), (5, 2), (10, 0), (15, 0), (20, 0), (25, 1),
    ]  # fmt: skip


def test_errors_of_estimates_count_early_and_late_ones() -> None:
    day = datetime(2026, 11, 23, 23, tzinfo=UTC)
    groups = [
        ErrorGroup("north", day, "assignment", seconds, deliveries)
        for seconds, deliveries in ((-30, 1), (0, 4), (30, 1), (300, 3), (-600, 1))
    ]
    found = estimate_errors(NOW - timedelta(days=1), NOW, BERLIN, groups)
    total = found.total.assignment
    assert (total.count, total.median, total.p90, total.later) == (10, 30, 300, 0.4)
    assert [(day, both.assignment.count) for day, both in found.days] == [(day - timedelta(days=1), 0), (day, 10)]
    assert found.zones == [("north", found.total)]
    assert (found.total.pickup.median, found.total.pickup.later) == (None, None)


# Of each five one was assigned by ops, one was an add-on, and one has no estimate. The others' pickup was 10 min after
# the offer, and the handover 20 min after that; half of them are in the north.
ESTIMATES = """
WITH d AS (
    UPDATE deliveries d SET over_at = m.offered_at + interval '30 min',
           zone = CASE WHEN n % 2 = 0 THEN 'north' ELSE 'south' END
    FROM (SELECT o.delivery_id, o.id, o.created_at AS offered_at, row_number() OVER (ORDER BY o.id) AS n
          FROM driver_offers o JOIN deliveries d ON d.id = o.delivery_id
          WHERE d.status = 'DELIVERED' ORDER BY o.id LIMIT 100) m
    WHERE d.id = m.delivery_id RETURNING d.id, m.id AS offer_id, m.offered_at, m.n),
o AS (
    UPDATE driver_offers o SET offer_payload = CASE n % 5 WHEN 4 THEN '{}' ELSE jsonb_build_object(
        'estimatedDeliveryTime', offered_at + interval '27 min', 'estimatedTripKm', 2.5)
        || CASE n % 5 WHEN 3 THEN '{"addOn": {}}'::jsonb ELSE '{}' END END
    FROM d WHERE d.offer_id = o.id),
e AS (
    UPDATE events e
    SET assignment_id = a.id, data = jsonb_build_object('estimatedDeliveryAt', offered_at + interval '26 min')
    FROM d JOIN assignments a ON a.delivery_id = d.id
    WHERE e.delivery_id = d.id AND n % 5 = 2 AND e.type = 'delivery.assigned')
UPDATE assignments a SET picked_up_at = offered_at + interval '10 min', completed_at = offered_at + interval '30 min',
       pickup_due_at = offered_at + interval '9 min', offer_id = CASE WHEN n % 5 <> 2 THEN a.offer_id END,
       source = CASE WHEN n % 5 = 2 THEN 'manual' ELSE source END
FROM d WHERE d.id = a.delivery_id"""


async def test_the_errors_of_estimates_are_those_of_the_events(site: Site) -> None:
    await made(site)
    connection = await asyncpg.connect(site.node.settings.database_url)
    await connection.execute("UPDATE driver_offers SET offer_payload = '{}'")
    await connection.execute(ESTIMATES)
    await connection.close()
    rows = rows_of(await site.vic.get("/insights/estimates.csv?window=7d"))
    total = [row for row in rows if row["day"] and row["assignmentDeliveries"] != "0"]
    assert sum(int(row["assignmentDeliveries"]) for row in total) == 80
    zones = {row["zone"]: row for row in rows if row["zone"]}
    assert {zone: int(row["pickupDeliveries"]) for zone, row in zones.items()} == {"north": 40, "south": 40}
    # At the assignment 3 min late, and 4 min late if ops assigned it. At the pickup the ride was to take 16 min (2.5 km
    # at 25 km/h and 10 min of handover), 18 min as an add-on, and 17 min by ops: 4, 2 and 3 min late.
    north = zones["north"]
    assert [north[f"assignment{of}"] for of in ("MedianSeconds", "P90Seconds", "LaterShare")] == ["180", "240", "1.0"]
    assert [north[f"pickup{of}"] for of in ("MedianSeconds", "P90Seconds", "LaterShare")] == ["180", "240", "1.0"]
    rows = rows_of(await site.vic.get("/insights/estimates.csv?window=7d&zone=south"))
    assert {row["zone"] for row in rows if row["zone"]} == {"south"}
    vic = await logged_in(site, "Vic", "viewer")
    page = parse((await vic.see("/insights?window=7d")).text)
    cells = [cell.text for cell in page.one("table", id="t-estimates-zone").one("tbody").every("td")]
    assert cells[:7] == ["40", "3 min", "4 min", "100%", "3 min", "4 min", "100%"]


async def test_the_screen_shows_the_metrics_against_their_targets(site: Site) -> None:
    await made(site)
    vic = await logged_in(site, "Vic", "viewer")
    answer = await vic.see("/insights")
    assert answer.status_code == 200, answer.text
    page = parse(answer.text)
    acceptance = tile(page, "Acceptance")
    assert acceptance.one("b").text == "74%"  # 140 of the 190 that were not withdrawn
    assert (acceptance["data-state"], acceptance.one(class_="tag").text) == ("bad", "✕ off target")
    assert tile(page, "Auto-accepted").one("b").text == "10"
    assert tile(page, "Unassigned over 5 min").one("b").text == "4%"
    assert tile(page, "Unassigned over 5 min")["data-state"] == "good"
    reasons = page.one("section", aria_labelledby="h-reasons").every("tr")[1:]
    assert [[cell.text for cell in row.children if isinstance(cell, Element)] for row in reasons] == [
        ["=1+1", "10", "33%"], ["No reason given", "10", "33%"], ["Too far", "10", "33%"],
    ]  # fmt: skip
    over_time = page.one("table", id="t-time").one("tbody").every("tr")
    assert len(over_time) == 25
    assert sum("data-acceptance" in row for row in over_time) >= 12
    for plot in page.every("div", class_="plot"):
        assert page.one(id=plot["data-table"]).tag == "table"


async def test_the_zone_and_the_window_stand_in_the_address(site: Site) -> None:
    await made(site)
    vic = await logged_in(site, "Vic", "viewer")
    page = parse((await vic.see("/insights?window=7d&zone=north")).text)
    chosen = [option.text for option in page.every("option") if "selected" in option]
    assert chosen == ["7 days", "north"]
    assert [option.text for option in page.every("select")[1].every("option")] == [
        "All zones", "east", "north", "south",
    ]  # fmt: skip
    assert len(page.one("table", id="t-time").one("tbody").every("tr")) == 8
    assert tile(page, "Acceptance").one("small").text.endswith(" of 64 offers")
    for link in page.every("a"):
        if link["href"].endswith(".csv") or ".csv?" in link["href"]:
            assert "window=7d" in link["href"]
            assert (await vic.see(link["href"])).status_code == 200
    odd = await vic.see("/insights?window=forever&zone=%00%3Cb%3E")
    assert odd.status_code == 200
    assert "<b>" not in odd.text.partition("<main")[2].partition("</form>")[0]


async def test_every_table_is_a_file_that_no_spreadsheet_runs(site: Site, problem: Check) -> None:
    await made(site)
    rows = {
        name: rows_of(await site.vic.get(f"/insights/{name}.csv"))
        for name in ("time", "hours", "zones", "reasons", "responses", "timeouts", "estimates")
    }
    assert sum(int(row["accepted"]) for row in rows["time"]) == 140
    assert sum(int(row["autoAccepted"]) for row in rows["hours"]) == 10
    assert {row["zone"] for row in rows["zones"]} == {"north", "south", "east"}
    assert {row["reason"]: row["rejected"] for row in rows["reasons"]} == {
        "too_far": "10", "'=1+1": "10", "none_given": "10",
    }  # fmt: skip
    assert sum(int(row["accepted"]) + int(row["rejected"]) for row in rows["responses"]) == 170
    [current] = [row for row in rows["timeouts"] if row["isCurrent"] == "true"]
    assert (current["offerTimeoutSeconds"], current["answeredInTime"]) == ("30", "170")
    assert float(current["answeredShare"]) == round(170 / 190, 4)
    problem(await site.vic.get("/insights/secrets.csv"), 404, "not_found")
    problem(await site.nobody.get("/insights/time.csv"), 401, "unauthorized")
    problem(await site.shop.get("/insights"), 403, "forbidden")


async def test_the_numbers_are_those_of_the_api(site: Site) -> None:
    await made(site)
    stats = (await site.vic.get("/admin/stats?windowMinutes=1440")).json()
    rows = rows_of(await site.vic.get("/insights/time.csv"))
    for key, name in (
        ("accepted", "accepted"),
        ("autoAccepted", "autoAccepted"),
        ("rejected", "rejected"),
        ("expired", "expired"),
    ):
        assert sum(int(row[name]) for row in rows) == stats[key]
    wanted, late = (sum(int(row[name]) for row in rows) for name in ("deliveriesWanted", "unassignedOver5Min"))
    assert late / wanted == stats["unassignedOver5MinShare"]


async def test_an_empty_house_has_no_numbers_and_no_mistakes(site: Site) -> None:
    vic = await logged_in(site, "Vic", "viewer")
    page = parse((await vic.see("/insights?window=90d")).text)
    assert tile(page, "Acceptance").one("b").text == "–"
    assert "data-state" not in tile(page, "Acceptance")
    assert rows_of(await site.vic.get("/insights/responses.csv")) == []
