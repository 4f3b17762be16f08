"""Enters symbols in the table ``assets``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

ASSETS = """
INSERT INTO assets AS a (symbol, exchange, asset_type, is_active, last_synced)
SELECT symbol, exchange, asset_type, true, %(at)s
FROM unnest(%(symbols)s::text[], %(exchanges)s::text[], %(types)s::text[]) AS k (symbol, exchange, asset_type)
ORDER BY symbol
ON CONFLICT (symbol) DO UPDATE SET last_synced = EXCLUDED.last_synced,
  exchange = coalesce(a.exchange, EXCLUDED.exchange), asset_type = coalesce(a.asset_type, EXCLUDED.asset_type)
RETURNING symbol, xmax = 0
"""


def register(cursor: Any, symbols: Sequence[str], at: datetime) -> set[str]:
    """Enter symbols in ``assets`` as synchronised at a time; return the new ones."""
    exchanges = [symbol.rpartition(".")[2] for symbol in symbols]
    types = [_kind(symbol) for symbol in symbols]
    cursor.execute(ASSETS, {"symbols": list(symbols), "exchanges": exchanges, "types": types, "at": at})
    return {symbol for symbol, new in cursor.fetchall() if new}


def _kind(symbol: str) -> str | None:
    """Return what the exchange of a symbol says about its kind; None if the register has to tell."""
    return {"CC": "Crypto", "FOREX": "Forex", "INDX": "Index"}.get(symbol.rpartition(".")[2])
