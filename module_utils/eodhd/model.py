"""Types that all parts of the backfill share: the request, outcomes, symbols, tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, NamedTuple

from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.markets import names
from ansible.module_utils.reporting import Problem


@dataclass(frozen=True)
class Request:
    """The options of a run, as the module documents them."""

    mode: str
    server: Server
    base_url: str
    token: str = field(repr=False)
    symbols: list[str] = field(default_factory=list)
    exchanges: list[str] = field(default_factory=lambda: ["US"])
    top: int | None = None
    days: int = 30
    first: date | None = None
    last: date | None = None
    sample: int = 10
    snapshot: str | None = None
    fresh_hours: float = 12.0
    overlap_days: int = 10
    force: bool = False
    partial: bool = False
    accept: frozenset[str] = frozenset()
    settle_calls: int = 2000
    delisted: bool = False
    concurrency: int = 32
    shard: int = 0
    shards: int = 1
    check: bool = False
    progress_path: str | None = None
    spool: str | None = None

    def __post_init__(self) -> None:
        """Raise ``Problem`` if no request could be sent."""
        if self.concurrency < 1:
            raise Problem(f"backfill_concurrency is {self.concurrency}; it must be at least 1.")

    def facts(self) -> dict[str, Any]:
        """Return what the ledger stores of it, without secrets."""
        symbols = self.symbols if len(self.symbols) <= 20 else [*self.symbols[:20], "…"]
        return {
            "symbols": symbols,
            "exchanges": self.exchanges,
            "top": self.top,
            "days": self.days,
            "first": self.first and self.first.isoformat(),
            "last": self.last and self.last.isoformat(),
            "force": self.force,
        }


Outcome = Literal[
    "loaded", "set_aside", "truncated", "empty", "late", "unknown", "forbidden", "rejected", "failed", "pending"
]  # fmt: skip


class Consequence(NamedTuple):
    """Advice for an outcome, and whether its answer is valid while it is fresh."""

    advice: str = ""
    answered: bool = False


# In report order.
CONSEQUENCES: dict[Outcome, Consequence] = {
    # Every row of the answer is in the table.
    "loaded": Consequence(answered=True),
    # An answer without rows.
    "empty": Consequence(
        'check the dates, or accept it with -e \'{"backfill_accept": ["empty"]}\'', answered=True
    ),
    # The provider has not published the session yet, though it is due.
    "late": Consequence("run the same command again later; the rows received so far are stored"),
    "set_aside": Consequence(
        "see the table backfill_set_aside, or add set_aside to backfill_accept", answered=True
    ),
    "truncated": Consequence(
        "the free plan covers one year; reduce backfill_days, or add truncated to backfill_accept",
        answered=True,
    ),
    "unknown": Consequence("correct or remove the symbol in backfill_symbols", answered=True),
    "forbidden": Consequence("the plan of eodhd_api_token does not include it", answered=True),
    # The provider rejects the request as malformed.
    "rejected": Consequence("check the symbol and the dates"),
    # No usable answer within the retries.
    "failed": Consequence("run the same command again; it requests only these"),
    # Not requested: the run ended first.
    "pending": Consequence("run the same command again; it requests only these"),
}
ANSWERED: frozenset[str] = frozenset(name for name, found in CONSEQUENCES.items() if found.answered)
# Answers without the full history: after one, a symbol marked as restated stays marked.
WITHOUT_HISTORY: frozenset[str] = ANSWERED - {"loaded", "set_aside"}


_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_&$^-]*\.[A-Z]{1,12}", re.IGNORECASE)


@dataclass(frozen=True)
class SymbolEntry:
    """The ledger's entry for a symbol.

    Attributes:
        range: the days that answers cover, without a gap.
        outcome: of the last answer.
        rows: stored in the range.
        fetched: when the last answer arrived.
        restated: whether the history was restated and has not been loaded in full since.
        message: as shown to users.
    """

    range: Range
    outcome: str
    rows: int
    fetched: datetime
    restated: bool = False
    message: str = ""


@dataclass(frozen=True)
class Task:
    """One API call to make.

    Attributes:
        symbol: with its exchange, ``AAPL.US``.
        vacant: whether the table had no row of it at planning time, so that COPY can write directly into the table.
        kept: the ledger entry that the answer extends; None if the answer replaces it.
        rest_stored: whether the table had rows of the requested days, of which the range is only the end.
        calls: what it costs.
    """

    symbol: str
    range: Range
    vacant: bool = False
    kept: SymbolEntry | None = None
    rest_stored: bool = False
    calls: int = 1

    def covered(self) -> Range:
        """Return the days that the ledger covers once the answer is stored."""
        return self.kept.range.hull(self.range) if self.kept else self.range

    def rows_after(self, days: Sequence[str], inserted: int) -> int:
        """Return the rows in ``covered()`` once rows of these days are stored, ``inserted`` of them new."""
        if self.kept is None or self.range.covers(self.kept.range):
            return len(days)
        first, last = self.kept.range.first.isoformat(), self.kept.range.last.isoformat()
        # The mode daily may have stored the later rows before.
        return self.kept.rows + max(inserted, sum(not first <= day <= last for day in days))


def normalise(symbols: list[str], exchange: str) -> list[str]:
    """Return the symbols in the provider's spelling, in the order given, without duplicates.

    Args:
        symbols: ``AAPL.US``; without a suffix, ``exchange`` is added. Empty entries and ``#`` comments are dropped.

    Raises:
        Problem: some are not symbols.
    """
    found: dict[str, None] = {}
    wrong = []
    for text in symbols:
        given = str(text).lstrip("\ufeff").partition("#")[0].strip()
        name = given if "." in given else f"{given}.{exchange}"
        if given and not _SYMBOL.fullmatch(name):
            wrong.append(given)
        elif given:
            found[names.full(name)] = None
    if wrong:
        raise Problem(
            f"These are not EODHD symbols: {', '.join(wrong[:10])}{' …' if len(wrong) > 10 else ''}."
            " A symbol has one dot, before its exchange: AAPL.US, BRK-B.US, BTC-USD.CC, EURUSD.FOREX"
            " (backfill_symbols)."
            + (" There is no such file on the machine that runs the playbook." if "/" in wrong[0] else "")
        )
    if not found:
        raise Problem("There are no symbols to load. List them in backfill_symbols, or set backfill_top.")
    return list(found)
