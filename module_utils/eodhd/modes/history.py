"""Mode ``history``: the bars of a list of symbols, or of the most traded ones of an exchange."""

from __future__ import annotations

import time
from decimal import Decimal
from functools import partial
from typing import Any

from ansible.module_utils.coverage import expected
from ansible.module_utils.database.tables import FIGURES, NAMED, PRICES
from ansible.module_utils.eodhd import planning
from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.model import normalise
from ansible.module_utils.eodhd.pipeline import execute
from ansible.module_utils.eodhd.report import Totals, Verification, conclude
from ansible.module_utils.eodhd.store import store
from ansible.module_utils.eodhd.store.parser import Parsed, Parser
from ansible.module_utils.eodhd.store.stored import count_stored, other_times
from ansible.module_utils.markets import names
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# A ranking costs a hundred calls and changes slowly.
RANKING_DAYS = 7


def run(context: Context) -> dict[str, Any]:
    """Plan the calls and, unless in check mode, load the bars.

    Raises:
        Problem: a symbol was not loaded and its outcome is not accepted; all others were loaded first.
    """
    request = context.request
    asked = planning.asked_range(request.days, request.first, request.last, context.today)
    span = f"{request.days} days" if request.first is None else f"{asked.first} to {asked.last}"
    context.look()
    asked = context.retained_days(asked)
    context.notes += [
        f"market_data.{name} is {found.name}, so rows with more digits are kept in backfill_set_aside. To load them,"
        " set database_widen: true and run `ansible-playbook playbooks/reset.yml --tags database`."
        for name, found in context.parser.widths.items()
        if name in PRICES and found.name != "numeric"
    ]
    symbols, ranking_calls = _symbols(context)
    title = f"history: {plural(len(symbols) or request.top or 0, 'symbol')}, {asked.first} to {asked.last}"
    plan = _plan(context, symbols, asked, title)
    if ranking_calls:
        plan.extra_calls = ranking_calls + (request.top or 0)
        plan.rows = (request.top or 0) * expected.bars(request.exchanges[0], asked.first, asked.last)
    if priced := context.priced(plan):
        return priced
    if ranking_calls:
        context.ledger.create()
        symbols, ranking_calls = _rank(context)
        plan = _plan(context, symbols, asked, title)
        plan.extra_calls = ranking_calls

    before = context.counts()
    done = load(context, plan)
    done.calls += ranking_calls
    if request.delisted:
        # The provider has no bars of most names delisted before about 2014, so these do not fail the run.
        for symbol in _delisted(context):
            done.count_as_loaded(symbol, ("empty", "unknown"))
    after = context.counts()
    was, now = before["market_data"], after["market_data"]
    # If the table grew by exactly the inserted rows, none are missing. Otherwise others wrote to it, so check.
    undisturbed = was is not None and now is not None and now - was == done.inserted
    lacking = [] if undisturbed else _lacking(context, done.run)
    found = Verification(before, after, lacking, *context.remarks(done.run, symbols))
    only = symbols[0] if len(symbols) == 1 else ""
    return conclude(context, plan, done, f"{only or f'{len(symbols):,} symbols'} ({span})", found, only)


def load(context: Context, plan: planning.Plan) -> Totals:
    """Run a plan of symbol histories."""
    return execute(
        context,
        plan,
        lambda task: fetch(context, task.symbol, task.range),
        partial(store.write, chunks=context.chunks),
        context.retained_entries,
    )


def fetch(context: Context, symbol: str, days: Range, keep: bool = True) -> tuple[Answer, Parsed | None]:
    """Request a symbol's bars; ``keep`` the answer until it is stored."""
    return context.client.get(
        f"eod/{symbol}",
        partial(context.parser.history, symbol=symbol, asked=days),
        {"from": days.first, "to": days.last, "period": "d", "order": "a"},
        keep=keep,
    )


def _symbols(context: Context) -> tuple[list[str], int]:
    """Return the symbols, and the cost of the ranking; no symbols if they still have to be ranked."""
    request = context.request
    if request.top is None:
        symbols = normalise(request.symbols, request.exchanges[0])
        return list(dict.fromkeys(symbols + (_delisted(context) if request.delisted else []))), 0
    if request.top < 1:
        raise Problem(f"backfill_top is {request.top}; it must be at least 1.")
    known = None if context.absent else context.ledger.ranking(request.exchanges[0], RANKING_DAYS)
    return (known[: request.top], 0) if known and not request.force else ([], planning.BULK_CALLS)


def _delisted(context: Context) -> list[str]:
    """Return the delisted symbols of the exchange, as mode ``register`` loaded them."""
    exchange = context.request.exchanges[0]
    found = [] if context.absent else context.ledger.delisted(names.suffix_of(exchange))
    if not found:
        raise Problem(
            f"The ledger has no delisted symbols of {exchange}. First load the list with backfill_mode=register and"
            f" backfill_exchange={exchange}, which costs 2 calls."
        )
    return found


def _rank(context: Context) -> tuple[list[str], int]:
    """Return the symbols of the exchange by turnover, and what that cost; store the ranking in the ledger.

    Raises:
        Stop: the account's plan does not include this.
        Problem: there was no usable answer.
    """
    exchange, top = context.request.exchanges[0], context.request.top
    claim, waited = f"ranking {exchange}", False
    while not context.claims.claim([claim]):  # another run is ranking
        time.sleep(0.25)
        waited = True
    try:
        if waited or not context.request.force:
            known = context.ledger.ranking(exchange, RANKING_DAYS)
            if known:
                return known[:top], 0
        answer, ranked = context.client.get(
            f"eod-bulk-last-day/{exchange}",
            lambda body: ranking(Parser({}).bulk(body, exchange)),
            cost=planning.BULK_CALLS,
        )
        if answer.outcome is not None or not ranked:
            raise Problem(
                f"The most traded symbols of {exchange} could not be found: {answer.message or 'an empty answer'}."
                " Check backfill_exchange, or list the symbols in backfill_symbols."
            )
        context.ledger.keep_ranking(exchange, ranked, context.now)
        context.client.stored([answer])
        return list(ranked[:top]), planning.BULK_CALLS
    finally:
        context.claims.release([claim])


def ranking(parsed: Parsed) -> list[str]:
    """Return the symbols of a bulk answer by turnover (close × volume), largest first."""
    turnover = {}
    for line in parsed.lines:
        _day, symbol, *values = line.rstrip("\n").split("\t")
        bar = dict(zip(FIGURES, map(Decimal, values)))
        turnover[symbol] = bar["close"] * bar["volume"]
    return sorted(turnover, key=lambda symbol: (-turnover[symbol], symbol))


def _plan(context: Context, symbols: list[str], asked: Range, title: str) -> planning.Plan:
    """Return the plan; note bars of other programs under a name without suffix.

    Raises:
        Problem: days would be stored twice.
    """
    known = context.retained_entries(symbols)
    wanted = [(symbol, known[symbol].range if symbol in known else asked, asked) for symbol in symbols]
    # In a long list, the health check finds them.
    short = [symbol.removesuffix(f".{names.DEFAULT}") for symbol in symbols] if len(symbols) <= NAMED else []
    wanted += [(name, asked, asked) for name in short if "." not in name]
    stored = {} if context.absent else count_stored(context.database, wanted, context.chunks)
    bare = sorted(stored.keys() - set(symbols))
    if bare:
        context.notes.append(
            f"market_data also has bars of {', '.join(bare)}, without a suffix. The backfill uses only names with a"
            " suffix. Delete the other bars, or the same days are stored under two names."
        )
    others = [
        symbol
        for symbol, (_, rows) in stored.items()
        if symbol not in bare and rows > (known[symbol].rows if symbol in known else 0)
    ]
    askew = other_times(context.database, others, asked, context.chunks) if others else {}
    if askew:
        symbol, moment = next(iter(askew.items()))
        raise Problem(
            f"market_data has daily bars of {plural(len(askew), 'symbol')} at other times than midnight UTC, such as"
            f" {symbol} at {moment}. The backfill uses midnight UTC, so it would store these days twice. No call was"
            " made. Set the time of these bars to midnight UTC of their day, or delete them."
        )
    return planning.of_history(symbols, asked, title, known, stored, context.rules)


def _lacking(context: Context, run: int) -> list[str]:
    """Return the symbols with fewer rows in the table than this run received; the plan has counted all others."""
    # A symbol's widest answer comes last, and counts.
    found = context.database.execute(
        "SELECT symbol, first_day, last_day, rows FROM backfill_outcome WHERE run = %s AND rows > 0"
        " ORDER BY first_day DESC",
        (run,),
    )
    got = {symbol: (Range(first, last), rows) for symbol, first, last, rows in found}
    stored = count_stored(
        context.database, [(name, days, days) for name, (days, _) in got.items()], context.chunks
    )
    return [name for name, (_, rows) in got.items() if stored.get(name, (0, 0))[0] < rows]
