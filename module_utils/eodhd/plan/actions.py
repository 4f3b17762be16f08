"""Plans the calls for splits and dividends, by symbol or by session. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

from ansible.module_utils.eodhd.days import Range, one_day
from ansible.module_utils.eodhd.model import ANSWERED, SymbolEntry, Task
from ansible.module_utils.eodhd.plan import daily
from ansible.module_utils.eodhd.plan.plan import BULK_CALLS, Plan, Rules
from ansible.module_utils.markets import calendar, names, publishing

# A symbol's full history costs as much as one day of it.
FIRST = date(1962, 1, 1)
# Currency markets have no splits and no dividends.
WITHOUT_ACTIONS = ("CC", "FOREX")


def by_symbol(kinds: Iterable[str], symbols: Sequence[str], last: date) -> list[Task]:
    """Return a call for each symbol and kind, for the full history."""
    return [Task(f"{kind} {symbol}", Range(FIRST, last)) for symbol in symbols for kind in kinds]


def by_session(kinds: Iterable[str], exchanges: Sequence[str], asked: Range, now: datetime) -> list[Task]:
    """Return a bulk call for each due session and kind; without a calendar, every day counts as a session."""
    tasks = []
    for exchange in (each for each in exchanges if each not in WITHOUT_ACTIONS):
        market = calendar.of_market(names.suffix_of(exchange))
        if market:
            due = publishing.due(exchange, now)
            days = [day for day in market.sessions(asked.first, asked.last) if due and day <= due]
        else:
            days = [asked.first + timedelta(days=number) for number in range(asked.days)]
        tasks += [
            Task(f"{kind} {exchange} {day}", one_day(day), calls=BULK_CALLS) for day in days for kind in kinds
        ]
    return tasks


def unanswered(tasks: Iterable[Task], known: Mapping[str, SymbolEntry], rules: Rules) -> list[Task]:
    """Return the tasks without a valid answer in the ledger."""
    return [task for task in tasks if not _answered(task, known.get(task.symbol), rules)]


def plan_of(title: str, tasks: Sequence[Task], known: Mapping[str, SymbolEntry], rules: Rules) -> Plan:
    """Return the plan for the tasks without a valid answer in the ledger."""
    needed = unanswered(tasks, known, rules)
    asked = {task.symbol for task in needed}
    return Plan(
        title,
        needed,
        known,
        {task.symbol: known[task.symbol] for task in tasks if task.symbol not in asked},
        rows=sum(known[name].rows for name in asked if name in known),
    )


def _answered(task: Task, known: SymbolEntry | None, rules: Rules) -> bool:
    if known is None or known.outcome not in ANSWERED or not known.range.covers(task.range):
        return False
    if task.calls < BULK_CALLS:
        return rules.fresh(known)
    exchange = task.symbol.split(" ")[1]
    return not rules.forced(known) and not daily.unsettled(
        exchange, task.range.last, known.fetched, rules.now
    )
