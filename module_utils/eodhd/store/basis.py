"""Marks bars with an old adjustment basis: the provider restated the symbol and no longer sends them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.days import Range, utc_now
from ansible.module_utils.text import plural


@dataclass(frozen=True)
class OldBasis:
    """Bars of a symbol whose adjustment basis (splits and dividends) is no longer the provider's."""

    symbol: str
    days: Range
    rows: int

    @property
    def text(self) -> str:
        """Return the mark in words."""
        return (
            f"{self.symbol}: {plural(self.rows, 'bar')} from {self.days.first} to {self.days.last} keep the basis from"
            " before a restatement, because EODHD no longer sends them"
        )


def marked(cursor: Any, symbols: Sequence[str]) -> list[OldBasis]:
    """Return the open marks of symbols; none without a ledger that has them."""
    if not there(cursor, "backfill_old_basis"):
        return []
    cursor.execute(
        "SELECT symbol, first_day, last_day, rows FROM backfill_old_basis"
        " WHERE symbol = ANY (%s) AND resolved IS NULL ORDER BY symbol",
        (list(symbols),),
    )
    return [OldBasis(symbol, Range(first, last), rows) for symbol, first, last, rows in cursor.fetchall()]


def mark(cursor: Any, run: int, symbol: str, old_days: Sequence[date]) -> None:
    """Clear a symbol's mark as restated, and mark stored bars that still have an old basis, if there are any."""
    now = utc_now()
    cursor.execute("UPDATE backfill_coverage SET restated = false WHERE symbol = %s", (symbol,))
    if not old_days:
        cursor.execute(
            "UPDATE backfill_old_basis SET resolved = %s WHERE symbol = %s AND resolved IS NULL",
            (now, symbol),
        )
        return
    cursor.execute(
        "INSERT INTO backfill_old_basis (symbol, first_day, last_day, rows, since, run)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (symbol) DO UPDATE SET first_day = EXCLUDED.first_day,"
        " last_day = EXCLUDED.last_day, rows = EXCLUDED.rows, run = EXCLUDED.run, resolved = NULL",
        (symbol, min(old_days), max(old_days), len(old_days), now, run),
    )
