"""Whether the bars are fresh, whether every active symbol has some, and whether sessions are missing between them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window
from ansible.module_utils.coverage.judge import Lack, lacks
from ansible.module_utils.coverage.survey import Survey, Tables
from ansible.module_utils.health.bars import NAMED, ask, filled, load, named, too_slow
from ansible.module_utils.health.model import Coverage, Finding, Host, Wanted
from ansible.module_utils.markets import names
from ansible.module_utils.text import plural

# A table of more rows is looked at in windows from its recent end, each STEP times as long as all before it.
LARGE = 2_000_000
RECENT = 60
STEP = 4


def check_freshness(host: Host) -> Iterator[Finding]:
    """Every active symbol has the bar of the last session whose bars are due."""
    bars = filled(host, "market_data")
    if bars is None:
        return
    host.coverage = look(host, bars)
    if host.coverage is None:
        raise too_slow(host, "How fresh the bars are")
    yield judge_freshness(host.coverage, host)


def look(host: Host, bars: Wanted) -> Coverage | None:
    """Return what is there, as far back as gaps are looked for and the time allows; None if it allows nothing."""
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
        lambda work: ask(host, bars, work),
        Tables(bars.parts, assets.parts if assets else None),
        markets,
        window.from_its_end(sizes(days) if rows is None or rows > LARGE else []),
        go_on=time_is_left,
    )
    if found is None:
        return None
    bare = found.bare()
    if bare:
        found.older = ask(host, bars, lambda c: survey.last_bars(c, bars.parts, bare, found.since))
    if found.older:
        markets = replace(markets, window=Window(min(found.older.values()), window.last))
    return Coverage(found, list(lacks(found, markets)), markets)


def sizes(days: int) -> list[int]:
    """Return the lengths of the windows of a large table but for the last one, in days."""
    found = [RECENT]
    while sum(found) * (1 + STEP) < days:
        found.append(sum(found) * STEP)
    return found


def judge_freshness(coverage: Coverage, host: Host) -> Finding:
    """Decide what the last bars mean, each by the calendar of its market."""
    found = coverage.survey
    # A symbol that never had a bar is a matter of coverage; of one whose past is not known, it is not known either.
    active = [
        lack
        for lack in coverage.lacks
        if lack.symbol not in found.inactive and (lack.last or found.older is None)
    ]
    unknown = ", ".join(sorted({names.suffix(lack.symbol) for lack in active if not lack.charted}))
    aside = f" Not checked, for no calendar is known: {unknown}." if unknown else ""
    active = [lack for lack in active if lack.charted]
    beyond = sum(1 for lack in active if host.level("stale", lack.behind) == "fail")
    late = sorted(
        (lack for lack in active if host.level("stale", lack.behind) != "ok"),
        key=lambda lack: (-lack.behind, lack.symbol),
    )
    host.measures["stale_symbols"] = len(late)
    if not late:
        return Finding("freshness", "ok", f"{plural(len(active), 'symbol')} up to date.{aside}")
    texts = [_stale(lack, coverage) for lack in late[:NAMED]]
    first = min((lack.last for lack in late if lack.last), default=None)
    return Finding(
        "freshness",
        "fail" if beyond > host.limits["stale_share"] * len(active) else "warn",
        f"{len(late):,} of {plural(len(active), 'symbol')} stale: {named(texts, len(late))}. Load with"
        f" `{load([lack.symbol for lack in late], first)}`, or set assets.is_active to false if one is no"
        f" longer traded.{aside}",
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
        text = f"Whether {plural(len(empty), 'symbol')} without a bar since {found.since} ever had one"
        raise too_slow(host, text)
    host.measures["uncovered_symbols"] = len(empty)
    level = host.level("coverage", len(empty))
    text = f"{plural(len(empty), 'active symbol')} of {assets.name} without a bar"
    if level != "ok":
        text += f": {named(empty, len(empty))}. Load with `{load(empty)}`, or set {assets.name}.is_active to false."
    yield Finding("coverage", level, text)


def check_gaps(host: Host) -> Iterator[Finding]:
    """No session is missing between the first bar of a symbol and its last one."""
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
        days = ask(host, bars, lambda cursor: survey.days(cursor, bars.parts, some, window))
        for symbol, held in (days or {}).items():
            market = coverage.markets.of(symbol)
            sessions = market.days if market else []
            missing[symbol] = [day for day in sessions if min(held) < day < max(held) and day not in held]
    yield judge_gaps(worst, missing, host, coverage.survey)


def judge_gaps(worst: list[Lack], missing: dict[str, list[date]], host: Host, found: Survey) -> Finding:
    """Decide what it means that ``worst`` miss sessions, those of the first ``missing`` days that are known."""
    count = sum(lack.missing for lack in worst)
    level = host.level("gap", count)
    host.measures["gap_sessions"] = count
    short = ""
    if found.since > host.now().date() - timedelta(days=host.limits["gap_days"]):
        short = (
            f" Gaps were looked for back to {found.since} only, as far as {host.query_timeout:g} s reached. Raise"
            " health_query_timeout, or lower health_gap_days."
        )
    if level == "ok":
        text = f"{plural(count, 'session')} missing since {found.since}."
        return Finding("gaps", "warn" if short else "ok", short.strip() or text)
    texts = []
    for lack in worst[:NAMED]:
        days = [day.isoformat() for day in missing.get(lack.symbol, [])]
        texts.append(
            f"{lack.symbol} ({named(days, lack.missing) if days else plural(lack.missing, 'session')})"
        )
    first = min((days[0] for days in missing.values() if days), default=found.since)
    command = load([lack.symbol for lack in worst], first)
    return Finding(
        "gaps",
        level,
        f"{plural(count, 'session')} missing in {plural(len(worst), 'symbol')}: {named(texts, len(worst))}."
        f" Load with `{command} -e backfill_force=true`.{short}",
    )
