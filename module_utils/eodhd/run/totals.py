"""What a run did, in numbers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ansible.module_utils.eodhd.model import SymbolEntry
from ansible.module_utils.eodhd.store.store import Fetched, Written


@dataclass
class Totals:
    """What a run did; ``not_loaded`` holds outcome and message of each symbol that is not as asked."""

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
        """Return the numbers as plain data."""
        return {name: value for name, value in vars(self).items() if name != "not_loaded"}

    def add(self, item: Fetched, written: Written) -> None:
        """Count a stored answer."""
        rows, aside = (len(item.parsed.lines), len(item.parsed.aside)) if item.parsed else (0, 0)
        self.calls += item.answer.calls
        self.requests += item.answer.requests
        self.bytes += item.size
        self.downloaded += rows + aside
        self.inserted += written.inserted
        self.updated += written.updated
        self.unchanged += written.unchanged
        untraded = item.parsed.untraded if item.parsed else 0
        self.set_aside += aside - untraded
        self.untraded += untraded
        self.registered += written.registered
        if written.again is None:
            self.settle(item.task.symbol, item.outcome, item.message)

    def plus(self, other: Totals) -> Totals:
        """Return what two parts of a run did together."""
        counts = {name: count + other.facts()[name] for name, count in self.facts().items()}
        return Totals(**counts, not_loaded={**self.not_loaded, **other.not_loaded})

    def settle(self, symbol: str, outcome: str, message: str) -> None:
        """Note what finally became of a symbol."""
        self.done += 1
        if outcome == "loaded":
            self.loaded += 1
        else:
            self.not_loaded[symbol] = (outcome, message)

    def forgive(self, symbol: str, outcomes: Collection[str]) -> str:
        """Count a symbol with one of these outcomes as loaded; that outcome, or empty text."""
        outcome, _ = self.not_loaded.get(symbol, ("", ""))
        if outcome not in outcomes:
            return ""
        del self.not_loaded[symbol]
        self.loaded += 1
        return outcome

    def take_fresh(self, symbol: str, known: SymbolEntry) -> None:
        """Count a symbol that was not asked for, because the ledger has it."""
        self.fresh += 1
        self.settle(symbol, known.outcome, known.message)
