"""Mode ``verify``: stored rows held against what the provider says of them now, field by field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from ansible.module_utils.coverage import expected
from ansible.module_utils.database.tables import FIGURES, there
from ansible.module_utils.eodhd.adjusting import Difference, adjusted, difference
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.modes.history import eod_query
from ansible.module_utils.eodhd.plan import plan as planning
from ansible.module_utils.eodhd.run.context import Context
from ansible.module_utils.eodhd.store import basis, known, stored
from ansible.module_utils.eodhd.store.parser import Parser
from ansible.module_utils.eodhd.store.store import SETTLE_DAYS
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

Row = Mapping[str, Decimal]


@dataclass(frozen=True)
class Mismatch:
    """A stored value that is not the provider's; ``row`` as field means that one side has no such row."""

    symbol: str
    day: str
    field: str
    stored: str
    provider: str


def compare(
    symbol: str, stored: Mapping[str, Row], provider: Mapping[str, Row], settled: date
) -> list[Mismatch]:
    """Return where stored rows and the provider's differ.

    Args:
        stored, provider: values by column, by ISO day.
        settled: from this day on the provider's volume is not final, and is not compared.
    """
    found = []
    for day in sorted({*stored, *provider}):
        ours, theirs = stored.get(day), provider.get(day)
        if ours is None or theirs is None:
            if day < settled.isoformat():
                found.append(
                    Mismatch(
                        symbol, day, "row", "present" if ours else "none", "present" if theirs else "none"
                    )
                )
            continue
        found += [
            Mismatch(symbol, day, name, str(ours[name]), str(theirs[name]))
            for name in FIGURES
            if ours[name] != theirs[name] and not (name == "volume" and day >= settled.isoformat())
        ]
    return found


def run(context: Context) -> dict[str, Any]:
    """Ask again for a random sample of the symbols that the ledger has, and compare.

    Raises:
        Problem: a value differs, or nothing could be compared.
    """
    request = context.request
    asked = planning.asked_range(request.days, request.first, request.last, context.today)
    parser = Parser(context.widths())
    sample = (
        [] if context.absent else context.database.run(lambda cursor: _sample(cursor, asked, request.sample))
    )
    plan = planning.Plan(f"verify: {plural(len(sample), 'symbol')}, {asked.first} to {asked.last}", [], {})
    plan.calls = len(sample)
    plan.rows = sum(expected.bars(symbol, days.first, days.last) for symbol, days in sample)
    if priced := context.priced(plan, changes=False):
        return priced
    if not sample:
        raise Problem(
            f"There is nothing to verify: the ledger has no symbol with rows from {asked.first} to {asked.last}."
            " Load some with backfill_mode=history, or choose other days."
        )
    settled = context.today - timedelta(days=SETTLE_DAYS)
    mismatches: list[Mismatch] = []
    unanswered: dict[str, str] = {}
    rows = calls = 0
    names = [symbol for symbol, _ in sample]
    marks = context.database.run(lambda cursor: basis.marked(cursor, names))
    adjustment = Adjustment()
    for symbol, days in sample:
        answer, parsed = context.client.get(
            f"eod/{symbol}", partial(parser.history, symbol=symbol, asked=days), eod_query(days), anew=True
        )
        context.client.stored(answer)  # nothing is stored of it
        calls += answer.calls
        if parsed is None:
            unanswered[symbol] = f"{answer.outcome} ({answer.message})"
            continue
        stored = _stored(context, symbol, days)
        rows += len(stored)
        sent = dict(map(_values, parsed.lines))
        # What is marked as left on an old basis is no mismatch.
        old = [mark for mark in marks if mark.symbol == symbol]
        ours = {
            day: row for day, row in stored.items() if day in sent or not any(mark.has(day) for mark in old)
        }
        mismatches += compare(symbol, ours, sent, settled)
        later = Range(days.first, context.today)
        adjustment.add(symbol, known.read(context.database, symbol, later, context.chunks), sent)
    remarks = [*adjustment.lines(), *(mark.text for mark in marks)]
    text = _text(asked, len(sample), rows, calls, mismatches, unanswered, remarks, adjustment.note)
    result = {
        "changed": False,
        "plan": plan.facts(),
        "report": text,
        "mismatches": [asdict(mismatch) for mismatch in mismatches],
        "not_loaded": [{"symbol": name, "message": message} for name, message in unanswered.items()],
        "adjusted": [asdict(found) for found in adjustment.differences],
        "notes": [adjustment.note] if adjustment.note else [],
    }
    if mismatches:
        raise Problem(
            f"{len(mismatches):,} stored values are not the provider's, the first at {mismatches[0].symbol}"
            f" {mismatches[0].day}. Load them again with backfill_mode=history and -e backfill_force=true.",
            **result,
        )
    if unanswered or not rows:
        raise Problem(
            f"{len(unanswered) or len(sample)} symbols of the sample could not be compared; see the report.",
            **result,
        )
    return result


@dataclass
class Adjustment:
    """The adjusted close of the sample, computed from closes and actions and held against the provider's."""

    days: int = 0
    unknown: int = 0
    differences: list[Difference] = field(default_factory=list)

    def add(self, symbol: str, of_symbol: known.Known | None, sent: Mapping[str, Row]) -> None:
        """Compare one symbol; ``of_symbol`` is None if nobody has asked for its actions."""
        if of_symbol is None:
            self.unknown += 1
            return
        computed = adjusted(of_symbol.closes, of_symbol.actions)
        provider = {date.fromisoformat(day): row["adjusted_close"] for day, row in sent.items()}
        self.days += len(computed.keys() & provider.keys())
        found = difference(symbol, computed, provider)
        if found:
            self.differences.append(found)

    @property
    def note(self) -> str:
        """Warn of differences. They are no failure: EODHD also adjusts for spin-offs, which no list of it has."""
        if not self.differences:
            return ""
        return (
            f"The adjusted close of {plural(len(self.differences), 'symbol')} does not follow from the known splits and"
            " dividends. Ask for them again with backfill_mode=actions and -e backfill_force=true; what then still"
            " differs may be a spin-off, or closes that EODHD rounded."
        )

    def lines(self) -> list[str]:
        """Return what people read of it."""
        lines = []
        if self.days:
            agree = self.days - sum(found.days for found in self.differences)
            lines.append(
                f"adjusted close from splits and dividends: {agree:,} of {plural(self.days, 'day')} agree to 4 decimals"
            )
        lines += [
            f"{found.symbol}: differs on {plural(found.days, 'day')}, from {found.first_day} to {found.last_day}"
            for found in self.differences
        ]
        if self.unknown:
            lines.append(f"actions are not known of {plural(self.unknown, 'symbol')}: backfill_mode=actions")
        return lines


def _sample(cursor: Any, asked: Range, size: int) -> list[tuple[str, Range]]:
    if not there(cursor, "backfill_coverage"):
        return []
    cursor.execute(
        "SELECT symbol, greatest(first_day, %(first)s), least(last_day, %(last)s) FROM backfill_coverage"
        " WHERE rows > 0 AND first_day <= %(last)s AND last_day >= %(first)s AND symbol LIKE '%%.%%'"
        " AND symbol NOT LIKE '%% %%'"
        " ORDER BY random() LIMIT %(size)s",
        {"first": asked.first, "last": asked.last, "size": size},
    )
    return [(symbol, Range(first, last)) for symbol, first, last in cursor.fetchall()]


def _stored(context: Context, symbol: str, days: Range) -> dict[str, Row]:
    found = stored.read(context.database, symbol, days, list(FIGURES), context.chunks)
    return {day.isoformat(): dict(zip(FIGURES, values)) for day, values in found.items()}


def _values(line: str) -> tuple[str, Row]:
    day, _symbol, *values = line.rstrip("\n").split("\t")
    return day, dict(zip(FIGURES, map(Decimal, values)))


def _text(
    asked: Range,
    symbols: int,
    rows: int,
    calls: int,
    mismatches: Sequence[Mismatch],
    unanswered: Mapping[str, str],
    remarks: Sequence[str],
    warning: str,
) -> str:
    lines = [
        f"🔎 VERIFYING {plural(symbols, 'symbol')} ({asked.first} to {asked.last})",
        f"   compared: {plural(rows, 'row')}, {plural(calls, 'call')}",
    ]
    lines += [f"   {remark}" for remark in remarks]
    lines += [f"   {symbol}: {why}" for symbol, why in unanswered.items()]
    lines += [
        f"   {found.symbol} {found.day} {found.field}: stored {found.stored}, provider {found.provider}"
        for found in mismatches[:50]
    ]
    if len(mismatches) > 50:
        lines.append(f"   and {len(mismatches) - 50:,} more")
    verdict = "❌ NOT VERIFIED"
    if not mismatches and not unanswered and rows:
        verdict = f"⚠️  NOT EXPLAINED: {warning}" if warning else "🎉 SUCCESS: Every value is the provider's"
    return "\n".join([*lines, "", verdict])
