"""The page's data from a database, read in one read-only session with timeouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any, Callable

from ansible.module_utils.audit.model import WARN, Judgement, judged
from ansible.module_utils.coverage import survey
from ansible.module_utils.coverage.expected import Markets, Window, following
from ansible.module_utils.coverage.survey import Lack, lacks
from ansible.module_utils.database.connection import TimedOut, Unreachable, connect, driver, explain, within
from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import there

LOCK_TIMEOUT = 1.0
# Months that are read first, and shown alone if the whole window takes too long.
SHORT = 3
# Days in the map by day, the newest on the right.
RECENT = 42
RUNS = 10


def look(
    server: Server, markets: Markets, limit: int, timeout: float, query_timeout: float
) -> dict[str, Any]:
    """Return ``identity``, ``database``, ``coverage``, ``ledger``, ``snapshots``, and ``notes`` on what is missing.

    The map shows the window of ``markets`` and lists ``limit`` symbols. All queries share ``query_timeout`` seconds,
    and each may take half of that.
    """
    url = server.masked_url()
    result: dict[str, Any] = {
        "database": url, "identity": url, "coverage": None, "ledger": None, "snapshots": [], "notes": [],
    }  # fmt: skip
    try:
        session = connect(
            server,
            timeout,
            read_only=True,
            statement_timeout=query_timeout / 2,
            lock_timeout=LOCK_TIMEOUT,
            application_name="ansible-audit",
        )
    except Unreachable as error:
        result["notes"].append(explain(error, server))
        return result
    session.autocommit = True

    def tried(what: str, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except driver().Error as error:
            result["notes"].append(f"{what} could not be read. {explain(error, server)}")
            return None

    def work() -> None:
        result["snapshots"] = None  # until they are read
        with session.cursor() as cursor:
            result["identity"] = _identity(cursor) or url
            result["ledger"] = tried("The ledger", lambda: ledger(cursor))
            result["coverage"] = _map(cursor, markets, limit, tried)
            result["snapshots"] = tried("The snapshots", lambda: snapshots(cursor))

    try:
        within(query_timeout + LOCK_TIMEOUT, work)
    except TimedOut:
        # Not closed, because that would wait for the statement that hangs. It ends with this process.
        result["notes"].append(explain(TimedOut(), server))
        return dict(result)
    session.close()
    return result


def _identity(cursor: Any) -> str | None:
    """Return an identifier of the database that does not depend on the server's name; None if it may not be read."""
    try:
        cursor.execute("SELECT system_identifier || '/' || current_database() FROM pg_control_system()")
    except driver().Error:
        return None
    return str(cursor.fetchone()[0])


def ledger(cursor: Any) -> list[dict[str, Any]] | None:
    """Return the last backfill runs, newest first; None if there is no ledger."""
    if not there(cursor, "backfill_run"):
        return None
    cursor.execute(
        "SELECT run, mode, state, to_char(started AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),"
        " round(extract(epoch FROM finished - started)::numeric, 1)::float8, totals, message"
        " FROM backfill_run ORDER BY run DESC LIMIT %s",
        (RUNS,),
    )
    kept = ("symbols", "loaded", "calls", "downloaded", "inserted", "updated", "unchanged", "set_aside")
    return [
        {
            "run": run, "mode": mode, "state": state, "started": started, "seconds": seconds,
            "totals": {name: (totals or {}).get(name) for name in kept}, "message": message or "",
        }
        for run, mode, state, started, seconds, totals, message in cursor.fetchall()
    ]  # fmt: skip


def snapshots(cursor: Any) -> list[dict[str, Any]]:
    """Return ``name``, ``rows`` and ``digest`` of each snapshot, then and now; empty without a ledger."""
    if not there(cursor, "backfill_snapshot"):
        return []
    cursor.execute(
        "SELECT s.name, s.rows, s.digest, d.rows, d.digest FROM backfill_snapshot s,"
        " market_data_digest(s.moment) d ORDER BY s.moment"
    )
    names = ("name", "rows", "digest", "rows_now", "digest_now")
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def unchanged(found: Sequence[Mapping[str, Any]] | None) -> Iterator[Judgement]:
    """Each snapshot reads as when it was made; ``found`` is None if there was not enough time."""
    if found is None:
        expected, reason = "every snapshot is unchanged", "not read in time"
        yield judged("Rows", "snapshots", expected, reason, False, "Raise audit_query_timeout.", WARN)
    for each in found or ():
        same = (each["rows"], each["digest"]) == (each["rows_now"], each["digest_now"])
        yield judged(
            "Rows",
            f"snapshot {each['name']}",
            f"{each['rows']:,} rows, unchanged",
            "unchanged" if same else f"{each['rows_now']:,} rows, or other values",
            same,
            "Something besides the backfill has written to market_data or to the ledger. Restore both from a backup.",
        )


# --- the map of bars ---------------------------------------------------------------------------------------


def _map(
    cursor: Any, markets: Markets, limit: int, tried: Callable[[str, Callable[[], Any]], Any]
) -> dict[str, Any] | None:
    if not there(cursor, "market_data"):
        return None
    bars, assets = ["market_data"], ["assets"] if there(cursor, "assets") else None
    whole, months = markets.window, len(markets.window.months)
    recent = Window.of(min(months, SHORT), whole.last)
    parts = [recent, Window(whole.first, recent.first - timedelta(days=1))] if whole != recent else [whole]
    what = f"The map of {months} months"
    found = survey.look(
        lambda work: tried(what, lambda: work(cursor)), bars, assets, markets, parts, by_month=True
    )
    if found is None:
        return None
    shown = replace(markets, window=Window(found.since, whole.last))

    def days(symbols: Sequence[str]) -> dict[str, list[date]]:
        return tried("The map by day", lambda: survey.days(cursor, bars, symbols, shown.window)) or {}

    return picture(found, shown, days, limit)


def picture(
    found: survey.Survey,
    markets: Markets,
    days: Callable[[Sequence[str]], Mapping[str, Sequence[date]]],
    limit: int,
) -> dict[str, Any]:
    """Return the map of bars by symbol and month for ``audit.json``.

    Its size is bounded: it lists the ``limit`` symbols that lack most, and adds up all others. ``days`` returns the
    days with a bar of each symbol listed.
    """
    window = markets.window
    every = sorted(lacks(found, markets), key=lambda lack: (-lack.missing - lack.behind, lack.symbol))
    worst = every[:limit]
    bars = days([lack.symbol for lack in worst])
    return {
        "first": window.first.isoformat(),
        "last": window.last.isoformat(),
        "months": [month.strftime("%Y-%m") for month in window.months],
        "recent": [day.isoformat() for day in _recent(window)],
        "symbols": len(every),
        "without_bars": len(found.bare()),
        "with_gaps": sum(1 for lack in every if lack.missing),
        "missing": sum(lack.missing for lack in every),
        "behind": sum(1 for lack in every if lack.behind),
        "without_calendar": sum(1 for lack in every if not lack.charted),
        "all": _all(found, markets),
        "markets": _markets(every, markets),
        "worst": [_line(lack.symbol, found, bars.get(lack.symbol, ()), markets) for lack in worst],
    }


def _recent(window: Window) -> list[date]:
    """Return the days of the map by day."""
    count = min(RECENT, (window.last - window.first).days + 1)
    return [window.last - timedelta(days=back) for back in reversed(range(count))]


def _by_month(window: Window, groups: Mapping[str, Iterable[date]]) -> list[dict[str, int]]:
    """Return the number of days of each group in each month."""
    counts = {name: Counter(day.replace(day=1) for day in group) for name, group in groups.items()}
    return [{name: count[month] for name, count in counts.items()} for month in window.months]


def _line(symbol: str, found: survey.Survey, days: Iterable[date], markets: Markets) -> dict[str, Any]:
    """Return the line of a symbol with bars on ``days`` of the window.

    Each of ``months`` has ``bars``, ``missing`` (sessions inside the symbol's range) and ``behind`` (sessions
    after its last bar). ``recent`` has one letter a day: ``b`` a bar, ``m`` missing, ``l`` later than the last
    bar, ``.`` no session, or not checked.
    """
    have, span, market = set(days), found.spans.get(symbol), markets.of(symbol)
    active = symbol not in found.inactive
    lacking = [day for day in (market.days if market else ()) if day not in have]
    missing = {day for day in lacking if span and span.first <= day <= span.last}
    behind: set[date] = set()
    if active and market:
        due = markets.due(symbol, found.kinds.get(symbol))
        behind = {day for day in lacking if (span is None or day > span.last) and day <= due}
    groups = {"bars": have, "missing": missing, "behind": behind}
    return {
        "symbol": symbol,
        "market": market.name if market else "no calendar",
        "active": active,
        "first": span.first.isoformat() if span else None,
        "last": span.last.isoformat() if span else None,
        **{name: len(group) for name, group in groups.items()},
        "months": _by_month(markets.window, groups),
        "recent": "".join(
            "b" if day in have else "m" if day in missing else "l" if day in behind else "."
            for day in _recent(markets.window)
        ),
    }


def _all(found: survey.Survey, markets: Markets) -> list[dict[str, int]]:
    """Return the sessions expected in each month of all symbols with a calendar, inside their ranges.

    Symbols with the same market and range are counted together, so that 150,000 symbols are fast.
    """
    ranges = Counter(
        (market.name, span.first, span.last)
        for symbol, span in found.spans.items()
        if (market := markets.of(symbol))
    )
    months = markets.window.months
    expected: Counter[date] = Counter()
    for (name, first, last), number in ranges.items():
        market = markets.named(name)
        assert market
        for month in months:
            end = following(month) - timedelta(days=1)
            expected[month] += number * market.between(max(first, month), min(last, end))
    return [
        {"rows": have.bars, "symbols": have.symbols, "expected": expected[month], "held": have.held}
        for month in months
        for have in [found.months.get(month, survey.Month(0, 0, 0))]
    ]


def _markets(every: Iterable[Lack], markets: Markets) -> list[dict[str, Any]]:
    """Return the sessions and holidays of each market by month, and its recent holidays.

    A holiday is a weekday without a session, up to the last session that is over.
    """
    found = []
    window, shown = markets.window, _recent(markets.window)
    users = Counter(market.name for lack in every if (market := markets.of(lack.symbol)))
    for name, symbols in sorted(users.items()):
        market = markets.named(name)
        assert market
        due = markets.due(f".{name}")
        held = {day for day in market.days if day <= due}
        end = max(held, default=window.first)
        span = (window.first + timedelta(days=n) for n in range((end - window.first).days + 1))
        holidays = [day for day in span if day.weekday() < 5 and day not in held]
        found.append(
            {
                "name": name,
                "symbols": symbols,
                "months": _by_month(window, {"sessions": held, "holidays": holidays}),
                "recent": "".join("s" if day in held else "h" if day in holidays else "." for day in shown),
                "holidays": [day.isoformat() for day in holidays if day >= shown[0]],
            }
        )
    return found
