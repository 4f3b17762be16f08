"""A simulated year of three markets: one `daily` run per evening, followed by a health check.

In `make test` some weeks with holidays and early closes; with FAULTS=full the whole year.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import date, datetime, time, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.database.connection import connect
from ansible.module_utils.eodhd.planning import SETTLES
from ansible.module_utils.health import checks
from ansible.module_utils.health.model import Host, wanted
from ansible.module_utils.markets import calendar
from standin.data import Market, Rename, Split, chance

EXCHANGES = ["US", "AU", "LSE"]
FULL = os.environ.get("FAULTS") == "full"
FIRST, DAYS = (date(2024, 7, 1), 365) if FULL else (date(2024, 11, 18), 35)
# Events, by days after the first one.
SPLITS = {"MSFT.US": (12, 4), "LN03.LSE": (25, 2)}
RENAMED, DELISTED = 16, 20
# Late sessions: one by a night, and three in a row so late that the health check reports it.
LATE = {"US": {9: 14.0}, "LSE": {n: 24.0 * (34 - n) for n in (28, 29, 30, 31)}}


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def evening(number: int) -> datetime:
    return datetime.combine(day(number), time(22, 30), timezone.utc)


def life() -> dict[str, Any]:
    """Return the settings of the stand-in."""
    return {
        "universe": 20,
        "splits": {symbol: [day(number).isoformat(), ratio] for symbol, (number, ratio) in SPLITS.items()},
        "renames": [["TSLA.US", "TSLX.US", day(RENAMED).isoformat()]],
        "delisted": {"VTI.US": day(DELISTED).isoformat()},
        "late": {f"{exchange} {day(n)}": hours for exchange, of in LATE.items() for n, hours in of.items()},
    }


def troubles(server: Any, now: datetime) -> set[str]:
    """Return the health checks that warn or fail."""
    context = Host(Path(), wanted(["market_data", "assets"]), 5, 30, "auto", connect, now=lambda: now)
    context.server = server
    context.session = connect(server, 5, read_only=True)
    context.session.autocommit = True
    names = ("tables", "freshness", "coverage", "gaps", "set_aside")
    found = checks.examine(context, [check for check in checks.CHECKS if check.name in names])
    return {check["check"] for check in found["checks"] if check["level"] != "ok"}


@pytest.mark.timeout(3600 if FULL else 600)
def test_after_a_year_the_tables_equal_the_service_s_data(market: Any) -> None:
    market.standin.control(daily=10_000_000, **life())  # its day does not turn here
    used, outcomes, alarms = 0, Counter[str](), {}
    market.standin.control(now=evening(0).isoformat())
    market.load(evening(0), mode="register", exchanges=EXCHANGES)  # creates the ledger
    with market.copies(0.1 if FULL else 0.5) as copies:
        for number in range(DAYS):
            now = evening(number)
            market.standin.control(now=now.isoformat())
            for mode in ("register", "daily"):
                done = market.load(now, mode=mode, exchanges=EXCHANGES)
                if mode == "daily":
                    used += done["totals"]["calls"]
                    outcomes.update(entry["outcome"] for entry in done["not_loaded"])
            found = troubles(market.server, now)
            if found and number:  # on the first day the table was empty, and the file lacks symbols
                alarms[number] = found
    assert copies.compare() > DAYS // 2
    assert copies.count >= (1000 if FULL else 24)

    end = evening(DAYS - 1)
    provider = Market(universe=20, now=end, delisted={"VTI.US": day(DELISTED)}, late=life()["late"])
    provider.splits = {symbol: Split(day(number), ratio) for symbol, (number, ratio) in SPLITS.items()}
    provider.renames = [Rename("TSLA.US", "TSLX.US", day(RENAMED))]
    assert rows(market) == expected(provider, end.date())

    # One bulk call per session and per settling request, and one call per restated history.
    least = 100 * sum(asks(exchange, end) for exchange in EXCHANGES) + len(SPLITS)
    assert least <= used <= least * 1.1
    assert set(outcomes) == {"late", "empty"}
    # A session that is a night late raises no alarm. A market that lacks three sessions does, and so does the gap
    # after the next session, until it is filled.
    assert set(alarms) == {31, 32, 33}
    assert "freshness" in alarms[31]
    assert "gaps" in alarms[32] & alarms[33]
    print(f"{DAYS} days: {used:,} calls, {used / least:.3f} of the least; {len(rows(market)):,} rows")
    print(f"as of {copies.count:,} random moments the function equals the copy")
    assert market.query("SELECT count(*) FROM backfill_coverage WHERE restated") == [(0,)]


def rows(market: Any) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the table without the old name of the renamed symbol."""
    found = market.query(
        "SELECT symbol, time::date::text, open, high, low, close, adjusted_close, volume FROM market_data"
        " WHERE symbol <> 'TSLA.US' AND (symbol <> 'TSLX.US' OR time >= %s)",
        day(RENAMED),
    )
    return {(symbol, when): tuple(map(float, values)) for symbol, when, *values in found}


def expected(provider: Market, last: date) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return the service's data at the end for all requested sessions."""
    found: dict[tuple[str, str], tuple[float, ...]] = {}
    for exchange in EXCHANGES:
        names = {f"{code}.{exchange}" for code in provider.codes(exchange)}
        sessions = calendar.of(exchange)
        assert sessions
        for session in sessions.sessions(FIRST, last):
            for symbol in names:
                if symbol == "TSLX.US" and session < day(RENAMED):
                    continue
                if provider.trades(symbol, session) and came(provider, symbol, session):
                    bar = provider.bar(symbol, session)
                    fields = ("open", "high", "low", "close", "adjusted_close", "volume")
                    found[symbol, session.isoformat()] = tuple(float(bar[name]) for name in fields)
    return found


def came(provider: Market, symbol: str, session: date) -> bool:
    """Return whether the last bulk answer had the symbol; the last session has not settled."""
    return bool(provider.settled(symbol.rpartition(".")[2], session) or chance(symbol, session) % 5)


def asks(exchange: str, end: datetime) -> int:
    """Return the calls that settling requires for all sessions of an exchange, with one run per evening."""
    sessions = calendar.of(exchange)
    assert sessions
    evenings = [evening(number) for number in range(DAYS)]
    total = 0
    for session in sessions.sessions(publishing_start(exchange), end.date()):
        due = calendar.due_at(exchange, session)
        assert due
        late = LATE.get(exchange, {}).get((session - FIRST).days, 0.0)
        runs = [run for run in evenings if run >= due + timedelta(hours=late)]
        if runs:
            total += 1 + sum(any(runs[0] < due + after <= run for run in runs) for after in SETTLES)
    return total


def publishing_start(exchange: str) -> date:
    """Return the session that the first run loads."""
    found = calendar.due(exchange, evening(0))
    assert found
    return found
