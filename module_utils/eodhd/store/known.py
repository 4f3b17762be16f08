"""What is stored of a symbol to compute its adjusted close from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from ansible.module_utils.eodhd.adjusting import Actions
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.store import stored
from ansible.module_utils.eodhd.store.chunks import Chunks
from ansible.module_utils.eodhd.store.database import Database


@dataclass(frozen=True)
class Known:
    """Closes since a day, and the actions after it."""

    closes: Mapping[date, Decimal]
    actions: Actions


def read(database: Database, symbol: str, days: Range, chunks: Chunks) -> Known | None:
    """Return what is stored of a symbol; None if the ledger has no answer for its splits and dividends.

    Args:
        database: any connection will do.
        days: of the closes, and of the actions after the first one.
        chunks: how the table is cut.
    """
    actions = database.run(lambda cursor: _actions(cursor, symbol, days))
    if actions is None:
        return None
    closes = stored.read(database, symbol, days, ["close"], chunks)
    return Known({day: close for day, (close,) in closes.items()}, actions)


def _actions(cursor: Any, symbol: str, days: Range) -> Actions | None:
    cursor.execute(
        "SELECT count(*) FROM backfill_coverage WHERE symbol = ANY (%s) AND first_day <= %s"
        " AND outcome IN ('loaded', 'set_aside')",
        ([f"splits {symbol}", f"dividends {symbol}"], days.first),
    )
    if cursor.fetchone()[0] < 2:
        return None
    cursor.execute(
        "SELECT day, new_shares / old_shares FROM market_split WHERE symbol = %s AND day > %s AND day <= %s",
        (symbol, days.first, days.last),
    )
    splits = dict(cursor.fetchall())
    # As it was paid: closes are as traded, too.
    cursor.execute(
        "SELECT day, coalesce(unadjusted, value) FROM market_dividend WHERE symbol = %s AND day > %s AND day <= %s",
        (symbol, days.first, days.last),
    )
    return Actions(splits, dict(cursor.fetchall()))
