"""The checks for stale symbols, symbols without bars, and missing sessions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.coverage.survey import Lack, Survey, Tables, lacks
from ansible.module_utils.health.bars import NAMED, filled, load_command, query, shortened, too_slow
from ansible.module_utils.health.model import Coverage, Finding, Host, Wanted
from ansible.module_utils.markets import names
from ansible.module_utils.text import plural

# A table with more rows is read in windows, the newest first, each STEP times as long as all before it together.
LARGE = 2_000_000
RECENT = 60
STEP = 4


def check_freshness(host: Host) -> Iterator[Finding]:
    """Every active symbol has the bar of the last session that is due."""
    bars = filled(host, "market_data")
    if bars is None:
        return
    host.coverage = look(host, bars)
    if host.coverage is None:
        raise too_slow(host, "stale symbols")
    yield judge_freshness(host.coverage, host)


def look(host: Host, bars: Wanted) -> Coverage | None:
    """Return the bars back to ``gap_days``, or as far as the time allows; None if it allows nothing."""
    assets = filled(host, "assets")
    now, days = host.now(), max(int(host.limits["gap_days"]), RECENT)
    window = Window(now.date() - timedelta(days=days), now.date())
    markets = Markets(window, now, timedelta(hours=host.limits["publish_hours"]))
    started = time.monotonic()

    def time_is_left() -> bool:
        assert host.deadline is not None
        return (time.monotonic() - started) * STEP < host.deadline - time.monotonic()

    rows = host.counts[bars.name].rows
    found = survey.look(
        lambda work: query(host, bars, work),
        Tables(bars.parts, assets.parts if assets else None),
        markets,
        window.from_its_end(window_sizes(days) if rows is None or rows > LARGE else []),
        go_on=time_is_left,
    )
    if found is None:
        return None
    bare = found.bare()
    if bare:
        found.older = query(host, bars, lambda c: survey.last_bars(c, bars.parts, bare, found.since))
    if found.older:
        markets = replace(markets, window=Window(min(found.older.values()), window.last))
    return Coverage(found, list(lacks(found, markets)), markets)


def window_sizes(days: int) -> list[int]:
    """Return the lengths in days of all windows of a large table except the last."""
    found = [RECENT]
    while sum(found) * (1 + STEP) < days:
        found.append(sum(found) * STEP)
    return found


def judge_freshness(coverage: Coverage, host: Host) -> Finding:
    """Return the finding for the last bars, each judged by the calendar of its market."""
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
    failing = sum(1 for lack in active if host.level("stale", lack.behind) == "fail")
    late = sorted(
        (lack for lack in active if host.level("stale", lack.behind) != "ok"),
        key=lambda lack: (-lack.behind, lack.symbol),
    )
    host.measures["stale_symbols"] = len(late)
    if not late:
        return Finding("freshness", "ok", f"{plural(len(active), 'symbol')} up to date.{unchecked}")
    texts = [_stale(lack, coverage) for lack in late[:NAMED]]
    first = min((lack.last for lack in late if lack.last), default=None)
    return Finding(
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
    if not host.limits["gap_days"] or host.coverage is None:
        return
    coverage, bars = host.coverage, filled(host, "market_data")
    if bars is None or not any(lack.charted for lack in coverage.lacks):
        return
    worst = [lack for lack in coverage.lacks if lack.missing and lack.symbol not in coverage.survey.inactive]
    worst.sort(key=lambda lack: (-lack.missing, lack.symbol))
    missing: dict[str, list[date]] = {}
    if host.level("gap", sum(lack.missing for lack in worst)) != "ok":
        some = [lack.symbol for lack in worst[:NAMED]]
        window = Window(coverage.survey.since, host.now().date())
        days = query(host, bars, lambda cursor: survey.days(cursor, bars.parts, some, window))
        for symbol, held in (days or {}).items():
            market = coverage.markets.of(symbol)
            sessions = market.days if market else []
            missing[symbol] = [day for day in sessions if min(held) < day < max(held) and day not in held]
    yield judge_gaps(worst, missing, host, coverage.survey)


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
        (symbol, name) for symbol in spans if (name := names.full(symbol)) != symbol and name in spans
    )
    if twins:
        texts = [" and ".join(pair) for pair in twins]
        yield Finding(
            "keys",
            "warn",
            f"{plural(len(twins), 'symbol')} {'is' if len(twins) == 1 else 'are'} stored under two names:"
            f" {shortened(texts, len(texts))}. The backfill updates only the second name. Delete the bars of the first"
            " in market_data, and its row in assets.",
        )
    if not askew and not twins:
        yield Finding("keys", "ok", "each bar has one time and one symbol")


def judge_gaps(worst: list[Lack], missing: dict[str, list[date]], host: Host, found: Survey) -> Finding:
    """Return the finding for symbols that lack sessions; ``missing`` has the days of the first of them, if known."""
    count = sum(lack.missing for lack in worst)
    level = host.level("gap", count)
    host.measures["gap_sessions"] = count
    short = ""
    if found.since > host.now().date() - timedelta(days=host.limits["gap_days"]):
        short = (
            f" The search for gaps reached back only to {found.since} within {host.query_timeout:g} s. Raise"
            " health_query_timeout, or lower health_gap_days."
        )
    if level == "ok":
        text = f"{plural(count, 'session')} missing since {found.since}."
        return Finding("gaps", "warn" if short else "ok", short.strip() or text)
    texts = []
    for lack in worst[:NAMED]:
        days = [day.isoformat() for day in missing.get(lack.symbol, [])]
        texts.append(
            f"{lack.symbol} ({shortened(days, lack.missing) if days else plural(lack.missing, 'session')})"
        )
    first = min((days[0] for days in missing.values() if days), default=found.since)
    command = load_command([lack.symbol for lack in worst], first)
    return Finding(
        "gaps",
        level,
        f"{plural(count, 'session')} missing in {plural(len(worst), 'symbol')}: {shortened(texts, len(worst))}."
        f" Load with `{command} -e backfill_force=true`.{short}",
    )
