"""The adjusted close as documented: closes, splits and dividends in, the provider's column out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

# Half of the last of four decimals.
TOLERANCE = Decimal("0.00005")


@dataclass(frozen=True)
class Actions:
    """What is known of a symbol.

    Attributes:
        splits: new shares for an old one, by the day from which they count.
        dividends: an old share's worth of money, by ex-day.
    """

    splits: Mapping[date, Decimal]
    dividends: Mapping[date, Decimal]


@dataclass(frozen=True)
class Difference:
    """Where the recomputed adjusted close of a symbol is not the provider's to four decimals."""

    symbol: str
    first_day: str
    last_day: str
    days: int


def adjusted(closes: Mapping[date, Decimal], actions: Actions) -> dict[date, Decimal]:
    """Return the adjusted close of each day.

    A bar before a split is divided by its ratio; one before an ex-day is multiplied by (close − dividend) ÷ close of
    the last day before it.

    Args:
        closes: as traded, by day.
        actions: of the days after the first close, all of them.
    """
    left = sorted({*actions.splits, *actions.dividends})
    factor = Decimal(1)
    found = {}
    for day in sorted(closes, reverse=True):
        while left and left[-1] > day:
            effective = left.pop()
            ratio = actions.splits.get(effective, Decimal(1))
            price = closes[day] / ratio  # of a share as it is on the ex-day
            factor /= ratio
            if price:
                factor *= (price - actions.dividends.get(effective, Decimal(0))) / price
        found[day] = closes[day] * factor
    return found


def difference(
    symbol: str, computed: Mapping[date, Decimal], provider: Mapping[date, Decimal]
) -> Difference | None:
    """Return the days of both on which the two differ in the fourth decimal; None if there are none."""
    days = [
        day
        for day in sorted(computed.keys() & provider.keys())
        if abs(computed[day] - provider[day]) > TOLERANCE
    ]
    return Difference(symbol, days[0].isoformat(), days[-1].isoformat(), len(days)) if days else None
