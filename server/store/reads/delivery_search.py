"""The search of deliveries: a page of those that a filter wants, by columns and by parts of words."""

import re
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, get_args

from msgspec import Struct

from server.contract.phones import digits_in_any_spelling
from server.contract.spellings import spellings
from server.dispatch.model import ERASED, Delivery, DeliveryStatus
from server.ids import FIRST_ID, first_id_at
from server.store.connections import Pool
from server.store.query import fetch, fetch_one
from server.store.reads.deliveries import JOINS, WHOLE, whole_delivery
from server.store.reads.pay import IS_REAL

SEARCHABLE: Final = f"""
coalesce((SELECT delivery_id FROM delivery_search ORDER BY delivery_id DESC LIMIT 1),
         '{FIRST_ID}')"""  # noqa: S608
"""The newest delivery with a row in `delivery_search`; later ones have none yet."""
ALWAYS: Final = object()


class DeliveryFilter(Struct, frozen=True):
    """A filter of deliveries. None means any.

    `driver_id` has or had it. `since` and `until` bound the time of creation, both included. `words`, at least three
    characters, is a part of the number, store, addresses, names, phones or notes. `with_drivers`: or of the name of a
    driver who has or had it, and if a driver has the goods, of the name and phone there. A phone number is found in any
    spelling, words with and without the marks on their letters. `for_import`: without test orders and erased ones.
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
    with_drivers: bool = True
    for_import: bool = False


async def find_deliveries(pool: Pool, wanted: DeliveryFilter, before: str | None, limit: int) -> list[Delivery]:
    """Newest first, those older than the delivery `before`. Raises DatabaseAway, also after 5 s."""
    query, args = page_of(wanted, before, limit)
    return [whole_delivery(row) for row in await fetch(pool, query, *args)]


def page_of(wanted: DeliveryFilter, before: str | None, limit: int) -> tuple[str, list[object]]:
    """The statement of a page, and its arguments."""
    query = _Query(limit)
    if wanted.status is not None:
        # Spelled out, not a parameter, so that the partial index on open deliveries serves; one of a closed set.
        assert wanted.status in get_args(DeliveryStatus)
        query.both(f"d.status = '{wanted.status}'")
    if wanted.for_import:
        query.both(f"{IS_REAL} AND d.fingerprint <> '{ERASED}'")
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
        words = [f"%{_LIKE.sub(_escaped, form)}%" for form in spellings(wanted.words)]
        digits = digits_in_any_spelling(wanted.words)
        if digits is not None and f"%{digits}%" not in words:
            words.append(f"%{digits}%")
        query.words(words, with_drivers=wanted.with_drivers)
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


WITHOUT_DRIVER: Final = 'jsonb_populate_record(d, \'{"pickup_name": null, "pickup_phone": null}\')'
"""The delivery without the name and phone of the driver who has the goods."""
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
        (search,) = self._any_of(("s.words LIKE lower({})",), patterns)  # in this form an index serves each of them
        places = range(len(self.args) - len(patterns) + 1, len(self.args) + 1)
        like = f"LIKE ANY (ARRAY[{', '.join(f'lower(${place})' for place in places)}])"
        self._words = f"delivery_words(d) {like}", search
        self._drivers = f"search_words(v.name) {like}" if with_drivers else None
        if not with_drivers:
            self.both(f"(d.details->'store' IS NULL OR delivery_words({WITHOUT_DRIVER}) {like})")

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
            return f"{WHOLE}\nFROM ({chosen}) d{JOINS}\nORDER BY d.id DESC"
        itself, search = ([one] for one in self._words) if self._words is not None else ([], [])
        sources = [
            _newest(
                "delivery_search s JOIN deliveries d ON d.id = s.delivery_id",
                # Ids of both: what bounds one side of a join does not tell the planner where to begin on the other.
                [*search, *self._search, *self._ids_of("s.delivery_id"), *self._ids_of("d.id"), *self._both],
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
        return f"{WHOLE}\nFROM ({chosen}) d{JOINS}\nORDER BY d.id DESC"

    def _of_drivers(self, name: str) -> str:
        """The newest deliveries of each driver with this name."""
        of_driver = ["e.driver_id = v.id", "e.type = 'delivery.assigned'", *self._ids_of("e.delivery_id")]
        # From the newest, and each delivery looked up, until there are enough: to join all that a driver had with the
        # index of all deliveries takes longer the more there are.
        events = (
            f"SELECT DISTINCT e.delivery_id FROM events e WHERE {' AND '.join(of_driver)}"  # noqa: S608 - ours
            " ORDER BY e.delivery_id DESC"
        )
        one = " AND ".join(["d.id = e.delivery_id", *self._itself, *self._both])
        theirs = (
            f"SELECT d.* FROM ({events}) e CROSS JOIN LATERAL (SELECT * FROM deliveries d WHERE {one} OFFSET 0) d"  # noqa: S608
            " ORDER BY e.delivery_id DESC LIMIT $1"
        )
        drivers = f"SELECT v.id FROM drivers v WHERE {name} ORDER BY v.id DESC LIMIT {DRIVERS_BY_NAME}"  # noqa: S608
        return f"SELECT d.* FROM ({drivers}) v CROSS JOIN LATERAL ({theirs}) d"  # noqa: S608 - ours


def _newest(source: str, conditions: list[str], by: str = "d.id") -> str:
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT d.* FROM {source} {where} ORDER BY {by} DESC LIMIT $1"  # noqa: S608 - conditions are made here


HAS_INDEX_OF_WORDS: Final = "SELECT to_regclass('delivery_search_words') IS NOT NULL"


async def has_index_of_words(pool: Pool) -> bool:
    """Whether parts of words are found by an index: the database has pg_trgm. Raises DatabaseAway."""
    return bool((await fetch_one(pool, HAS_INDEX_OF_WORDS))[0])
