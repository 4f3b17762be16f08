"""The report of a run: what it did, whether all was loaded as requested, and what to do if not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Optional

from ansible.module_utils.eodhd.model import CONSEQUENCES
from ansible.module_utils.eodhd.run.totals import Totals
from ansible.module_utils.text import plural

Counts = Mapping[str, Optional[int]]
# Maximum number of symbols in one line.
LISTED = 10


def unaccepted(totals: Totals, accept: Collection[str]) -> dict[str, tuple[str, str]]:
    """Return the symbols that were not loaded as requested and whose outcome the user does not accept."""
    return {
        symbol: (outcome, message)
        for symbol, (outcome, message) in totals.not_loaded.items()
        if outcome not in accept
    }


@dataclass(frozen=True)
class Verification:
    """What a run left in the tables.

    Attributes:
        accept: outcomes that do not fail the run.
        before, after: row counts of the tables.
        lacking: symbols with rows missing in the table at the end.
        restated: why symbols were restated, in words.
        old: bars with an old adjustment basis, in words, which rule out a SUCCESS.
    """

    accept: Collection[str]
    before: Counts
    after: Counts
    lacking: Sequence[str] = ()
    restated: Sequence[str] = ()
    old: Sequence[str] = ()


def for_symbol(symbol: str, span: str, totals: Totals, found: Verification) -> str:
    """Return the report of one symbol; ``span`` is the days requested, in words."""
    downloaded = "❌ Downloaded nothing"
    if totals.fresh:
        downloaded = "✅ Nothing to download: the ledger has a fresh answer"
    elif totals.downloaded or totals.loaded:
        downloaded = f"✅ Downloaded {plural(totals.downloaded, 'record')}"
    counted_lines = {
        f"✅ Updated {plural(totals.updated, 'row')}, the old values are in backfill_revision": totals.updated,
        f"✅ {plural(totals.unchanged, 'row')} unchanged": totals.unchanged,
        f"⚠️  {plural(totals.set_aside, 'row')} set aside, the reasons are in backfill_set_aside": totals.set_aside,
        f"✅ {plural(totals.untraded, 'row')} without any price set aside: nobody traded": totals.untraded,
        f"✅ Registered {symbol} in assets": totals.registered,
    }
    lines = [
        f"⬇️  DOWNLOADING {symbol} ({span})",
        downloaded,
        "",
        "💾 INSERTING INTO DATABASE",
        f"✅ Inserted {plural(totals.inserted, 'row')} into market_data",
        *(line for line, count in counted_lines.items() if count),
    ]
    return "\n".join([*lines, *_ending(totals, found)])


def for_many(title: str, totals: Totals, found: Verification) -> str:
    """Return the report of many symbols, in totals."""
    fresh = f"; {totals.fresh:,} fresh in the ledger, not requested again" if totals.fresh else ""
    untraded = f", untraded {totals.untraded:,}" if totals.untraded else ""
    lines = [
        f"⬇️  DOWNLOADING {title}",
        f"✅ Downloaded {plural(totals.downloaded, 'record')} in {plural(totals.calls, 'call')}{fresh}",
        "",
        "💾 INSERTING INTO DATABASE",
        f"✅ Inserted {plural(totals.inserted, 'row')}, updated {totals.updated:,},"
        f" unchanged {totals.unchanged:,}, set aside {totals.set_aside:,}{untraded}",
        f"✅ Registered {plural(totals.registered, 'symbol')} in assets",
    ]
    if totals.refetched:
        lines.append(f"✅ Refetched {plural(totals.refetched, 'restated history')}, see backfill_revision")
    return "\n".join([*lines, *_ending(totals, found)])


def _ending(totals: Totals, found: Verification) -> list[str]:
    lines, lacking = ["", "📊 VERIFICATION"], found.lacking
    for table, now in found.after.items():
        was = found.before[table]
        if was is None or now is None:
            lines.append(f"   {table}: too large to count in time")
        else:
            lines.append(f"   {table}: {plural(now, 'row')} (was {was:,}) → {now - was:+,}")
    if lacking:
        more = f" and {len(lacking) - LISTED:,} more" if len(lacking) > LISTED else ""
        lines.append(f"   ❌ rows are missing in market_data: {', '.join(lacking[:LISTED])}{more}")
    if totals.not_loaded:
        by_outcome = Counter(outcome for outcome, _ in totals.not_loaded.values())
        counted = ", ".join(f"{count:,} {name}" for name, count in by_outcome.items())
        lines += ["", f"⚠️  NOT LOADED: {counted}"]
        lines += [
            f"   {symbol}: {outcome}{f' ({message})' if message else ''}"
            for symbol, (outcome, message) in totals.not_loaded.items()
        ]
    if found.restated:
        lines += ["", "🔁 RESTATED", *(f"   {line}" for line in found.restated)]
    if found.old:
        lines += ["", "⚠️  OLD BASIS", *(f"   {line}" for line in found.old)]
    if not totals.not_loaded and not lacking and not found.old:
        verdict = "🎉 SUCCESS: Database populated"
    elif not totals.not_loaded and not lacking:
        verdict = (
            "⚠️  LOADED, BUT NOT ON ONE BASIS: see backfill_old_basis; delete those bars, or do not mix them"
        )
    elif lacking or unaccepted(totals, found.accept):
        verdict = f"❌ INCOMPLETE: {totals.loaded:,} of {totals.symbols:,} loaded as requested"
    else:
        verdict = f"⚠️  ACCEPTED: {totals.loaded:,} of {totals.symbols:,} loaded, the others as backfill_accept allows"
    return [*lines, "", verdict]


def advice(outcomes: Collection[str]) -> str:
    """Return what to do about outcomes, in one line."""
    return "; ".join(
        f"{outcome}: {consequence.advice}"
        for outcome, consequence in CONSEQUENCES.items()
        if outcome in outcomes and consequence.advice
    )
