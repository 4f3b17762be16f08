"""What a run did, in numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.store.store import Fetched, Written


@dataclass
class Totals:
    """What a run did; ``not_loaded`` has outcome and message of each symbol that was not loaded as requested."""

    symbols: int = 0
    done: int = 0
    loaded: int = 0
    fresh: int = 0
    calls: int = 0
    requests: int = 0
    bytes: int = 0
    downloaded: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    set_aside: int = 0
    untraded: int = 0
    registered: int = 0
    refetched: int = 0
    not_loaded: dict[str, tuple[str, str]] = field(default_factory=dict)

    def facts(self) -> dict[str, int]:
        """Return the numbers for the ledger and the module's result."""
        return {name: value for name, value in vars(self).items() if name != "not_loaded"}

    def add(self, item: Fetched, written: Written) -> None:
        """Count a stored answer."""
        untraded = sum(row.untraded for row in item.aside)
        self.calls += item.answer.calls
        self.requests += item.answer.requests
        self.bytes += item.answer.size
        self.downloaded += len(item.lines) + len(item.aside)
        self.inserted += written.inserted
        self.updated += written.updated
        self.unchanged += written.unchanged
        self.set_aside += len(item.aside) - untraded
        self.untraded += untraded
        self.registered += written.registered
        if written.again is None:
            self.finish(item.task.symbol, item.outcome, item.message)

    def plus(self, other: Totals) -> Totals:
        """Return the sum of two parts of a run."""
        counts = {name: count + other.facts()[name] for name, count in self.facts().items()}
        return Totals(**counts, not_loaded={**self.not_loaded, **other.not_loaded})

    def finish(self, symbol: str, outcome: str, message: str) -> None:
        """Record the final outcome of a symbol."""
        self.done += 1
        if outcome == "loaded":
            self.loaded += 1
        else:
            self.not_loaded[symbol] = (outcome, message)

    def count_as_loaded(self, symbol: str, outcomes: Collection[str]) -> str:
        """Count a symbol with one of these outcomes as loaded; return the outcome, or empty text."""
        outcome, _ = self.not_loaded.get(symbol, ("", ""))
        if outcome not in outcomes:
            return ""
        del self.not_loaded[symbol]
        self.loaded += 1
        return outcome

    def add_fresh(self, symbol: str, known: SymbolEntry) -> None:
        """Count a symbol that was not requested, because its ledger entry is fresh."""
        self.fresh += 1
        self.finish(symbol, known.outcome, known.message)
