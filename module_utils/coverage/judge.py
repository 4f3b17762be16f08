"""Decide which bars each symbol lacks. The numbers are passed in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from ansible.module_utils.coverage.expected import Markets
from ansible.module_utils.coverage.survey import Survey


class Lack(NamedTuple):
    """The bars that a symbol lacks.

    Attributes:
        last: its last day with a bar.
        missing: the number of sessions without a bar between its first and its last bar.
        behind: if active, the number of sessions that are due after its last bar, or in the window if it has none.
        charted: whether its market has a calendar; without one, nothing counts as missing.
    """

    symbol: str
    last: date | None
    missing: int
    behind: int
    charted: bool = True


def lacks(survey: Survey, markets: Markets) -> Iterator[Lack]:
    """Yield what each symbol lacks, including symbols without a bar."""
    older = survey.older or {}
    for symbol in survey.spans.keys() | survey.kinds.keys():
        market, span = markets.of(symbol), survey.spans.get(symbol)
        last = span.last if span else older.get(symbol)
        if market is None:
            yield Lack(symbol, last, 0, 0, charted=False)
            continue
        missing = market.between(span.first, span.last) - span.held if span else 0
        if symbol in survey.inactive:
            yield Lack(symbol, last, missing, 0)
            continue
        due = markets.due(symbol, survey.kinds.get(symbol))
        after = last + timedelta(days=1) if last else survey.since
        yield Lack(symbol, last, missing, market.between(after, due))
