"""Bars that the provider sends no more after it restated the others: they keep the basis from before, and a mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.text import plural


@dataclass(frozen=True)
class OldBasis:
    """Bars of a symbol on a basis of splits and dividends that is no more the provider's."""

    symbol: str
    days: Range
    rows: int

    def has(self, day: str) -> bool:
        """Whether the days from the first to the last include one."""
        return self.days.first.isoformat() <= day <= self.days.last.isoformat()

    @property
    def text(self) -> str:
        """Say it."""
        return (
            f"{self.symbol}: {plural(self.rows, 'bar')} from {self.days.first} to {self.days.last} keep the basis from"
            " before a restatement: EODHD no longer sends them"
        )


def marked(cursor: Any, symbols: Sequence[str]) -> list[OldBasis]:
    """Return the marks of symbols that are open; none without a ledger that has them."""
    if not there(cursor, "backfill_old_basis"):
        return []
    cursor.execute(
        "SELECT symbol, first_day, last_day, rows FROM backfill_old_basis"
        " WHERE symbol = ANY (%s) AND resolved IS NULL ORDER BY symbol",
        (list(symbols),),
    )
    return [OldBasis(symbol, Range(first, last), rows) for symbol, first, last, rows in cursor.fetchall()]


def mark(cursor: Any, run: int, symbol: str, left: Sequence[date]) -> None:
    """Note that a symbol's past is the provider's again, but for stored bars that are left on an old basis, if any."""
    now = datetime.now(timezone.utc)
    cursor.execute("UPDATE backfill_coverage SET restated = false WHERE symbol = %s", (symbol,))
    if not left:
        cursor.execute(
            "UPDATE backfill_old_basis SET resolved = %s WHERE symbol = %s AND resolved IS NULL",
            (now, symbol),
        )
        return
    cursor.execute(
        "INSERT INTO backfill_old_basis (symbol, first_day, last_day, rows, since, run)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO UPDATE SET first_day = EXCLUDED.first_day,"
        " last_day = EXCLUDED.last_day, rows = EXCLUDED.rows, run = EXCLUDED.run, resolved = NULL",
        (symbol, min(left), max(left), len(left), now, run),
    )
