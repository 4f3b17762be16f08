"""The checks for stale symbols, symbols without bars, and missing sessions, for a table that holds bars."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import NamedTuple

from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.coverage.survey import Lack, Survey
from ansible.module_utils.health.bars import NAMED, filled, load_command, query, shortened, too_slow
from ansible.module_utils.health.model import Finding, Host, Wanted
from ansible.module_utils.markets import names
from ansible.module_utils.text import plural

# A table with more rows is read in windows, the newest first, each STEP times as long as all before it together.
LARGE = 2_000_000
RECENT = 60
STEP = 4


class Coverage(NamedTuple):
    """The bars of ``table``, and what each symbol lacks by the calendar of its market."""

    table: Wanted
    survey: Survey
    lacks: list[Lack]
    markets: Markets


def look(host: Host, bars: Wanted) -> Coverage | None:
    """Return the bars back to ``gap_days``, or as far as the time allows; None if it allows nothing."""
    assets = filled(host, "assets")
    now = host.now()
    days = max(int(host.limits["gap_days"]), RECENT)
    window = Window(now.date() - timedelta(days=days), now.date())
    markets = Markets(window, now, timedelta(hours=host.limits["publish_hours"]))
    started = time.monotonic()

    def time_is_left() -> bool:
        assert host.deadline is not None
        return (time.monotonic() - started) * STEP < host.deadline - time.monotonic()

    rows = host.counts[bars.name].rows
    found = survey.look(
        lambda work: query(host, bars, work),
        bars.parts,
        assets.parts if assets else None,
        markets,
        windows(window) if rows is None or rows > LARGE else [window],
        go_on=time_is_left,
    )
    if found is None:
        return None
    bare = found.bare()
    if bare:
        found.older = query(host, bars, lambda c: survey.last_bars(c, bars.parts, bare, found.since))
    if found.older:
        markets = replace(markets, window=Window(min(found.older.values()), window.last))
    return Coverage(bars, found, list(survey.lacks(found, markets)), markets)


def windows(whole: Window) -> list[Window]:
    """Split the window of a large table, at least ``RECENT`` days, as described above."""
    ages = [RECENT]
    while ages[-1] * (1 + STEP) < (whole.last - whole.first).days:
        ages.append(ages[-1] * (1 + STEP))
    firsts = [*(whole.last - timedelta(days=age - 1) for age in ages), whole.first]
    lasts = [whole.last, *(first - timedelta(days=1) for first in firsts)]
    return [Window(*ends) for ends in zip(firsts, lasts)]


def check_freshness(host: Host) -> Iterator[Finding]:
    """Every active symbol has the bar of the last session that is due."""
    bars = filled(host, "market_data")
    if bars is None:
        return
    coverage = host.coverage = look(host, bars)
    if coverage is None:
        raise too_slow(host, "stale symbols")
    found = coverage.survey
    # The check ``coverage`` reports a symbol that never had a bar; without older bars nobody knows which these are.
    active = [
        lack
        for lack in coverage.lacks
        if lack.symbol not in found.inactive and (lack.last or found.older is None)
    ]
    unknown = ", ".join(sorted({names.suffix(lack.symbol) for lack in active if not lack.charted}))
    unchecked = f" Not checked, because there is no calendar: {unknown}." if unknown else ""
    active = [lack for lack in active if lack.charted]
    late = sorted(
        (lack for lack in active if host.level("stale", lack.behind) != "ok"),
        key=lambda lack: (-lack.behind, lack.symbol),
    )
    host.measures["stale_symbols"] = len(late)
    if not late:
        yield Finding("freshness", "ok", f"{plural(len(active), 'symbol')} up to date.{unchecked}")
        return
    failing = sum(host.level("stale", lack.behind) == "fail" for lack in late)
    texts = [_stale(lack, coverage) for lack in late[:NAMED]]
    first = min((lack.last for lack in late if lack.last), default=None)
    yield Finding(
        "freshness",
        "fail" if failing > host.limits["stale_share"] * len(active) else "warn",
        f"{len(late):,} of {plural(len(active), 'symbol')} stale: {shortened(texts, len(late))}. Load with"
        f" `{load_command([lack.symbol for lack in late], first)}`, or set assets.is_active to false for a"
        f" symbol that is no longer traded.{unchecked}",
    )


def _stale(lack: Lack, coverage: Coverage) -> str:
    if lack.last is None:
        return f"{lack.symbol} (no bar since {coverage.survey.since})"
    due = coverage.markets.due(lack.symbol, coverage.survey.kinds.get(lack.symbol))
    return f"{lack.symbol} (last bar {lack.last}, {plural(lack.behind, 'session')} behind {due})"


def check_coverage(host: Host) -> Iterator[Finding]:
    """Every symbol that is active in ``assets`` has bars."""
    assets = filled(host, "assets")
    if assets is None or host.coverage is None:
        return
    found = host.coverage.survey
    empty = [symbol for symbol in found.bare() if symbol not in (found.older or ())]
    if empty and found.older is None:
        raise too_slow(host, f"{plural(len(empty), 'symbol')} without a bar since {found.since}")
    host.measures["uncovered_symbols"] = len(empty)
    level = host.level("coverage", len(empty))
    text = f"{plural(len(empty), 'active symbol')} of {assets.name} without a bar"
    if level != "ok":
        text += (
            f": {shortened(empty, len(empty))}. Load with `{load_command(empty)}`, or set {assets.name}.is_active to"
            " false."
        )
    yield Finding("coverage", level, text)


def check_gaps(host: Host) -> Iterator[Finding]:
    """No session is missing between a symbol's first and last bar."""
    gap_days = host.limits["gap_days"]
    if not gap_days or host.coverage is None or not any(lack.charted for lack in host.coverage.lacks):
        return
    table, found, lacks, markets = host.coverage
    worst = sorted(
        (lack for lack in lacks if lack.missing and lack.symbol not in found.inactive),
        key=lambda lack: (-lack.missing, lack.symbol),
    )
    count = sum(lack.missing for lack in worst)
    host.measures["gap_sessions"] = count
    level = host.level("gap", count)
    today = host.now().date()
    short = ""
    if found.since > today - timedelta(days=gap_days):
        short = (
            f" The search for gaps reached back only to {found.since} within {host.query_timeout:g} s. Raise"
            " health_query_timeout, or lower health_gap_days."
        )
    if level == "ok":
        text = f"{plural(count, 'session')} missing since {found.since}."
        yield Finding("gaps", "warn" if short else "ok", short.strip() or text)
        return
    some, window = [lack.symbol for lack in worst[:NAMED]], Window(found.since, today)
    held = query(host, table, lambda cursor: survey.days(cursor, table.parts, some, window)) or {}
    texts, firsts = [], []
    for lack in worst[:NAMED]:
        market, days = markets.of(lack.symbol), set(held.get(lack.symbol, ()))
        missing = [
            day
            for day in (market.days if market else ())
            if day not in days and min(days, default=day) < day < max(days, default=day)
        ]
        firsts += missing[:1]
        shown = [day.isoformat() for day in missing]
        what = shortened(shown, lack.missing) if shown else plural(lack.missing, "session")
        texts.append(f"{lack.symbol} ({what})")
    command = load_command([lack.symbol for lack in worst], min(firsts, default=found.since))
    yield Finding(
        "gaps",
        level,
        f"{plural(count, 'session')} missing in {plural(len(worst), 'symbol')}: {shortened(texts, len(worst))}."
        f" Load with `{command} -e backfill_force=true`.{short}",
    )


def check_keys(host: Host) -> Iterator[Finding]:
    """Each bar is at midnight UTC, under one spelling of its symbol, so that no day is stored twice."""
    if host.coverage is None:
        return
    spans = host.coverage.survey.spans
    # Several such bars a day are data of another kind, which the backfill does not touch.
    askew = sorted(
        symbol for symbol, span in spans.items() if 0 < span.askew <= (span.last - span.first).days + 1
    )
    if askew:
        yield Finding(
            "keys",
            "warn",
            f"{plural(len(askew), 'symbol')} ({shortened(askew, len(askew))})"
            f" {'has' if len(askew) == 1 else 'have'} bars at other times than midnight UTC. The backfill stores each"
            " day at midnight UTC, so these days can be stored twice. Delete the other bars, or set their time to"
            " midnight UTC.",
        )
    twins = sorted(
        f"{symbol} and {name}" for symbol in spans if (name := names.full(symbol)) != symbol and name in spans
    )
    if twins:
        yield Finding(
            "keys",
            "warn",
            f"{plural(len(twins), 'symbol')} {'is' if len(twins) == 1 else 'are'} stored under two names:"
            f" {shortened(twins, len(twins))}. The backfill updates only the second name. Delete the bars of the first"
            " in market_data, and its row in assets.",
        )
    if not askew and not twins:
        yield Finding("keys", "ok", "each bar has one time and one symbol")
