"""Stores splits and dividends from answers in their tables, and records each change with its old values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.eodhd.store import store
from ansible.module_utils.eodhd.store.parser import JUNK, Parsed, collect, is_day, json_rows, number
from ansible.module_utils.eodhd.store.store import Fetched, Written


@dataclass(frozen=True)
class Kind:
    """A kind of corporate action.

    Attributes:
        name: in the ledger, and as ``type`` of a bulk call.
        path: of the call by symbol.
        table: where it is stored, by symbol and day.
        columns: the table's other columns.
    """

    name: str
    path: str
    table: str
    columns: tuple[str, ...]


SPLITS = Kind("splits", "splits", "market_split", ("new_shares", "old_shares"))
DIVIDENDS = Kind(
    "dividends",
    "div",
    "market_dividend",
    ("value", "unadjusted", "currency", "period", "declared", "recorded", "paid"),
)
KINDS = {kind.name: kind for kind in (SPLITS, DIVIDENDS)}
_RATIO = re.compile(r"(\d+(?:\.\d+)?)[/:](\d+(?:\.\d+)?)", re.ASCII)

_REVISION = "INSERT INTO backfill_action_revision (run, kind, symbol, day, old, new, found)"
_NEW = "jsonb_populate_recordset(NULL::{table}, %(rows)s) n"
# Columns that a row lacks, as bulk rows do, keep their values.
_REVISE = f"""
{_REVISION} SELECT %(run)s, %(kind)s, o.symbol, o.day, to_jsonb(o), to_jsonb(n), %(at)s
FROM {{table}} o JOIN {_NEW} USING (symbol, day)
WHERE NOT to_jsonb(o) @> jsonb_strip_nulls(to_jsonb(n))
"""  # noqa: S608 - our own names
_STORE = f"""
INSERT INTO {{table}} (symbol, day, {{columns}}) SELECT m.symbol, m.day, {{values}}
FROM {_NEW} LEFT JOIN {{table}} o USING (symbol, day), jsonb_populate_record(o, jsonb_strip_nulls(to_jsonb(n))) m
WHERE (to_jsonb(o) @> to_jsonb(m)) IS NOT TRUE ORDER BY 1, 2
ON CONFLICT (symbol, day) DO UPDATE SET {{sets}} RETURNING xmax = 0
"""  # noqa: S608 - our own names
_WITHDRAW = f"""
WITH gone AS (DELETE FROM {{table}} WHERE symbol = %(subject)s AND day BETWEEN %(first)s AND %(last)s
  AND day <> ALL (%(kept)s::date[]) RETURNING *)
{_REVISION} SELECT %(run)s, %(kind)s, symbol, day, to_jsonb(gone), NULL, %(at)s FROM gone
"""  # noqa: S608 - our own names


def parse(body: bytes, kind: Kind, symbol_of: Callable[[Mapping[str, Any]], str]) -> Parsed:
    """Return the actions of an answer; each line is a JSON object with the columns of its table.

    Args:
        kind: of the call.
        symbol_of: returns a row's symbol; empty if it has none.

    Raises:
        ValueError: the body is not a JSON list.
    """

    def read(row: Any) -> tuple[str, str, str, str]:
        symbol = symbol_of(row) if isinstance(row, dict) else ""
        # With the kind, to tell them from the symbol's set-aside bars.
        name, day = f"{kind.name} {symbol}", str(row.get("date")) if symbol else ""
        if not is_day(day):
            return name, "", "", "no symbol or no date"
        values, reason = _values(kind, row)
        found = {"symbol": symbol, "day": day, **dict(zip(kind.columns, values))}
        return name, day, "" if reason else json.dumps(found), reason

    return collect(json_rows(body), read)


def _values(kind: Kind, row: Mapping[str, Any]) -> tuple[list[str | None], str]:
    """Return a row's columns, and what is wrong with it."""
    if kind is SPLITS:
        ratio = _RATIO.fullmatch(str(row.get("split")).replace(" ", ""))
        if ratio is None:
            return [], "split is no ratio"
        if not number(ratio[1]) or not number(ratio[2]):
            return [], f"{JUNK}: a split of {ratio[0]}"
        return [ratio[1], ratio[2]], ""
    value = number(row.get("value", row.get("dividend")))  # the names by symbol and in bulk
    if value is None or value < 0:
        return [], "value is no number"
    if not value:
        return [], f"{JUNK}: a dividend of 0"
    unadjusted = number(row.get("unadjustedValue"))
    texts = [str(row.get(name) or "") for name in ("currency", "period")]
    days = [str(row.get(name)) for name in ("declarationDate", "recordDate", "paymentDate")]
    return [
        f"{value:f}",
        None if unadjusted is None else f"{unadjusted:f}",
        # PostgreSQL refuses some control characters, and halves of a surrogate pair.
        *(text if text and text.isprintable() else None for text in texts),
        *(day if is_day(day) else None for day in days),
    ], ""


def write(cursor: Any, run: int, item: Fetched) -> Written:
    """Write rows that differ, and delete those that the provider has withdrawn; record both in a table of revisions.

    A bulk answer deletes nothing, because it is incomplete.
    """
    kind, subject, day = split_name(item.task.symbol)
    result, days = Written(), item.task.range
    if item.parsed is None:
        return result
    content = f"[{','.join(item.lines)}]"
    rows = json.loads(content)
    names = {
        "table": kind.table,
        "columns": ", ".join(kind.columns),
        "values": ", ".join(f"m.{name}" for name in kind.columns),
        "sets": ", ".join(f"{name} = EXCLUDED.{name}" for name in kind.columns),
    }
    values = {"run": run, "kind": kind.name, "at": item.fetched, "rows": content}
    if rows:  # most symbols have no split
        cursor.execute(_REVISE.format(**names), values)
        cursor.execute(_STORE.format(**names), values)
        new = [row[0] for row in cursor.fetchall()]
        result = Written(sum(new), len(new) - sum(new), len(rows) - len(new))
    answered: list[tuple[str, Any, Any]] = [(item.task.symbol, days.first, days.last)]
    if day:
        answered = [(f"{kind.name} {row['symbol']}", row["day"], row["day"]) for row in rows]
    elif not item.parsed.truncated:
        kept = [row["day"] for row in rows] + [row.day for row in item.aside if row.day]
        reach = {"subject": subject, "first": days.first, "last": days.last, "kept": kept}
        cursor.execute(_WITHDRAW.format(**names), {**values, **reach})
        result.updated += cursor.rowcount
    store.keep_aside(cursor, run, item.aside, answered)
    return result


def split_name(name: str) -> tuple[Kind, str, str]:
    """Split a call's name into kind, symbol or exchange, and day; a call by symbol has no day."""
    kind, _, rest = name.partition(" ")
    subject, *day = rest.rsplit(" ", 1)  # the list NYSE ARCA has a space
    return KINDS[kind], subject, day[0] if day else ""
