"""Enters symbols in the table ``assets``."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

_ENTER = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s
FROM unnest(%(symbols)s::text[], %(exchanges)s::text[], %(types)s::text[]) AS k (symbol, exchange, asset_type)
ORDER BY symbol ON CONFLICT (symbol)
"""
_SYNCED = """
DO UPDATE SET last_synced = EXCLUDED.last_synced,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), asset_type = coalesce(a.asset_type, EXCLUDED.asset_type)
"""
# The asset types of some exchanges; for all others, mode ``register`` sets them.
_KINDS = {"CC": "Crypto", "FOREX": "Forex", "INDX": "Index"}


def enter(cursor: Any, symbols: Sequence[str], at: datetime) -> set[str]:
    """Enter symbols before their bars, which may have a foreign key to them; return the new ones."""
    return _enter(cursor, symbols, at, "DO NOTHING")


def mark_synced(cursor: Any, symbols: Sequence[str], at: datetime, new: Collection[str]) -> None:
    """Set the time of the last synchronisation, except for ``new`` symbols, which have it already.

    Call it late in a transaction, because other runs wait for these rows.
    """
    _enter(cursor, [symbol for symbol in symbols if symbol not in new], at, _SYNCED)


def _enter(cursor: Any, symbols: Sequence[str], at: datetime, known: str) -> set[str]:
    if not symbols:
        return set()
    exchanges = [symbol.rpartition(".")[2] for symbol in symbols]
    values = {
        "symbols": list(symbols),
        "exchanges": exchanges,
        "types": list(map(_KINDS.get, exchanges)),
        "at": at,
    }
    cursor.execute(f"{_ENTER} {known} RETURNING symbol", values)
    return {symbol for (symbol,) in cursor.fetchall()}
