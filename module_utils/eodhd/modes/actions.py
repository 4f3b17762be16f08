"""Mode ``actions``: splits and dividends, by symbol or by session of whole exchanges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ansible.module_utils.eodhd import planning
from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.ledger import SUFFIX
from ansible.module_utils.eodhd.model import Task, normalise
from ansible.module_utils.eodhd.pipeline import execute, in_one_transaction
from ansible.module_utils.eodhd.report import Verification, conclude
from ansible.module_utils.eodhd.store import actions
from ansible.module_utils.eodhd.store.parser import Parsed, symbol_of
from ansible.module_utils.markets import names
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

TABLES = tuple(kind.table for kind in actions.KINDS.values())


def run(context: Context) -> dict[str, Any]:
    """Load the actions of symbols, or of all symbols of the exchanges if no symbols are given.

    Raises:
        Problem: an outcome is not accepted; all others were loaded first.
    """
    request = context.request
    context.look()
    asked = planning.asked_range(request.days, request.first, request.last, context.today)
    plan = _plan(context, asked)
    if priced := context.priced(plan):
        return priced
    context.ledger.create()  # creates the tables of actions, too
    before = context.counts(TABLES)
    done = execute(context, plan, partial(_fetch, context), in_one_transaction(actions.write))
    return conclude(context, plan, done, plan.title, Verification(before, context.counts(TABLES)))


def _plan(context: Context, asked: Range) -> planning.Plan:
    """Return the cheaper plan; without given or registered symbols, the one by session."""
    request = context.request
    exchanges = list(dict.fromkeys(request.exchanges))
    title = f"actions: {', '.join(exchanges)}"
    if request.symbols:
        symbols = normalise(request.symbols, exchanges[0])
        exchanges = sorted({symbol.rpartition(".")[2] for symbol in symbols})
        title = f"actions: {plural(len(symbols), 'symbol')}"
    else:
        symbols = [] if context.absent else context.database.run(partial(_registered, exchanges=exchanges))
    by_symbol, by_session = (
        planning.of_tasks(title, tasks, context.known([task.symbol for task in tasks]), context.rules)
        for tasks in (
            planning.by_symbol(actions.KINDS, symbols, asked.last),
            planning.by_session(actions.KINDS, exchanges, asked, context.rules.now),
        )
    )
    # By symbol at the same cost, because that loads the full history.
    plan = by_symbol if symbols and by_symbol.calls <= by_session.calls else by_session
    if not (plan.tasks or plan.fresh) and not set(exchanges) <= set(planning.WITHOUT_ACTIONS):
        raise Problem(
            f"No session in {', '.join(exchanges)} from {asked.first} to {asked.last} is due, and there are no symbols."
            " Check backfill_symbols, backfill_exchange and the dates."
        )
    if symbols:
        plan.remarks.append(f"   by symbol: {by_symbol.calls:,} calls; by session: {by_session.calls:,}")
    return plan


def _registered(cursor: Any, exchanges: Sequence[str]) -> list[str]:
    cursor.execute(
        f"SELECT symbol FROM assets WHERE is_active IS NOT FALSE AND {SUFFIX} = ANY (%s) ORDER BY symbol",  # noqa: S608 - a constant
        ([names.suffix_of(exchange) for exchange in exchanges],),
    )
    return [row[0] for row in cursor.fetchall()]


def _fetch(context: Context, task: Task) -> tuple[Answer, Parsed | None]:
    kind, subject, day = actions.split_name(task.symbol)
    if day:
        answer, parsed = context.client.get(
            f"eod-bulk-last-day/{subject}",
            lambda body: actions.parse(body, kind, lambda row: symbol_of(row, subject)),
            {"type": kind.name, "date": day},
            task.calls,
        )
    else:
        answer, parsed = context.client.get(
            f"{kind.path}/{subject}",
            lambda body: actions.parse(body, kind, lambda row: subject),
            {"from": task.range.first, "to": task.range.last},
        )
    # Most symbols and some days have no actions. The service may have no file for such a day.
    nothing = parsed is not None and not parsed.lines and len(parsed.aside) == parsed.untraded
    if (nothing and not (parsed and parsed.truncated)) or (day and answer.outcome == "unknown"):
        return replace(answer, outcome="loaded", message=""), parsed
    return answer, parsed
