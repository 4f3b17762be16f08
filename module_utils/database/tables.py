"""The two tables of the application: their definition, and checks of existing ones.

Existing tables stay as they are. They fit if the application can read and write them: they have the columns, with
types that keep the meaning of the values, and a unique key for the upsert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

_TEXT = ("text", "character varying", "citext")
_INSTANT = ("timestamp with time zone",)
_MOMENT = ("timestamp with time zone", "timestamp without time zone")
_PRICE = ("numeric", "double precision")
_AMOUNT = ("numeric", "bigint", "double precision", "integer")
# The values of a bar, in the order of EODHD's answers, with the types that an existing column may have.
FIGURES = {
    "open": _PRICE,
    "high": _PRICE,
    "low": _PRICE,
    "close": _PRICE,
    "adjusted_close": _PRICE,
    "volume": _AMOUNT,
}
PRICES = [name for name, fitting in FIGURES.items() if fitting is _PRICE]
# More characters than any symbol, exchange or type of asset has.
LONGEST = 32
# A query on more symbols reads all of them instead: TimescaleDB plans each symbol for each compressed chunk.
NAMED = 50


class Column(NamedTuple):
    """A column of a table."""

    name: str
    definition: str
    fitting: tuple[str, ...]  # the types that an existing column may have
    optional: bool = False  # an existing table may lack it
    unknown: bool = False  # a row may have no value


class Table(NamedTuple):
    """A table of the application; ``key`` makes a row unique."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def statement(self) -> str:
        """Return the statement that creates the table, in the first schema of the search path."""
        columns = "".join(f"  {column.name} {column.definition},\n" for column in self.columns)
        return f"CREATE TABLE {self.name} (\n{columns}  PRIMARY KEY ({', '.join(self.key)})\n)"


BARS = Table(
    "market_data",
    (
        # Without a time zone, midnight UTC would be another day in some sessions.
        Column("time", "timestamptz", _INSTANT),
        Column("symbol", "text", _TEXT),
        *(Column(name, "numeric", fitting) for name, fitting in FIGURES.items()),
    ),
    ("time", "symbol"),
)
TABLES = (
    Table(
        "assets",
        (
            Column("symbol", "text", _TEXT),
            Column("exchange", "text", _TEXT),
            Column("asset_type", "text", _TEXT, unknown=True),
            Column("is_active", "boolean DEFAULT true", ("boolean",)),
            Column("last_synced", "timestamptz", _INSTANT),
            # Only the database sets these, so either type works.
            Column("created_at", "timestamptz DEFAULT now()", _MOMENT),
            Column("updated_at", "timestamptz DEFAULT now()", _MOMENT),
            Column("renamed_to", "text", _TEXT, optional=True),
        ),
        ("symbol",),
    ),
    BARS,
)


class Found(NamedTuple):
    """An existing relation with a table's name.

    Attributes:
        kind: ``relkind`` of pg_class: r table, p partitioned table, v view, …; i if other tables inherit from it.
        types: of each column, as ``format_type`` writes it; domains are resolved.
        needed: columns that are NOT NULL without a default.
        filled: columns that are NOT NULL.
        keys: the columns of each unique index that an upsert can use.
    """

    kind: str
    types: Mapping[str, str]
    needed: frozenset[str]
    filled: frozenset[str]
    keys: tuple[frozenset[str], ...]


_KINDS = {
    "i": "a table that others inherit from, so its key does not cover their rows",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
}


def misfits(table: Table, found: Found) -> list[str]:
    """Return why the application cannot use an existing table: table, column, found, expected."""
    if found.kind not in ("r", "p"):
        return [f"{table.name} is {_KINDS.get(found.kind, 'not a table')}; expected a table"]
    problems = []
    for column in table.columns:
        at, have = f"{table.name}.{column.name}", found.types.get(column.name)
        wanted = " or ".join(column.fitting)
        if have is None and column.optional:
            continue
        if have is None:
            problems.append(f"column {at} is missing; expected {wanted}")
        elif _base(have) not in column.fitting:
            problems.append(f"column {at} is {have}; expected {wanted}")
        if column.unknown and column.name in found.filled:
            problems.append(
                f"column {at} is NOT NULL, but some symbols have no value for it; expected a nullable column"
            )
    ours = {column.name for column in table.columns}
    problems += [
        f"column {table.name}.{name} is NOT NULL without a default, and nothing fills it; expected a default"
        for name in sorted(found.needed - ours)
    ]
    if frozenset(table.key) not in found.keys:
        problems.append(
            f"{table.name} has no unique key on ({', '.join(table.key)}) that an upsert can use;"
            f" expected PRIMARY KEY ({', '.join(table.key)})"
        )
    return problems


_EFFECTS = {
    "numeric": "digits that do not fit are rounded or refused",
    "character varying": "longer text is refused",
    "bigint": "fractions are rounded",
    "integer": "fractions are rounded",
    "double precision": "very long values do not fit",
}


def widening(table: Table, found: Found) -> tuple[str, str] | None:
    """Return a note on the narrow columns of a table that fits, and the statement that widens them; or None."""
    effects, changes = [], []
    for column in table.columns:
        have = found.types.get(column.name, "")
        length = re.fullmatch(r"character varying\((\d+)\)", have)
        if int(length[1]) < LONGEST if length else column.definition == "numeric" != have:
            effects.append(f"{column.name} is {have} ({_EFFECTS[_base(have)]})")
            changes.append(f"ALTER COLUMN {column.name} TYPE {column.definition}")
    if not changes:
        return None
    statement = f"ALTER TABLE {table.name} {', '.join(changes)}"
    wider = f"To widen them, set database_widen: true; it runs {statement}"
    return f"{table.name}: {', '.join(effects)}. {wider}", statement


def _base(type_name: str) -> str:
    """Return a type without its precision: ``numeric(12,4)`` is ``numeric``."""
    return type_name.partition("(")[0].strip() + type_name.partition(")")[2]


_COLUMNS = """
SELECT CASE WHEN c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_inherits i JOIN pg_class h ON h.oid = i.inhrelid
    WHERE i.inhparent = c.oid AND NOT (h.relname ~ '_chunk' AND to_regnamespace('_timescaledb_internal') IS NOT NULL))
  THEN 'i' ELSE c.relkind END, a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid),
         CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS needed, a.attnotnull
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = to_regclass(%s)
"""
_KEYS = """
SELECT array_agg(a.attname::text)
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""


def there(cursor: Any, name: str) -> bool:
    """Return whether the search path has a relation of this name."""
    cursor.execute("SELECT to_regclass(%s) IS NOT NULL", (name,))
    return bool(cursor.fetchone()[0])


def mingled(cursor: Any) -> bool:
    """Return whether TimescaleDB compresses rows of different symbols in ``market_data`` together."""
    if not there(cursor, "timescaledb_information.compression_settings"):
        return False
    cursor.execute(
        "SELECT h.compression_enabled AND NOT EXISTS (SELECT 1 FROM timescaledb_information.compression_settings s"
        " WHERE (s.hypertable_schema, s.hypertable_name) = (h.hypertable_schema, h.hypertable_name)"
        " AND s.attname = 'symbol' AND s.segmentby_column_index IS NOT NULL)"
        " FROM timescaledb_information.hypertables h"
        " WHERE format('%%I.%%I', h.hypertable_schema, h.hypertable_name)::regclass = to_regclass(%s)",
        (BARS.name,),
    )
    return bool((cursor.fetchone() or (False,))[0])


def look_up(cursor: Any, table: Table) -> Found | None:
    """Return the relation with the table's name in the search path, or None."""
    cursor.execute(_COLUMNS, (table.name,))
    rows = cursor.fetchall()
    if not rows:
        return None
    cursor.execute(_KEYS, (table.name,))
    return Found(
        kind=rows[0][0],
        types={name: type_name for _, name, type_name, *_ in rows if name},
        needed=frozenset(name for _, name, _, needed, _ in rows if needed),
        filled=frozenset(name for _, name, *_, filled in rows if filled),
        keys=tuple(frozenset(names) for (names,) in cursor.fetchall()),
    )
