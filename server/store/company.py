"""The settings that admins change on the screen: the rows of those that were set. All functions raise DatabaseAway."""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from server.store.connections import Pool
from server.store.query import fetch
from server.store.tables import CompanySetting
from server.store.typed import ask

WRITE: Final = """
INSERT INTO company_settings (name, value, changed_by, changed_at)
SELECT name, value, $3, clock_timestamp() FROM unnest($1::text[], $2::text[]) AS given (name, value)
ON CONFLICT (name) DO UPDATE
SET value = EXCLUDED.value, changed_by = EXCLUDED.changed_by, changed_at = EXCLUDED.changed_at
WHERE company_settings.value <> EXCLUDED.value"""


class SetValue(Struct, frozen=True):
    value: str
    by: str


async def read_company_settings(pool: Pool) -> dict[str, SetValue]:
    """By the name of the setting."""
    columns = (CompanySetting.name, CompanySetting.value, CompanySetting.changed_by)
    rows = await ask(pool, CompanySetting.select(*columns).order_by(CompanySetting.name))
    return {name: SetValue(value, by) for name, value, by in rows}


async def write_company_settings(pool: Pool, values: Mapping[str, str], by: str) -> None:
    """Set these, all or none."""
    await fetch(pool, WRITE, list(values), list(values.values()), by)
