"""Words are found with and without the marks on their letters: José by Jose, Müller by Muller and Mueller.

`search_words` adds these spellings to the text that is searched (server/contract/spellings.py has the same ones for
what is looked for). What is ASCII stays as it is. Nodes of the previous release search the same text and find in it
what they found before. Rows that are there already are written again by store/jobs/search_rows.py, a few at a time.
"""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-02-01T00:00:00:000051"

TEXTS = (
    "seller_order_id", "store_name", "pickup_address", "dropoff_address", "pickup_name", "dropoff_name",
    "pickup_phone", "dropoff_phone", "notes", "pickup_notes", "dropoff_notes",
)  # fmt: skip
PHONES = ("pickup_phone", "dropoff_phone")


def _replaced(text: str, letters: dict[str, str]) -> str:
    for letter, two in letters.items():
        text = f"replace({text}, '{letter}', '{two}')"
    return text


STATEMENTS = (
    f"""
    CREATE FUNCTION without_marks(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    BEGIN
        IF t ~ '[ßẞæœþøłđðı]' THEN
            t := translate({_replaced("t", {"ß": "ss", "ẞ": "ss", "æ": "ae", "œ": "oe", "þ": "th"})}, 'øłđðı', 'olddi');
        END IF;
        t := regexp_replace(normalize(t, NFD), '[\\u0300-\\u036f]+', '', 'g');
        RETURN CASE WHEN octet_length(t) = length(t) THEN t ELSE normalize(t, NFC) END;
    END
    $$
    """,
    # To look first is a fraction of the work.
    f"""
    CREATE FUNCTION search_words(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
    DECLARE
        small text := lower(t);
        plain text;
    BEGIN
        IF octet_length(small) = length(small) THEN
            RETURN small;
        END IF;
        plain := without_marks(small);
        t := CASE WHEN small IS NFC NORMALIZED THEN small ELSE normalize(small, NFC) END;
        IF t ~ '[äöüåø]' THEN
            t := without_marks({_replaced("t", {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})});
        ELSE
            t := plain;
        END IF;
        RETURN concat_ws(E'\\n', small, nullif(plain, small), nullif(t, plain));
    END
    $$
    """,
    f"""
    CREATE OR REPLACE FUNCTION delivery_words(d deliveries) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT search_words(concat_ws(E'\\n', {", ".join(f"d.{name}" for name in TEXTS)},
        {", ".join(f"nullif(regexp_replace(d.{name}, '[^0-9]', '', 'g'), '')" for name in PHONES)}))
    $$
    """,
    """
    CREATE INDEX delivery_search_unspelled ON delivery_search (delivery_id)
    WHERE NOT spelled AND octet_length(words) <> length(words)
    """,
)


async def run() -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in STATEMENTS:
        await engine.run_ddl(statement)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="callboard", description="spellings")
    manager.add_raw(run)
    return manager
