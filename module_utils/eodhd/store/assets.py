"""Enters symbols in the table ``assets``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

_SYMBOLS = """
FROM unnest(%(symbols)s::text[], %(exchanges)s::text[], %(types)s::text[]) AS k (symbol, exchange, asset_type)
ORDER BY symbol
"""
ENTER = f"""
INSERT INTO assets (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s {_SYMBOLS}
ON CONFLICT (symbol) DO NOTHING RETURNING symbol
"""  # noqa: S608 - our own words
SYNCED = f"""
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s {_SYMBOLS}
ON CONFLICT (symbol) DO UPDATE SET last_synced = EXCLUDED.last_synced,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), asset_type = coalesce(a.asset_type, EXCLUDED.asset_type)
"""  # noqa: S608 - our own words


def enter(cursor: Any, symbols: Sequence[str], at: datetime) -> set[str]:
    """Enter symbols before their bars, which may refer to them by a foreign key; return the new ones."""
    if not symbols:
        return set()
    cursor.execute(ENTER, _described(symbols, at))
    return {symbol for (symbol,) in cursor.fetchall()}


def synced(cursor: Any, symbols: Sequence[str], at: datetime, new: Collection[str]) -> None:
    """Note when symbols were synchronised, but for the ``new`` ones, which say so already.

    Others wait for these rows, so this comes late in a transaction.
    """
    known = [symbol for symbol in symbols if symbol not in new]
    if known:
        cursor.execute(SYNCED, _described(known, at))


def _described(symbols: Sequence[str], at: datetime) -> dict[str, Any]:
    return {
        "symbols": list(symbols),
        "exchanges": [symbol.rpartition(".")[2] for symbol in symbols],
        "at": at,
        "types": [_kind(symbol) for symbol in symbols],
    }


def _kind(symbol: str) -> str | None:
    """Return what the exchange of a symbol says about its kind; None if the register has to tell."""
    return {"CC": "Crypto", "FOREX": "Forex", "INDX": "Index"}.get(symbol.rpartition(".")[2])
