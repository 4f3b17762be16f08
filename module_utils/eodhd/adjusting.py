"""Computes adjusted closes from closes, splits and dividends, as the provider documents it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

# Half a unit in the fourth decimal.
TOLERANCE = Decimal("0.00005")


@dataclass(frozen=True)
class Actions:
    """A symbol's splits and dividends.

    Attributes:
        splits: new shares per old share, by effective day.
        dividends: amount per share held on the ex-day, by ex-day.
    """

    splits: Mapping[date, Decimal]
    dividends: Mapping[date, Decimal]


@dataclass(frozen=True)
class Difference:
    """The days on which a symbol's computed adjusted close differs from the provider's within four decimals."""

    symbol: str
    first_day: str
    last_day: str
    days: int


def adjusted(closes: Mapping[date, Decimal], actions: Actions) -> dict[date, Decimal]:
    """Return the adjusted close of each day.

    A split divides the closes before it by its ratio. A dividend multiplies the closes before it by
    (close − dividend) ÷ close, with the last close before the ex-day.

    Args:
        closes: as traded, by day.
        actions: all those after the first close.
    """
    remaining = sorted({*actions.splits, *actions.dividends})
    factor = Decimal(1)
    found = {}
    for day in sorted(closes, reverse=True):
        while remaining and remaining[-1] > day:
            effective = remaining.pop()
            ratio = actions.splits.get(effective, Decimal(1))
            price = closes[day] / ratio  # per share as it is on the ex-day
            factor /= ratio
            if price:
                factor *= (price - actions.dividends.get(effective, Decimal(0))) / price
        found[day] = closes[day] * factor
    return found


def difference(
    symbol: str, computed: Mapping[date, Decimal], provider: Mapping[date, Decimal]
) -> Difference | None:
    """Return the common days on which the two differ by more than the tolerance; None if there are none."""
    days = [
        day
        for day in sorted(computed.keys() & provider.keys())
        if abs(computed[day] - provider[day]) > TOLERANCE
    ]
    return Difference(symbol, days[0].isoformat(), days[-1].isoformat(), len(days)) if days else None
