"""Corporate actions, from an answer to their tables: splits and dividends, each change kept with its old values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Callable

from ansible.module_utils.eodhd.store import store
from ansible.module_utils.eodhd.store.parser import JUNK, Parsed, SetAside, is_day, json_rows, raw_json
from ansible.module_utils.eodhd.store.store import Fetched, Written

NONE = "\\N"


@dataclass(frozen=True)
class Kind:
    """A sort of action.

    Attributes:
        name: in the ledger, and as ``type`` of a bulk call.
        path: of the call by symbol.
        table: where it is stored, by symbol and day.
        columns: the table's other columns, with their types.
    """

    name: str
    path: str
    table: str
    columns: Mapping[str, str]


SPLITS = Kind("splits", "splits", "market_split", {"new_shares": "numeric", "old_shares": "numeric"})
DIVIDENDS = Kind(
    "dividends",
    "div",
    "market_dividend",
    {
        "value": "numeric", "unadjusted": "numeric", "currency": "text", "period": "text",
        "declared": "date", "recorded": "date", "paid": "date",
    },
)  # fmt: skip
KINDS = {kind.name: kind for kind in (SPLITS, DIVIDENDS)}
_RATIO = re.compile(r"(\d+(?:\.\d+)?)[/:](\d+(?:\.\d+)?)", re.ASCII)


def parse(body: bytes, kind: Kind, symbol_of: Callable[[Mapping[str, Any]], str]) -> Parsed:
    """Return the actions of an answer as lines: day, symbol, and the kind's columns, separated by tabs.

    Args:
        kind: of the call.
        symbol_of: whose a row is; empty if the row does not say.

    Raises:
        Malformed: the body is no JSON list.
    """
    parsed = Parsed()
    taken: dict[tuple[str, str], tuple[str, Any]] = {}
    torn: set[tuple[str, str]] = set()
    for row in json_rows(body):
        symbol = symbol_of(row) if isinstance(row, dict) else ""
        if isinstance(row, dict) and row.get("warning"):
            parsed.truncated = True
            if "date" not in row:
                continue
        day = str(row.get("date")) if symbol else ""
        values, reason = _values(kind, row) if symbol and is_day(day) else ([], "no symbol or no date")
        line = "\t".join([day, symbol, *values]) + "\n"
        if reason:
            parsed.aside.append(_aside(kind, symbol, day, row, reason))
        elif taken.setdefault((symbol, day), (line, row))[0] != line:
            torn.add((symbol, day))
            parsed.aside.append(_aside(kind, symbol, day, row, "two rows of this date disagree"))
    for symbol, day in torn:  # of two that disagree, neither can be trusted
        _line, row = taken.pop((symbol, day))
        parsed.aside.append(_aside(kind, symbol, day, row, "two rows of this date disagree"))
    parsed.lines = sorted(line for line, _ in taken.values())
    return parsed


def _aside(kind: Kind, symbol: str, day: str, row: Any, reason: str) -> SetAside:
    # Under the kind's name: the bars of the symbol are another matter.
    return SetAside(f"{kind.name} {symbol}", day if is_day(day) else None, raw_json(row), reason)


def _values(kind: Kind, row: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the columns of a row, and what is wrong with it."""
    if kind is SPLITS:
        ratio = _RATIO.fullmatch(str(row.get("split")).replace(" ", ""))
        if ratio is None:
            return [], "split is no ratio"
        if not Decimal(ratio[1]) or not Decimal(ratio[2]):
            return [], f"{JUNK}: a split of {ratio[0]}"
        return [ratio[1], ratio[2]], ""
    value = _number(row.get("value", row.get("dividend")))  # by symbol, and in bulk
    if value is None or value < 0:
        return [], "value is no number"
    if not value:
        return [], f"{JUNK}: a dividend of 0"
    unadjusted = _number(row.get("unadjustedValue"))
    days = [str(row.get(name)) for name in ("declarationDate", "recordDate", "paymentDate")]
    return [
        f"{value:f}",
        NONE if unadjusted is None else f"{unadjusted:f}",
        *(str(row.get(name) or NONE).replace("\t", " ") for name in ("currency", "period")),
        *(day if is_day(day) else NONE for day in days),
    ], ""


def _number(value: Any) -> Decimal | None:
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def write(cursor: Any, run: int, items: Iterable[Fetched]) -> list[Written]:
    """Store answers and their entries in the ledger.

    What differs is written, what the provider has withdrawn is deleted, and both are kept in
    ``backfill_action_revision``. A bulk answer does not say everything: what it leaves out stays.
    """
    done = [(item, _write(cursor, run, item)) for item in items]
    store.enter(cursor, run, done)
    return [written for _, written in done]


def _write(cursor: Any, run: int, item: Fetched) -> Written:
    kind, subject, day = named(item.task.symbol)
    if item.parsed is None:
        return Written()
    rows = [line.rstrip("\n").split("\t") for line in item.parsed.lines]
    columns = ["day", "symbol", *kind.columns]
    values: dict[str, Any] = {
        name: [None if row[place] == NONE else row[place] for row in rows]
        for place, name in enumerate(columns)
    }
    values.update(run=run, kind=kind.name, at=item.fetched)
    result = Written()
    if rows:
        cursor.execute(_REVISE[kind.name], values)
        cursor.execute(_STORE[kind.name], values)
        new = [row[0] for row in cursor.fetchall()]
        result = Written(sum(new), len(new) - sum(new), len(rows) - len(new))
    store.keep_aside(cursor, run, item.parsed.aside)
    if day:
        answered: list[tuple[str, Any, Any]] = [(f"{kind.name} {row[1]}", row[0], row[0]) for row in rows]
    else:
        answered = [(item.task.symbol, item.task.range.first, item.task.range.last)]
        if not item.parsed.truncated:
            kept = [row[0] for row in rows] + [row.day for row in item.parsed.aside if row.day]
            reach = {
                "subject": subject,
                "first": item.task.range.first,
                "last": item.task.range.last,
                "kept": kept,
            }
            cursor.execute(_WITHDRAW[kind.name], {**values, **reach})
            result.updated += cursor.rowcount
    store.resolve(cursor, run, answered)
    return result


def named(name: str) -> tuple[Kind, str, str]:
    """Return kind, symbol or exchange, and day of a call's name; by symbol there is no day."""
    kind, subject, *day = name.split(" ")
    return KINDS[kind], subject, day[0] if day else ""


def _of(kind: Kind, *parts: str) -> list[str]:
    """Return each part once for every column of a kind, joined by commas."""
    return [", ".join(part.format(c=name, t=of) for name, of in kind.columns.items()) for part in parts]


def _statements(kind: Kind) -> tuple[str, str, str]:
    """Return what keeps the old values, what writes, and what deletes and keeps; the names are our own."""
    table = kind.table
    columns, arrays, old, both, excluded = _of(
        kind, "{c}", "%({c})s::{t}[]", "o.{c}", "coalesce(n.{c}, o.{c})", "coalesce(EXCLUDED.{c}, o.{c})"
    )
    fresh = f"unnest(%(symbol)s::text[], %(day)s::date[], {arrays}) AS n (symbol, day, {columns})"
    sets = ", ".join(f"{name} = coalesce(EXCLUDED.{name}, o.{name})" for name in kind.columns)
    into = "INSERT INTO backfill_action_revision (run, kind, symbol, day, old, new, found)"
    revise = (
        f"{into} SELECT %(run)s, %(kind)s, o.symbol, o.day, to_jsonb(o), to_jsonb(n), %(at)s FROM {table} o"  # noqa: S608
        f" JOIN {fresh} ON n.symbol = o.symbol AND n.day = o.day WHERE ({old}) IS DISTINCT FROM ({both})"
    )
    keep = (
        f"INSERT INTO {table} AS o (symbol, day, {columns}) SELECT n.symbol, n.day, {columns} FROM {fresh}"  # noqa: S608
        f" ORDER BY 1, 2 ON CONFLICT (symbol, day) DO UPDATE SET {sets} WHERE ({old}) IS DISTINCT FROM ({excluded})"
        " RETURNING xmax = 0"
    )
    withdraw = (
        f"WITH gone AS (DELETE FROM {table} o WHERE o.symbol = %(subject)s AND o.day BETWEEN %(first)s AND %(last)s"  # noqa: S608
        f" AND o.day <> ALL (%(kept)s::date[]) RETURNING o.*) {into}"
        " SELECT %(run)s, %(kind)s, o.symbol, o.day, to_jsonb(o), NULL, %(at)s FROM gone o"
    )
    return revise, keep, withdraw


_REVISE, _STORE, _WITHDRAW = (
    {kind.name: _statements(kind)[place] for kind in KINDS.values()} for place in range(3)
)
