"""Reading deliveries: one, a page of them, and what happened to one."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from msgspec import Raw, Struct

from server.dispatch.model import ERASED, Actor, Delivery, DeliveryStatus, Unassigned
from server.ids import FIRST_ID, first_id_at
from server.store.connections import Pool
from server.store.query import fetch, fetch_one
from server.store.reads.operations import NEAREST, nearest_of
from server.store.rows import (
    ASSIGNMENT_COLUMNS,
    ASSIGNMENT_WIDTH,
    DELIVERY_COLUMNS,
    DELIVERY_WIDTH,
    assignment_from,
    columns_of,
    delivery_from,
    fields_of,
    spans,
)

_COLUMNS: Final = f"""
SELECT {DELIVERY_COLUMNS}, {columns_of(Unassigned, "u")}, {NEAREST}, {ASSIGNMENT_COLUMNS}"""
_DELIVERY, _WAIT, _NEAREST, _ASSIGNMENT = spans(DELIVERY_WIDTH, len(fields_of(Unassigned)), 1, ASSIGNMENT_WIDTH)
_JOINS: Final = """
LEFT JOIN unassigned_orders u ON u.delivery_id = d.id
LEFT JOIN assignments a ON a.id = (
    SELECT s.id FROM assignments s
    WHERE s.delivery_id = d.id AND (s.status IN ('ACTIVE', 'COMPLETED')
        OR d.status IN ('FAILED', 'RETURNED') AND s.status IN ('FAILED', 'RETURNED')
        OR d.status = 'CANCELLED' AND s.picked_up_at IS NOT NULL)
    ORDER BY s.created_at DESC, s.id DESC LIMIT 1)"""

ONE: Final = f"{_COLUMNS}\nFROM deliveries d{_JOINS}\nWHERE d.id = $1"
EXISTS: Final = "SELECT 1 FROM deliveries WHERE id = $1"
TIMELINE: Final = """
SELECT id, at, type, actor_type, actor_id, driver_id, offer_id, assignment_id, data
FROM events WHERE delivery_id = $1 AND id > $2 ORDER BY id LIMIT $3"""

SEARCHABLE: Final = f"""
coalesce((SELECT delivery_id FROM delivery_search ORDER BY delivery_id DESC LIMIT 1),
         '{FIRST_ID}')"""  # noqa: S608
"""The newest delivery with a row in `delivery_search`; later ones have none yet."""
ALWAYS: Final = object()

LAST_EVENTS: Final = """
SELECT d.id, (SELECT e.id FROM events e WHERE e.delivery_id = d.id ORDER BY e.id DESC LIMIT 1)
FROM unnest($1::text[]::uuid[]) AS d (id)"""


class TimelineEvent(Struct, frozen=True):
    """What happened to a delivery, and who did it. `data` is JSON."""

    id: int
    at: datetime
    type: str
    actor: Actor
    driver_id: str | None
    offer_id: str | None
    assignment_id: str | None
    data: Raw


def _delivery(row: Any) -> Delivery:
    """With the assignment only that counts now, and no offers."""
    waited, (nearest,), assigned = row[_WAIT], row[_NEAREST], row[_ASSIGNMENT]
    wait = Unassigned(*(*waited, nearest_of(nearest))) if waited[0] is not None else None
    assignments = {assigned[0]: assignment_from(assigned)} if assigned[0] is not None else {}
    return delivery_from(row[_DELIVERY], wait, assignments)


async def read_delivery(pool: Pool, delivery_id: str) -> Delivery | None:
    """The delivery with its active or completed assignment."""
    row = await fetch_one(pool, ONE, delivery_id)
    return _delivery(row) if row is not None else None


class DeliveryFilter(Struct, frozen=True):
    """A filter of deliveries. None means any.

    `driver_id` has or had it. `since` and `until` bound the time of creation, both included. `words`, at least three
    characters, is a part of the number, store, addresses, names, phones or notes; or of the name of a driver who has or
    had it, unless not `by_drivers_name`.
    """

    status: DeliveryStatus | None = None
    zone: str | None = None
    seller_order_id: str | None = None
    seller_id: str | None = None
    driver_id: str | None = None
    store: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    words: str | None = None
    by_drivers_name: bool = True


async def find_deliveries(pool: Pool, wanted: DeliveryFilter, before: str | None, limit: int) -> list[Delivery]:
    """Newest first, those older than the delivery `before`. Raises DatabaseAway, also after 5 s."""
    query, args = page_of(wanted, before, limit)
    return [_delivery(row) for row in await fetch(pool, query, *args)]


def page_of(wanted: DeliveryFilter, before: str | None, limit: int) -> tuple[str, list[object]]:
    """The statement of a page, and its arguments."""
    query = _Query(limit)
    if wanted.status is not None:
        # Spelled out, not a parameter, so that the partial index on open deliveries serves; one of a closed set.
        assert wanted.status in get_args(DeliveryStatus)
        query.both(f"d.status = '{wanted.status}'")
    query.both("d.zone = {}", wanted.zone)
    query.ids("<", before)
    query.both("d.seller_order_id = {}", wanted.seller_order_id)
    query.both(
        "d.id IN (SELECT delivery_id FROM events WHERE driver_id = {} AND type = 'delivery.assigned')", wanted.driver_id
    )
    if wanted.since is not None:
        query.both("d.created_at >= {}", wanted.since)
        query.ids(">", first_id_at(_moved(wanted.since, -CLOCKS_DIFFER)))
    if wanted.until is not None:
        query.both("d.created_at <= {}", wanted.until)
        query.ids("<", first_id_at(_moved(wanted.until, CLOCKS_DIFFER)))
    if wanted.seller_id is not None:
        query.either("d.seller_id = {}", "s.seller_id = {}", wanted.seller_id)
    if wanted.store is not None:
        query.either("delivery_store(d) = lower({})", "s.store = lower({})", *_forms(" ".join(wanted.store.split())))
    if wanted.words is not None:
        words = [f"%{_LIKE.sub(_escaped, form)}%" for form in _forms(wanted.words)]
        query.words(words, with_drivers=wanted.by_drivers_name)
    return query.sql(), query.args


CLOCKS_DIFFER: Final = timedelta(days=1)
"""Ids begin with the time of a node's clock, `created_at` is the database's. So ids only narrow the range."""
_LIKE: Final = re.compile(r"[\\%_]")


def _forms(text: str) -> tuple[str, ...]:
    """The text composed, and decomposed if that differs: orders keep the form that their source sent."""
    return tuple(dict.fromkeys(unicodedata.normalize(form, text) for form in ("NFC", "NFD")))


def _moved(at: datetime, by: timedelta) -> datetime:
    try:
        return at + by
    except OverflowError:
        return at


def _escaped(special: re.Match[str]) -> str:
    return f"\\{special.group()}"


DRIVERS_BY_NAME: Final = 20
"""So many drivers with a name that has the words, the newest first, are looked up."""


class _Query:
    """The statement of a page: conditions on `deliveries d`, and on its row `s` in `delivery_search`.

    With a condition on `s` it reads two sources: `delivery_search`, and the deliveries that are newer than the newest
    row there (store/jobs/search_rows.py). With words it reads a third: what drivers with such a name have or had.
    """

    def __init__(self, limit: int) -> None:
        self.args: list[Any] = [limit]
        self._both: list[str] = []
        self._itself: list[str] = []
        self._search: list[str] = []
        self._ids: list[str] = []
        self._words: tuple[str, str] | None = None
        self._drivers: str | None = None

    def ids(self, comparison: str, delivery_id: str | None) -> None:
        """Only deliveries with ids like that, unless None: each source then begins there in its own index."""
        if delivery_id is not None:
            self.args.append(delivery_id)
            self._ids.append(f"{comparison} ${len(self.args)}")

    def _ids_of(self, column: str) -> list[str]:
        return [f"{column} {comparison}" for comparison in self._ids]

    def both(self, condition: str, value: object = ALWAYS) -> None:
        """A condition, unless its value is None."""
        if value is not None:
            self._both.append(self._with(condition, value))

    def either(self, itself: str, search: str, *values: object) -> None:
        """A condition on a delivery, and the same condition on its row in `delivery_search`, true for any value."""
        fresh, rows = self._any_of((itself, search), values)
        self._itself.append(fresh)
        self._search.append(rows)

    def words(self, patterns: Sequence[str], *, with_drivers: bool) -> None:
        """The words that a delivery has, or the name of its driver, by any of these patterns."""
        itself, search, name = self._any_of(
            ("delivery_words(d) LIKE lower({})", "s.words LIKE lower({})", "lower(v.name) LIKE lower({})"), patterns
        )
        self._words = itself, search
        self._drivers = name if with_drivers else None

    def _any_of(self, conditions: Sequence[str], values: Sequence[object]) -> list[str]:
        """Each condition, true for any of the values."""
        places = []
        for value in values:
            self.args.append(value)
            places.append(f"${len(self.args)}")
        every = [[condition.format(place) for place in places] for condition in conditions]
        return [f"({' OR '.join(one)})" if len(one) > 1 else one[0] for one in every]

    def _with(self, condition: str, value: object) -> str:
        if value is ALWAYS:
            return condition
        self.args.append(value)
        return condition.format(f"${len(self.args)}")

    def sql(self) -> str:
        """The statement; `$1` is the limit."""
        if not self._search and self._words is None:
            chosen = _newest("deliveries d", [*self._ids_of("d.id"), *self._both])
            return f"{_COLUMNS}\nFROM ({chosen}) d{_JOINS}\nORDER BY d.id DESC"
        itself, search = ([one] for one in self._words) if self._words is not None else ([], [])
        sources = [
            _newest(
                "delivery_search s JOIN deliveries d ON d.id = s.delivery_id",
                [*search, *self._search, *self._ids_of("s.delivery_id"), *self._both],
                "s.delivery_id",
            ),
            _newest(
                "deliveries d", [f"d.id > {SEARCHABLE}", *itself, *self._itself, *self._ids_of("d.id"), *self._both]
            ),
        ]
        if self._drivers is not None:
            sources.append(self._of_drivers(self._drivers))
        every = " UNION ALL ".join(f"({source})" for source in sources)
        chosen = f"SELECT DISTINCT ON (d.id) * FROM ({every}) d ORDER BY d.id DESC LIMIT $1"  # noqa: S608 - ours
        return f"{_COLUMNS}\nFROM ({chosen}) d{_JOINS}\nORDER BY d.id DESC"

    def _of_drivers(self, name: str) -> str:
        """The newest deliveries of each driver with this name."""
        of_driver = ["e.driver_id = v.id", "e.type = 'delivery.assigned'", *self._ids_of("e.delivery_id")]
        events = f"SELECT DISTINCT e.delivery_id FROM events e WHERE {' AND '.join(of_driver)}"  # noqa: S608 - ours
        theirs = _newest(f"({events}) e JOIN deliveries d ON d.id = e.delivery_id", [*self._itself, *self._both])
        drivers = f"SELECT v.id FROM drivers v WHERE {name} ORDER BY v.id DESC LIMIT {DRIVERS_BY_NAME}"  # noqa: S608
        return f"SELECT d.* FROM ({drivers}) v CROSS JOIN LATERAL ({theirs}) d"  # noqa: S608 - ours


def _newest(source: str, conditions: list[str], by: str = "d.id") -> str:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT d.* FROM {source} {where} ORDER BY {by} DESC LIMIT $1"  # noqa: S608 - conditions are made here


async def read_timeline(pool: Pool, delivery_id: str, after: int, limit: int) -> list[TimelineEvent] | None:
    """The events after the event `after`, oldest first. None if there is no such delivery.

    A delivery's events are written under its lock, so their numbers have the order of what happened.
    """
    rows = await fetch(pool, TIMELINE, delivery_id, after, limit)
    if not rows and not await delivery_exists(pool, delivery_id):
        return None
    return [_timeline_event(row) for row in rows]


async def last_events(pool: Pool, delivery_ids: Sequence[str]) -> dict[str, int]:
    """The number of each delivery's last event; 0 if there is none."""
    rows = await fetch(pool, LAST_EVENTS, list(delivery_ids))
    return {row[0]: row[1] or 0 for row in rows}


def _timeline_event(row: Any) -> TimelineEvent:
    return TimelineEvent(*(*row[:3], Actor(row[3], row[4]), *row[5:8], Raw(row[8].encode())))


SCHEDULED: Final = f"""{_COLUMNS}
FROM (SELECT d.* FROM deliveries d WHERE d.status = 'SCHEDULED' ORDER BY d.dispatch_at, d.id LIMIT $1) d{_JOINS}
ORDER BY d.dispatch_at, d.id"""  # noqa: S608 - constants


async def read_scheduled(pool: Pool, limit: int) -> list[Delivery]:
    """The scheduled deliveries, the next first. Raises DatabaseAway."""
    return [_delivery(row) for row in await fetch(pool, SCHEDULED, limit)]


HAS_INDEX_OF_WORDS: Final = "SELECT to_regclass('delivery_search_words') IS NOT NULL"


async def has_index_of_words(pool: Pool) -> bool:
    """Whether parts of words are found by an index: the database has pg_trgm. Raises DatabaseAway."""
    return bool((await fetch_one(pool, HAS_INDEX_OF_WORDS))[0])


class Store(Struct, frozen=True):
    """A store as its newest order names it."""

    name: str
    lat: float
    lon: float
    address: str | None
    phone: str | None


STORES: Final = f"""
SELECT DISTINCT ON (lower(store_name)) store_name, pickup_lat, pickup_lon, pickup_address, pickup_phone
FROM (SELECT * FROM deliveries d ORDER BY id DESC LIMIT $1) d
WHERE fingerprint <> '{ERASED}' AND details->'store' IS NULL
ORDER BY lower(store_name), id DESC"""  # noqa: S608 - constants


async def read_stores(pool: Pool, orders: int) -> list[Store]:
    """The stores of the newest orders, so many, by name. Raises DatabaseAway."""
    return [Store(*row) for row in await fetch(pool, STORES, orders)]


OF_ORDER: Final = "SELECT id FROM deliveries WHERE seller_order_id = $1 ORDER BY id DESC LIMIT 1"


async def newest_of_order(pool: Pool, order_id: str) -> str | None:
    """The id of the newest delivery under a seller's order id. Raises DatabaseAway."""
    row = await fetch_one(pool, OF_ORDER, order_id)
    return None if row is None else str(row[0])


SELLER: Final = "SELECT seller_id FROM deliveries WHERE id = $1"


async def seller_of(pool: Pool, delivery_id: str) -> str | None:
    """Whose delivery this is, which never changes; None if there is none. Raises DatabaseAway."""
    row = await fetch_one(pool, SELLER, delivery_id)
    return None if row is None else str(row[0])


async def delivery_exists(pool: Pool, delivery_id: str) -> bool:
    """Whether there is such a delivery. Raises DatabaseAway."""
    return await fetch_one(pool, EXISTS, delivery_id) is not None
