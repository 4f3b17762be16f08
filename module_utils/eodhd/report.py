"""What a run did: in numbers, as lines of progress, and as a report that says what to do about the rest."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from ansible.module_utils.eodhd.client import Stop
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.model import CONSEQUENCES, SymbolEntry
from ansible.module_utils.eodhd.planning import Plan
from ansible.module_utils.eodhd.store.store import Fetched, Written
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

Counts = Mapping[str, Optional[int]]
# Maximum number of symbols in one line.
LISTED = 10
# Seconds between lines of progress.
INTERVAL = 3.0


@dataclass
class Totals:
    """What a run did.

    Attributes:
        run: its number in the ledger.
        not_loaded: outcome and message of each symbol that was not loaded as requested.
        stopped: why it ended early, if it did.
    """

    run: int = 0
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
    stopped: Stop | None = None

    def facts(self) -> dict[str, int]:
        """Return the numbers for the ledger and the module's result."""
        others = ("run", "not_loaded", "stopped")
        return {name: value for name, value in vars(self).items() if name not in others}

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

    def plus(self, later: Totals) -> Totals:
        """Return the sum of this run and a later part of it."""
        counts = {name: count + later.facts()[name] for name, count in self.facts().items()}
        return Totals(
            self.run, **counts, not_loaded={**self.not_loaded, **later.not_loaded}, stopped=later.stopped
        )

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


def line(totals: Totals, seconds: float) -> str:
    """Return a progress line: what was done in these seconds, and the time left."""
    rate = totals.requests / seconds if seconds > 0 else 0.0
    asked = totals.done - totals.fresh
    left = totals.symbols - totals.done
    ahead = duration(left * seconds / asked) if asked > 0 else "unknown"
    trouble = len(totals.not_loaded)
    return (
        f"{totals.done:,} of {totals.symbols:,} symbols"
        f"{f' ({trouble:,} not loaded)' if trouble else ''}, {totals.downloaded:,} rows,"
        f" {totals.calls:,} calls, {rate:.1f} requests/s, {ahead} left"
    )


def duration(seconds: float) -> str:
    """Return a duration as text: ``45 s``, ``2 min 05 s``, ``1 h 30 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Appends a line to a file, for another process, every few seconds of ``clock``; without a path, to none."""

    def __init__(self, path: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._started = clock()
        self._next = self._started + INTERVAL

    def tick(self, totals: Totals) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        if self._path is None or now < self._next:
            return
        self._next = now + INTERVAL
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line(totals, now - self._started) + "\n")


@dataclass(frozen=True)
class Verification:
    """What a run left in the tables.

    Attributes:
        before, after: row counts of the tables.
        lacking: symbols with rows missing in the table at the end.
        restated: why symbols were restated, in words.
        old: bars with an old adjustment basis, in words, which rule out a SUCCESS.
    """

    before: Counts
    after: Counts
    lacking: Sequence[str] = ()
    restated: Sequence[str] = ()
    old: Sequence[str] = ()


def conclude(
    context: Context, plan: Plan, totals: Totals, title: str, found: Verification, symbol: str = ""
) -> dict[str, Any]:
    """Return the module's result; raise it as a ``Problem`` if something was not loaded as requested.

    Args:
        title: what was loaded, for people.
        symbol: the only one that was requested.
    """
    bad = {
        name: outcome
        for name, (outcome, _) in totals.not_loaded.items()
        if outcome not in context.request.accept
    }
    result = {
        "changed": bool(totals.inserted or totals.updated or totals.registered),
        "run": totals.run,
        "plan": plan.facts(),
        "totals": totals.facts(),
        "not_loaded": [
            {"symbol": name, "outcome": outcome, "message": message}
            for name, (outcome, message) in totals.not_loaded.items()
        ],
        "report": text(title, totals, found, bool(bad), symbol),
        "notes": context.notes,
    }
    if totals.stopped is not None:
        raise Problem(str(totals.stopped), cause=totals.stopped.kind, **result)
    if found.lacking:
        raise Problem(
            f"market_data lacks rows of {len(found.lacking)} symbols that this run stored, such as {found.lacking[0]}."
            " Another program or a trigger of the table deletes or changes them. Stop it, then run the same command"
            " again to load them again.",
            **result,
        )
    if bad:
        raise Problem(
            f"{len(bad):,} of {totals.symbols:,} were not loaded as requested. {advice(bad.values())}.",
            **result,
        )
    return result


def text(title: str, totals: Totals, found: Verification, bad: bool, symbol: str = "") -> str:
    """Return the report of a run, for one ``symbol`` or in totals.

    Args:
        bad: whether an outcome is not accepted.
    """
    downloaded, *inserted = _of_one(symbol, totals) if symbol else _of_many(totals)
    lines = [f"⬇️  DOWNLOADING {title}", downloaded, "", "💾 INSERTING INTO DATABASE", *inserted]
    lines += ["", "📊 VERIFICATION"]
    for table, now in found.after.items():
        was = found.before[table]
        if was is None or now is None:
            lines.append(f"   {table}: too large to count in time")
        else:
            lines.append(f"   {table}: {plural(now, 'row')} (was {was:,}) → {now - was:+,}")
    if found.lacking:
        more = f" and {len(found.lacking) - LISTED:,} more" if len(found.lacking) > LISTED else ""
        lines.append(f"   ❌ rows are missing in market_data: {', '.join(found.lacking[:LISTED])}{more}")
    if totals.not_loaded:
        by_outcome = Counter(outcome for outcome, _ in totals.not_loaded.values())
        counted = ", ".join(f"{count:,} {name}" for name, count in by_outcome.items())
        lines += ["", f"⚠️  NOT LOADED: {counted}"]
        lines += [
            f"   {name}: {outcome}{f' ({message})' if message else ''}"
            for name, (outcome, message) in totals.not_loaded.items()
        ]
    if found.restated:
        lines += ["", "🔁 RESTATED", *(f"   {line}" for line in found.restated)]
    if found.old:
        lines += ["", "⚠️  OLD BASIS", *(f"   {line}" for line in found.old)]
    if found.lacking or bad:
        verdict = f"❌ INCOMPLETE: {totals.loaded:,} of {totals.symbols:,} loaded as requested"
    elif totals.not_loaded:
        verdict = f"⚠️  ACCEPTED: {totals.loaded:,} of {totals.symbols:,} loaded, the others as backfill_accept allows"
    elif found.old:
        verdict = (
            "⚠️  LOADED, BUT NOT ON ONE BASIS: see backfill_old_basis; delete those bars, or do not mix them"
        )
    else:
        verdict = "🎉 SUCCESS: Database populated"
    return "\n".join([*lines, "", verdict])


def _of_one(symbol: str, totals: Totals) -> list[str]:
    """Return a line about the download, and those about the rows."""
    downloaded = "❌ Downloaded nothing"
    if totals.fresh:
        downloaded = "✅ Nothing to download: the ledger has a fresh answer"
    elif totals.downloaded or totals.loaded:
        downloaded = f"✅ Downloaded {plural(totals.downloaded, 'record')}"
    counted = {
        f"✅ Updated {plural(totals.updated, 'row')}, the old values are in backfill_revision": totals.updated,
        f"✅ {plural(totals.unchanged, 'row')} unchanged": totals.unchanged,
        f"⚠️  {plural(totals.set_aside, 'row')} set aside, the reasons are in backfill_set_aside": totals.set_aside,
        f"✅ {plural(totals.untraded, 'row')} without any price set aside: nobody traded": totals.untraded,
        f"✅ Registered {symbol} in assets": totals.registered,
    }
    inserted = f"✅ Inserted {plural(totals.inserted, 'row')} into market_data"
    return [downloaded, inserted, *(line for line, count in counted.items() if count)]


def _of_many(totals: Totals) -> list[str]:
    fresh = f"; {totals.fresh:,} fresh in the ledger, not requested again" if totals.fresh else ""
    untraded = f", untraded {totals.untraded:,}" if totals.untraded else ""
    lines = [
        f"✅ Downloaded {plural(totals.downloaded, 'record')} in {plural(totals.calls, 'call')}{fresh}",
        f"✅ Inserted {plural(totals.inserted, 'row')}, updated {totals.updated:,},"
        f" unchanged {totals.unchanged:,}, set aside {totals.set_aside:,}{untraded}",
        f"✅ Registered {plural(totals.registered, 'symbol')} in assets",
    ]
    if totals.refetched:
        lines.append(f"✅ Refetched {plural(totals.refetched, 'restated history')}, see backfill_revision")
    return lines


def advice(outcomes: Collection[str]) -> str:
    """Return what to do about outcomes, in one line."""
    return "; ".join(
        f"{outcome}: {consequence.advice}"
        for outcome, consequence in CONSEQUENCES.items()
        if outcome in outcomes and consequence.advice
    )
