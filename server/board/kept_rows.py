"""Every row of the board, rendered once and kept as HTML, and the message that brings an open board up to date."""

import asyncio
import itertools
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from server.board.picture import Changes, Picture, Table
from server.board.render import PREFIX, List, Renderer, Stats, partial_of
from server.store.reads.board import WAITING, BoardDelivery, BoardDriver

AT_ONCE: Final = 50
"""Rows rendered before others get their turn."""
DELIVERY_LISTS: Final[tuple[List, ...]] = ("waiting", "offers", "active")


class WholeBoard(Struct, frozen=True):
    """The whole board as of `position`: each table's rows in order, the alerts, the headline, the zones there are."""

    position: str
    rows: dict[List, str]
    alerts: str
    headline: str
    cuts: dict[Table, str]
    zones: list[str]


class KeptRows:
    """The rows and numbers of a picture, rendered."""

    def __init__(self, renderer: Renderer, picture: Picture) -> None:
        self._renderer = renderer
        self._picture = picture
        self._rows: dict[List, dict[str, str]] = {name: {} for name in PREFIX}
        self._alerts = self._headline = ""
        self._cuts: dict[Table, str] = {}

    async def render_all(self, stats: Stats) -> None:
        """Render everything in the picture. Others get their turn in between: there may be much."""
        for count, delivery in enumerate(list(self._picture.deliveries.values())):
            self._keep(delivery.id, self.delivery(delivery, 0))
            await yield_every(count)
        for count, driver in enumerate(list(self._picture.drivers.values())):
            self._rows["drivers"][driver.id] = self._driver(driver, 0)
            await yield_every(count)
        self._alerts = self._renderer.alerts(self._picture.alerts)
        self._headline = self._renderer.headline(self._picture.zones(), stats)
        self._cuts = self._rendered_cuts()

    def whole(self, position: str) -> WholeBoard:
        picture, rows = self._picture, self._rows
        order: dict[List, Iterable[str]] = {
            "waiting": (d.id for d in picture.waiting()),
            "offers": (d.id for d in picture.offered()),
            "active": (d.id for d in picture.under_way()),
            "drivers": (
                d.id for d in sorted(picture.drivers.values(), key=lambda d: (d.id not in picture.gone, d.name, d.id))
            ),
        }
        return WholeBoard(
            position,
            {name: "\n".join(rows[name][key] for key in keys if key in rows[name]) for name, keys in order.items()},
            self._alerts,
            self._headline,
            dict(self._cuts),
            sorted(zone for zone in picture.zones() if zone),
        )

    async def update(self, changes: Changes, stats: Stats, rev: int) -> str:
        """Render what changed; the message for the boards, empty if they show it already. Others get their turn in
        between.
        """
        pieces: list[str] = []
        for count, delivery in enumerate(itertools.chain(changes.over, changes.cut, changes.deliveries)):
            await yield_every(count)
            shown = delivery.id in self._picture.deliveries
            made = self.delivery(delivery, rev) if shown else {}
            for left in self._keep(delivery.id, made):
                target = f"#{PREFIX[left]}-{delivery.id}"
                if left == "offers" or (not shown and delivery.status == WAITING):
                    # The row names itself: a board that holds still has it apart from its table.
                    pieces.append(
                        partial_of(target, "delete", f'<tr id="{PREFIX[left]}-{delivery.id}" data-gone></tr>')
                    )
                else:
                    pieces.append(partial_of(target, "outerMorph", self._renderer.over(delivery, rev, left)))
            pieces += [partial_of(f"#{PREFIX[name]}-{delivery.id}", "outerMorph", row) for name, row in made.items()]
        for count, driver in enumerate(changes.drivers):
            await yield_every(count)
            row = self._driver(driver, rev)
            self._rows["drivers"][driver.id] = row
            pieces.append(partial_of(f"#v-{driver.id}", "outerMorph", row))
        alerts = self._renderer.alerts(self._picture.alerts)
        if alerts != self._alerts:
            self._alerts = alerts
            pieces.append(partial_of("#alerts", "outerMorph", alerts))
        headline = self._renderer.headline(self._picture.zones(), stats)
        if headline != self._headline:
            self._headline = headline
            pieces.append(partial_of("#headline", "outerMorph", headline))
        for table, cut in self._rendered_cuts().items():
            if cut != self._cuts[table]:
                self._cuts[table] = cut
                pieces.append(partial_of(f"#cut-{table}", "outerMorph", cut))
        return "".join(pieces)

    def drop_drivers(self, driver_ids: Iterable[str]) -> None:
        for driver_id in driver_ids:
            self._rows["drivers"].pop(driver_id, None)

    def delivery(self, delivery: BoardDelivery, rev: int) -> dict[List, str]:
        return self._renderer.delivery(delivery, self._picture.gone_with(delivery), rev)

    def _driver(self, driver: BoardDriver, rev: int) -> str:
        picture = self._picture
        seen, gone = picture.seen.get(driver.id), picture.gone.get(driver.id)
        return self._renderer.driver(driver, seen, gone, rev, *picture.marks(driver.id))

    def _keep(self, delivery_id: str, made: dict[List, str]) -> list[List]:
        """Keep these rows of a delivery; the tables it left."""
        left: list[List] = []
        for name in DELIVERY_LISTS:
            if name in made:
                self._rows[name][delivery_id] = made[name]
            elif self._rows[name].pop(delivery_id, None) is not None:
                left.append(name)
        return left

    def _rendered_cuts(self) -> dict[Table, str]:
        return {table: self._renderer.cut(table, *counts) for table, counts in self._picture.cuts().items()}


async def yield_every(count: int) -> None:
    """Give others their turn now and then, in a loop over many."""
    if count % AT_ONCE == AT_ONCE - 1:
        await asyncio.sleep(0)
