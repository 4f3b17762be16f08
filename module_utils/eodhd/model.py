"""The words that all parts of the backfill share: outcomes, symbols, tasks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.reporting import Problem

Outcome = Literal[
    "loaded", "set_aside", "truncated", "empty", "late", "unknown", "forbidden", "rejected", "failed", "pending"
]  # fmt: skip


class Consequence(NamedTuple):
    """What follows from an outcome: what to do, and whether the provider would say it again while it is fresh."""

    advice: str = ""
    answered: bool = False


# In the order in which they are reported.
CONSEQUENCES: dict[Outcome, Consequence] = {
    # Every row of the answer is in the table.
    "loaded": Consequence(answered=True),
    # An answer without rows.
    "empty": Consequence(
        'check the dates, or accept it with -e \'{"backfill_accept": ["empty"]}\'', answered=True
    ),
    # The provider has not published the session yet, though it is due.
    "late": Consequence("run the same command again later; what came is stored"),
    "set_aside": Consequence("look at backfill_set_aside, or accept it in backfill_accept", answered=True),
    "truncated": Consequence(
        "the free plan has one year; ask for less (backfill_days), or accept it", answered=True
    ),
    "unknown": Consequence("correct or remove the symbol in backfill_symbols", answered=True),
    "forbidden": Consequence("the plan of eodhd_api_token does not include it", answered=True),
    # The provider calls the request malformed.
    "rejected": Consequence("check the symbol and the dates"),
    # No usable answer within the retries.
    "failed": Consequence("run the same command again; only these are asked for"),
    # Not asked: the run ended before.
    "pending": Consequence("run the same command again; only these are asked for"),
}
ANSWERED: frozenset[str] = frozenset(name for name, found in CONSEQUENCES.items() if found.answered)
# Answers that do not hold the whole past, so that one found restated stays marked.
PASTLESS: frozenset[str] = ANSWERED - {"loaded", "set_aside"}


_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9_&$^-]*\.[A-Z]{1,12}", re.IGNORECASE)


@dataclass(frozen=True)
class SymbolEntry:
    """What the ledger has of a symbol.

    Attributes:
        range: the days answered for, without a gap.
        outcome: of the last answer.
        rows: stored in the range.
        fetched: when the last answer came.
        restated: the past was found changed, and no answer for all of it has come since.
        message: what people were told.
    """

    range: Range
    outcome: str
    rows: int
    fetched: datetime
    restated: bool = False
    message: str = ""


@dataclass(frozen=True)
class Task:
    """One call to make.

    Attributes:
        symbol: with its exchange, ``AAPL.US``.
        vacant: no row of it was stored when the plan was made, so that COPY may go straight into the table.
        kept: the ledger's entry that the answer will extend; None if it will replace it.
        whole: whether all that is stored of the symbol lies in the range.
        calls: what it costs.
    """

    symbol: str
    range: Range
    vacant: bool = False
    kept: SymbolEntry | None = None
    whole: bool = False
    calls: int = 1

    def covered(self) -> Range:
        """Return the days that the ledger may call answered for once there is an answer."""
        return self.kept.range.hull(self.range) if self.kept else self.range

    def rows_after(self, accepted: int, inserted: int) -> int:
        """Return the rows that stand in ``covered()`` once ``accepted`` rows are stored, ``inserted`` newly."""
        if self.kept and not self.range.covers(self.kept.range):
            return self.kept.rows + inserted
        return accepted


def normalise(symbols: list[str], exchange: str) -> list[str]:
    """Return the symbols as the provider spells them, each once, in the order given.

    Args:
        symbols: ``AAPL.US``; a missing suffix means ``exchange``. Empty ones and ``#`` comments are left out.

    Raises:
        Problem: one is no symbol; all such are named before any call is paid.
    """
    found: dict[str, None] = {}
    wrong = []
    for text in symbols:
        given = str(text).lstrip("\ufeff").partition("#")[0].strip()
        name = given if "." in given else f"{given}.{exchange}"
        if given and not _SYMBOL.fullmatch(name):
            wrong.append(given)
        elif given:
            # Former holders of a code keep a lower-case _old, _old1 and so on.
            found[re.sub(r"_OLD(?=\d*\.)", "_old", name.upper())] = None
    if wrong:
        raise Problem(
            f"These are no EODHD symbols: {', '.join(wrong[:10])}{' …' if len(wrong) > 10 else ''}."
            " A symbol has one dot, before its exchange: AAPL.US, BRK-B.US, BTC-USD.CC, EURUSD.FOREX"
            " (backfill_symbols)."
            + (" There is no such file on the machine that runs the playbook." if "/" in wrong[0] else "")
        )
    if not found:
        raise Problem("There is no symbol to load. Name some in backfill_symbols, or set backfill_top.")
    return list(found)
