"""Has every active symbol the bar of the last finished session of its market, and has it any."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ansible.module_utils.health.bars import NAMED, ask, filled, load, named, plural, too_slow
from ansible.module_utils.health.model import Context, Finding, Group, Wanted

# A table of more rows is looked at from its recent end, and so many days are enough to tell what is fresh.
LARGE = 5_000_000
RECENT = 60
# The provider takes a symbol without a suffix for one of this exchange.
DEFAULT_SUFFIX = "US"


@dataclass(frozen=True)
class Stale:
    """Symbols whose last bar lies ``behind`` finished sessions back from the one that is ``expected``."""

    group: Group
    behind: int
    expected: date

    def words(self, symbol: str, since: date | None) -> str:
        """Say it of one symbol."""
        if self.group.day is None:
            return f"{symbol} (no bar since {since})"
        return (
            f"{symbol} (last bar {self.group.day}, {plural(self.behind, 'session')} behind {self.expected})"
        )


def check_freshness(context: Context) -> Iterator[Finding]:
    """Every active symbol has the bar of the last finished session of its market."""
    table = filled(context, "market_data")
    if table is None:
        return
    groups = ask(context, table, lambda cursor: _last_bars(cursor, context, table))
    if groups is None:
        yield too_slow(context, "freshness", "How fresh the bars are")
        return
    context.groups = groups
    if context.calendars.missing and uncharted(context):
        yield Finding(
            "freshness",
            "warn",
            f"The sessions of exchanges are unknown: {context.calendars.missing}. Freshness and gaps were checked for"
            " currencies and crypto alone.",
        )
    yield judge_freshness(groups, context)


def _last_bars(cursor: Any, context: Context, table: Wanted) -> list[Group]:
    """Return the last bars of all active symbols, those of the recent days alone for a large table."""
    from psycopg2 import sql

    assets = filled(context, "assets")
    rows = context.counts[table.name].rows
    if assets and (rows is None or rows > LARGE):
        context.recent_since = context.now().date() - timedelta(days=RECENT)
    symbols: Any = sql.SQL("bar")
    if assets:
        symbols = sql.SQL(
            "bar FULL JOIN {} AS asset USING (symbol) WHERE asset.is_active IS NOT FALSE"
        ).format(sql.Identifier(*assets.parts))
    cursor.execute(
        sql.SQL("""
WITH bar AS (SELECT symbol, max(time)::date AS day FROM {} WHERE time >= %s GROUP BY symbol)
SELECT split_part(symbol, '.', 2), day, count(*), (array_agg(symbol ORDER BY symbol))[1:%s] FROM {} GROUP BY 1, 2
""").format(sql.Identifier(*table.parts), symbols),
        (context.recent_since or "-infinity", NAMED),
    )
    return [Group(suffix or DEFAULT_SUFFIX, day, count, symbols) for suffix, day, count, symbols in cursor]


def uncharted(context: Context) -> str:
    """Return the suffixes, among those that have bars, whose sessions nobody knows."""
    return ", ".join(sorted({g.suffix for g in context.groups or () if not context.calendars.of(g.suffix)}))


def behind(groups: Sequence[Group], context: Context) -> list[Stale]:
    """Return how far each group is behind; groups without a calendar are left out."""
    moment = context.now() - timedelta(hours=context.limits.publish_hours)
    found = []
    for suffix in {group.suffix for group in groups}:
        calendar = context.calendars.of(suffix)
        # Without any bar it is a matter of coverage, unless older ones were not looked at.
        mine = [group for group in groups if group.suffix == suffix and (group.day or context.recent_since)]
        if calendar is None or not mine:
            continue
        expected = calendar.last_finished(moment)
        days = [group.day or (context.recent_since or expected) - timedelta(days=1) for group in mine]
        sessions = calendar.sessions(min(days), expected)
        found += [
            Stale(group, len(sessions) - bisect_right(sessions, day), expected)
            for group, day in zip(mine, days)
        ]
    return found


def judge_freshness(groups: Sequence[Group], context: Context) -> Finding:
    """Decide what the last bars mean, each by the calendar of its market."""
    limits, since = context.limits, context.recent_since
    all_of_them = behind(groups, context)
    total = sum(found.group.symbols for found in all_of_them)
    beyond = sum(f.group.symbols for f in all_of_them if limits.level("stale", f.behind) == "fail")
    late = [found for found in all_of_them if limits.level("stale", found.behind) != "ok"]
    count = sum(found.group.symbols for found in late)
    context.measures["stale_symbols"] = count
    unknown = uncharted(context)
    aside = f" Not checked, for no calendar is known: {unknown}." if unknown else ""
    if not late:
        return Finding("freshness", "ok", f"{plural(total, 'symbol')} up to date.{aside}")
    late.sort(key=lambda found: (-found.behind, found.group.examples))
    texts = [found.words(symbol, since) for found in late for symbol in found.group.examples]
    symbols = [symbol for found in late for symbol in found.group.examples]
    first = min((found.group.day for found in late if found.group.day), default=None)
    return Finding(
        "freshness",
        "fail" if beyond > limits.stale_share * total else "warn",
        f"{count:,} of {plural(total, 'symbol')} stale: {named(texts, count)}. Load with"
        f" `{load(symbols, count, first)}`, or set assets.is_active to false where one is traded no more.{aside}",
    )


def check_coverage(context: Context) -> Iterator[Finding]:
    """Every symbol that is active in ``assets`` has bars."""
    bars, assets = filled(context, "market_data"), filled(context, "assets")
    if bars is None or assets is None or context.groups is None:
        return
    empty = [group for group in context.groups if group.day is None]
    count = sum(group.symbols for group in empty)
    examples = sorted(symbol for group in empty for symbol in group.examples)
    if count and context.recent_since:
        found = ask(context, bars, lambda cursor: _without_bars(cursor, bars, assets))
        if found is None:
            yield too_slow(
                context,
                "coverage",
                f"Whether {plural(count, 'symbol')} without a bar since {context.recent_since} ever had one",
            )
            return
        count, examples = found[0], found[1] or []
    context.measures["uncovered_symbols"] = count
    level = context.limits.level("coverage", count)
    if level == "ok":
        yield Finding("coverage", "ok", f"{plural(count, 'active symbol')} without bars")
        return
    yield Finding(
        "coverage",
        level,
        f"{plural(count, 'active symbol')} of {assets.name} without a bar: {named(examples, count)}. Load with"
        f" `{load(examples, count)}`, or set {assets.name}.is_active to false.",
    )


def _without_bars(cursor: Any, bars: Wanted, assets: Wanted) -> Any:
    from psycopg2 import sql

    cursor.execute(
        sql.SQL("""
SELECT count(*), (array_agg(symbol ORDER BY symbol))[1:%s] FROM {assets} AS asset
WHERE is_active IS NOT FALSE AND NOT EXISTS (SELECT FROM {bars} AS bar WHERE bar.symbol = asset.symbol)
""").format(assets=sql.Identifier(*assets.parts), bars=sql.Identifier(*bars.parts)),
        (NAMED,),
    )
    return cursor.fetchone()
