"""Computes adjusted closes from closes, splits and dividends, as the provider documents it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

# Half a unit in the fourth decimal.
TOLERANCE = Decimal("0.00005")


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
