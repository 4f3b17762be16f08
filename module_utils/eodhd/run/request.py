"""The options of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from ansible.module_utils.database.server import Server
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
