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
# What an exchange says about the kind of its symbols; of the others the register tells.
_KINDS = {"CC": "Crypto", "FOREX": "Forex", "INDX": "Index"}


def enter(cursor: Any, symbols: Sequence[str], at: datetime) -> set[str]:
    """Enter symbols before their bars, which may refer to them by a foreign key; return the new ones."""
    return _enter(cursor, symbols, at, "DO NOTHING")


def synced(cursor: Any, symbols: Sequence[str], at: datetime, new: Collection[str]) -> None:
    """Note when symbols were synchronised, but for the ``new`` ones, which say so already.

    Others wait for these rows, so this comes late in a transaction.
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
