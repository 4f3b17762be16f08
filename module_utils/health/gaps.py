"""Sessions that are missing between the first bar of a symbol and its last one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ansible.module_utils.health.bars import NAMED, ask, filled, load, named, plural, too_slow
from ansible.module_utils.health.freshness import DEFAULT_SUFFIX
from ansible.module_utils.health.model import VARIABLES, Context, Finding, Wanted

# A table of more rows is looked at in steps back from today, each so much longer than the one before.
LARGE = 2_000_000
STEP = 4


@dataclass(frozen=True)
class Gaps:
    """What is missing since a day: in how many symbols, how many sessions, the worst of them by symbol."""

    since: date
    symbols: int
    sessions: int
    worst: dict[str, int]


def check_gaps(context: Context) -> Iterator[Finding]:
    """No session is missing between the first bar of a symbol and its last one."""
    table = filled(context, "market_data")
    days = context.limits.gap_days
    if table is None or not days or not context.groups:
        return
    suffixes = sorted({group.suffix for group in context.groups if context.calendars.of(group.suffix)})
    if not suffixes:
        return
    today = context.now().date()
    found, wanted = None, today - timedelta(days=days)
    for step in _steps(days, context.counts[table.name].rows):
        started = time.monotonic()
        since = today - timedelta(days=step)
        answer = ask(
            context,
            table,
            lambda cursor, since=since: _look(cursor, context, table, suffixes, since, today),  # type: ignore[misc]
        )
        if answer is None:
            break
        found = answer
        assert context.deadline is not None
        if (time.monotonic() - started) * STEP > context.deadline - time.monotonic():
            break
    if found is None:
        yield too_slow(context, "gaps", "Whether sessions are missing")
        return
    missing: dict[str, list[date]] = {}
    if found.worst:
        missing = ask(context, table, lambda cursor: _days(cursor, context, table, found)) or {}
    yield judge_gaps(found, missing, wanted, context)


def _steps(days: int, rows: int | None) -> list[int]:
    """Return how far back to look, in days, one after the other."""
    steps = [days]
    while (rows is None or rows > LARGE) and steps[0] > 30 * STEP:
        steps.insert(0, steps[0] // STEP)
    return steps


def _look(
    cursor: Any, context: Context, table: Wanted, suffixes: Sequence[str], since: date, today: date
) -> Gaps:
    """Number the sessions of each market: of a symbol without gaps the numbers are as many as its bars."""
    from psycopg2 import sql

    markets: list[str] = []
    days: list[date] = []
    numbers: list[int] = []
    for suffix in suffixes:
        calendar = context.calendars.of(suffix)
        assert calendar is not None
        sessions = calendar.sessions(max(since, calendar.first), min(today, calendar.last))
        for name in {suffix, ""} if suffix == DEFAULT_SUFFIX else {suffix}:
            markets += [name] * len(sessions)
            days += sessions
            numbers += range(len(sessions))
    assets = filled(context, "assets")
    inactive: Any = sql.SQL("")
    if assets:
        inactive = sql.SQL(
            "AND NOT EXISTS (SELECT FROM {} a WHERE a.symbol = found.symbol AND a.is_active IS FALSE)"
        ).format(sql.Identifier(*assets.parts))
    cursor.execute(
        sql.SQL("""
WITH session AS (SELECT * FROM unnest(%s::text[], %s::date[], %s::int[]) AS s (market, day, number)),
found AS (
  SELECT bar.symbol, max(number) - min(number) + 1 - count(*) AS missing
  FROM {} AS bar JOIN session ON market = split_part(bar.symbol, '.', 2) AND day = bar.time::date
  WHERE bar.time >= %s GROUP BY bar.symbol
)
SELECT symbol, missing, count(*) OVER (), sum(missing) OVER () FROM found
WHERE missing > 0 {} ORDER BY missing DESC, symbol LIMIT %s
""").format(sql.Identifier(*table.parts), inactive),
        (markets, days, numbers, since, NAMED),
    )
    rows = cursor.fetchall()
    return Gaps(
        since,
        rows[0][2] if rows else 0,
        int(rows[0][3]) if rows else 0,
        {symbol: missing for symbol, missing, _, _ in rows},
    )


def _days(cursor: Any, context: Context, table: Wanted, found: Gaps) -> dict[str, list[date]]:
    """Return the missing days of the worst symbols."""
    from psycopg2 import sql

    cursor.execute(
        sql.SQL("SELECT symbol, array_agg(time::date) FROM {} WHERE symbol = ANY (%s) AND time >= %s GROUP BY 1")
        .format(sql.Identifier(*table.parts)),
        (list(found.worst), found.since),
    )  # fmt: skip
    missing = {}
    for symbol, days in cursor.fetchall():
        calendar = context.calendars.of(symbol if "." in symbol else DEFAULT_SUFFIX)
        assert calendar is not None
        first = max(min(days), calendar.first)
        missing[symbol] = sorted(set(calendar.sessions(first, max(days))) - set(days))
    return missing


def judge_gaps(found: Gaps, missing: dict[str, list[date]], wanted: date, context: Context) -> Finding:
    """Decide what missing sessions mean; ``missing`` names the days of the worst symbols as far as they are known."""
    level = context.limits.level("gap", found.sessions)
    context.measures["gap_sessions"] = found.sessions
    short = ""
    if found.since > wanted:
        short = (
            f" Gaps were looked for back to {found.since} only, as far as {context.query_timeout:g} s reached. Raise"
            f" health_query_timeout, or lower health_gap_days ({VARIABLES})."
        )
    if level == "ok":
        text = f"{plural(found.sessions, 'session')} missing since {found.since}."
        return Finding("gaps", "warn" if short else "ok", (short.strip() if short else text))
    texts = []
    for symbol, count in found.worst.items():
        days = [day.isoformat() for day in missing.get(symbol, [])]
        texts.append(f"{symbol} ({named(days, count) if days else plural(count, 'session')})")
    first = min((days[0] for days in missing.values() if days), default=found.since)
    command = load(list(found.worst), found.symbols, first)
    return Finding(
        "gaps",
        level,
        f"{plural(found.sessions, 'session')} missing in {plural(found.symbols, 'symbol')}: "
        f"{named(texts, found.symbols)}. Load with `{command} -e backfill_force=true`.{short}",
    )
