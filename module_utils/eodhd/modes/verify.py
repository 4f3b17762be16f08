"""Mode ``verify``: compares stored rows with the provider's current ones, field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any

from ansible.module_utils.coverage import expected
from ansible.module_utils.database.tables import FIGURES, there
from ansible.module_utils.eodhd import planning
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.modes.history import fetch
from ansible.module_utils.eodhd.store import stored
from ansible.module_utils.eodhd.store.store import SETTLING
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# The values of ``FIGURES`` by day, in their order.
Bars = Mapping[date, tuple[Decimal, ...]]
# Maximum number of mismatches in the report.
LISTED = 50
# Half a unit in the fourth decimal of an adjusted close.
TOLERANCE = Decimal("0.00005")


def run(context: Context) -> dict[str, Any]:
    """Request a random sample of the ledger's symbols again, and compare.

    Raises:
        Problem: a value differs, or nothing could be compared.
    """
    request = context.request
    asked = planning.asked_range(request.days, request.first, request.last, context.today)
    context.look()
    asked = context.retained_days(asked)
    sample = (
        {} if context.absent else context.database.run(partial(_sample, asked=asked, size=request.sample))
    )
    title = plural(len(sample), "symbol")
    plan = planning.Plan(f"verify: {title}, {asked.first} to {asked.last}", [], {}, extra_calls=len(sample))
    plan.rows = sum(expected.bars(symbol, days.first, days.last) for symbol, days in sample.items())
    if priced := context.priced(plan, changes=False):
        return priced
    if not sample:
        raise Problem(
            f"There is nothing to verify: the ledger has no symbol with rows from {asked.first} to {asked.last}."
            " Load some with backfill_mode=history, or set other days."
        )
    found = _compare(context, sample)
    lines = [
        f"🔎 VERIFYING {title} ({asked.first} to {asked.last})",
        f"   compared: {plural(found.rows, 'row')}, {plural(found.calls, 'call')}",
        *(f"   {line}" for line in found.lines()),
    ]
    context.notes += [found.note] if found.note else []
    result = {
        "changed": False,
        "plan": plan.facts(),
        "report": "\n".join([*lines, "", found.verdict]),
        "mismatches": found.mismatches,
        "not_loaded": [{"symbol": name, "message": why} for name, why in found.unanswered.items()],
        "adjusted": found.differences,
        "notes": context.notes,
    }
    if found.mismatches:
        first = found.mismatches[0]
        raise Problem(
            f"{len(found.mismatches):,} stored values differ from the provider's, first {first['symbol']} on"
            f" {first['day']}. Load them again with backfill_mode=history and -e backfill_force=true.",
            **result,
        )
    if found.unanswered or not found.rows:
        raise Problem(
            f"{len(found.unanswered) or len(sample)} symbols of the sample could not be compared; see the report.",
            **result,
        )
    return result


def _compare(context: Context, sample: Mapping[str, Range]) -> Findings:
    """Request each symbol of the sample, and compare the answer with the stored rows."""
    marks = context.database.run(partial(stored.marked, symbols=list(sample)))
    old_days = {mark.symbol: mark.days for mark in marks}
    found = Findings([mark.text for mark in marks])
    settled = context.today - SETTLING
    close, adjusted_close = map(list(FIGURES).index, ("close", "adjusted_close"))
    for symbol, days in sample.items():
        answer, parsed = fetch(context, symbol, days, keep=False)
        found.calls += answer.calls
        if parsed is None:
            found.unanswered[symbol] = f"{answer.outcome} ({answer.message})"
            continue
        later = Range(days.first, context.today)
        bars = stored.read(context.database, symbol, later, context.chunks)
        ours = {day: bar for day, bar in bars.items() if day <= days.last}
        found.rows += len(ours)
        sent = dict(map(_bar, parsed.lines))
        # Bars that are marked as having an old basis are not mismatches.
        old = old_days.get(symbol)
        ours = {
            day: bar
            for day, bar in ours.items()
            if day in sent or old is None or not old.first <= day <= old.last
        }
        found.mismatches += [{"symbol": symbol, **mismatch} for mismatch in mismatches(ours, sent, settled)]
        actions = stored.read_actions(context.database, symbol, later)
        if actions is None:
            found.unknown += 1
            continue
        computed = adjusted({day: bar[close] for day, bar in bars.items()}, *actions)
        provider = {day: bar[adjusted_close] for day, bar in sent.items()}
        found.days += len(computed.keys() & provider.keys())
        wrong = differing(computed, provider)
        if wrong:
            first, last = str(wrong[0]), str(wrong[-1])
            found.differences.append(
                {"symbol": symbol, "first_day": first, "last_day": last, "days": len(wrong)}
            )
    return found


def mismatches(stored: Bars, provider: Bars, settled: date) -> Iterator[dict[str, str]]:
    """Yield the differences between stored and provider's bars; the field ``row`` means that one side lacks the bar.

    Args:
        settled: from this day on, volumes and missing bars are not final and are not compared.
    """
    for day in sorted({*stored, *provider}):
        ours, theirs = stored.get(day), provider.get(day)
        pairs: Iterable[tuple[str, Any, Any]] = [
            ("row", "present" if ours else "none", "present" if theirs else "none")
        ]
        if ours and theirs:
            pairs = zip(FIGURES, ours, theirs)
        for name, one, other in pairs:
            if one != other and (day < settled or name not in ("row", "volume")):
                yield {"day": str(day), "field": name, "stored": str(one), "provider": str(other)}


@dataclass
class Findings:
    """The results of the sample, with those of the adjusted close computed from closes and actions.

    Attributes:
        marks: bars with an old adjustment basis, in words.
        unanswered: why there is no answer, by symbol.
        days: number of adjusted closes compared.
        unknown: number of symbols whose actions were never loaded.
        differences: the days on which a computed adjusted close differs, by symbol, as in the module's result.
    """

    marks: Sequence[str]
    rows: int = 0
    calls: int = 0
    mismatches: list[dict[str, str]] = field(default_factory=list)
    unanswered: dict[str, str] = field(default_factory=dict)
    days: int = 0
    unknown: int = 0
    differences: list[dict[str, Any]] = field(default_factory=list)

    @property
    def note(self) -> str:
        """Return a warning of differences. They are no failure, because EODHD also adjusts for spin-offs."""
        if not self.differences:
            return ""
        return (
            f"The adjusted close of {plural(len(self.differences), 'symbol')} does not follow from the known splits and"
            " dividends. Load them again with backfill_mode=actions and -e backfill_force=true; what still"
            " differs then may be a spin-off, or closes that EODHD rounded."
        )

    @property
    def verdict(self) -> str:
        """Return the last line of the report."""
        if self.mismatches or self.unanswered or not self.rows:
            return "❌ NOT VERIFIED"
        return f"⚠️  NOT EXPLAINED: {self.note}" if self.note else "🎉 SUCCESS: Every value is the provider's"

    def lines(self) -> list[str]:
        """Return the results as lines of the report."""
        lines = []
        if self.days:
            agree = self.days - sum(found["days"] for found in self.differences)
            lines.append(
                f"adjusted close from splits and dividends: {agree:,} of {plural(self.days, 'day')} agree to 4 decimals"
            )
        lines += [
            f"{found['symbol']}: differs on {plural(found['days'], 'day')},"
            f" from {found['first_day']} to {found['last_day']}"
            for found in self.differences
        ]
        if self.unknown:
            lines.append(
                f"actions of {plural(self.unknown, 'symbol')} are unknown: load them with backfill_mode=actions"
            )
        lines += self.marks
        lines += [f"{symbol}: {why}" for symbol, why in self.unanswered.items()]
        lines += [
            "{symbol} {day} {field}: stored {stored}, provider {provider}".format(**found)
            for found in self.mismatches[:LISTED]
        ]
        if len(self.mismatches) > LISTED:
            lines.append(f"and {len(self.mismatches) - LISTED:,} more")
        return lines


def adjusted(
    closes: Mapping[date, Decimal], splits: Mapping[date, Decimal], dividends: Mapping[date, Decimal]
) -> dict[date, Decimal]:
    """Return the adjusted close of each day.

    A split divides the closes before it by its ratio. A dividend multiplies the closes before it by
    (close − dividend) ÷ close, with the last close before the ex-day.

    Args:
        closes: as traded, by day.
        splits: new shares per old share, by effective day; all those after the first close.
        dividends: amount per share held on the ex-day, by ex-day; all those after the first close.
    """
    remaining = sorted({*splits, *dividends})
    factor = Decimal(1)
    found = {}
    for day in sorted(closes, reverse=True):
        while remaining and remaining[-1] > day:
            effective = remaining.pop()
            ratio = splits.get(effective, Decimal(1))
            price = closes[day] / ratio  # per share as it is on the ex-day
            factor /= ratio
            if price:
                factor *= (price - dividends.get(effective, Decimal(0))) / price
        found[day] = closes[day] * factor
    return found


def differing(computed: Mapping[date, Decimal], provider: Mapping[date, Decimal]) -> list[date]:
    """Return the common days on which the two differ by more than the tolerance."""
    common = sorted(computed.keys() & provider.keys())
    return [day for day in common if abs(computed[day] - provider[day]) > TOLERANCE]


def _sample(cursor: Any, asked: Range, size: int) -> dict[str, Range]:
    if not there(cursor, "backfill_coverage"):
        return {}
    cursor.execute(
        "SELECT symbol, greatest(first_day, %(first)s), least(last_day, %(last)s) FROM backfill_coverage"
        " WHERE rows > 0 AND first_day <= %(last)s AND last_day >= %(first)s AND symbol LIKE '%%.%%'"
        " AND symbol NOT LIKE '%% %%'"
        " ORDER BY random() LIMIT %(size)s",
        {"first": asked.first, "last": asked.last, "size": size},
    )
    return {symbol: Range(first, last) for symbol, first, last in cursor.fetchall()}


def _bar(line: str) -> tuple[date, tuple[Decimal, ...]]:
    day, _symbol, *values = line.rstrip("\n").split("\t")
    return date.fromisoformat(day), tuple(map(Decimal, values))
