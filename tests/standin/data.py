"""The stand-in's market: bars that depend on symbol and date alone, as text, in integer arithmetic."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

FIRST_DAY = date(1998, 1, 2)
HOLIDAYS = {(1, 1), (7, 4), (12, 25)}
NAMED = ["AAPL", "MSFT", "TSLA", "VTI", "BRK-B", "AT&T"]
CRYPTO = ["BTC-USD", "ETH-USD"]
FOREX = ["EURUSD", "GBPUSD"]
# Symbols share so many price series: enough to tell rows apart, few enough to hold in memory.
VARIANTS = 64
FIELDS = ("open", "high", "low", "close", "adjusted_close", "volume")
ROW = (
    '{{"date":"{date}","open":{open},"high":{high},"low":{low},"close":{close},'
    '"adjusted_close":{adjusted_close},"volume":{volume}}}'
)


@dataclass(frozen=True)
class Split:
    """From ``day`` on a share is ``ratio`` shares: earlier adjusted prices shrink, earlier volumes grow."""

    day: date
    ratio: int


@dataclass
class Market:
    """What the provider knows; tests change it to see the past restated.

    Attributes:
        universe: number of SYM… symbols on the exchange US, besides the named ones.
        today: the last day with bars.
        splits: by symbol.
        rows: raw JSON of single rows, by symbol and date; "" takes the row away.
        extra: raw JSON of rows appended to every answer, by symbol.
    """

    universe: int = 50
    today: date = field(default_factory=date.today)
    splits: dict[str, Split] = field(default_factory=dict)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    extra: dict[str, list[str]] = field(default_factory=dict)

    def knows(self, symbol: str) -> bool:
        """Whether the provider has this symbol."""
        code, _dot, exchange = symbol.partition(".")
        if exchange == "US":
            return code in NAMED or (code[:3] == "SYM" and code[3:].isdigit())
        return code in {"CC": CRYPTO, "FOREX": FOREX}.get(exchange, [])

    def codes(self, exchange: str) -> list[str]:
        """Return the codes of an exchange; empty where there is no such exchange."""
        if exchange == "US":
            return NAMED + [f"SYM{number:05d}" for number in range(self.universe)]
        return {"CC": CRYPTO, "FOREX": FOREX}.get(exchange, [])

    def bars(self, symbol: str, first: date, last: date) -> str:
        """Return the JSON rows of ``symbol`` in [first, last], joined by commas."""
        last = min(last, self.today)
        special = symbol in self.splits or symbol in self.rows or symbol in self.extra
        if not special:
            return plain_bars(variant(symbol), kind(symbol), first, last)
        rows = [self._row(symbol, day) for day in sessions(kind(symbol), first, last)]
        return ",".join([row for row in rows if row] + self.extra.get(symbol, []))

    def _row(self, symbol: str, day: date) -> str:
        given = self.rows.get(symbol, {}).get(day.isoformat())
        return given if given is not None else ROW.format(**self.bar(symbol, day))

    def bar(self, symbol: str, day: date) -> dict[str, str]:
        """Return the fields of one bar as text."""
        values = bar(variant(symbol), kind(symbol), day)
        split = self.splits.get(symbol)
        if split and day < split.day:
            adjusted = scaled(values["adjusted_close"]) // split.ratio
            values["adjusted_close"] = decimal(adjusted, 4)
            values["volume"] = str(int(values["volume"]) * split.ratio)
        return values

    def bulk(self, exchange: str, day: date) -> str:
        """Return the JSON rows of every symbol of an exchange on ``day``, joined by commas."""
        rows = []
        for code in self.codes(exchange):
            given = self.rows.get(f"{code}.{exchange}", {}).get(day.isoformat())
            text = given if given is not None else ROW.format(**self.bar(f"{code}.{exchange}", day))
            if text:
                rows.append(f'{{"code":{json.dumps(code)},"exchange_short_name":"{exchange}",{text[1:]}')
        return ",".join(rows)

    def listing(self, exchange: str, delisted: bool) -> list[dict[str, Any]]:
        """Return the rows of the symbol list; the delisted ones are others than the active ones."""
        kinds = {"CC": "Currency", "FOREX": "Currency"}
        codes = ["GONE", "SYM90001_old"] if delisted else self.codes(exchange)
        return [
            {
                "Code": code,
                "Name": f"{code} Incorporated",
                "Country": "USA",
                "Exchange": "NASDAQ",
                "Currency": "USD",
                "Type": "ETF" if code == "VTI" else kinds.get(exchange, "Common Stock"),
                "Isin": None,
            }
            for code in codes
        ]


def variant(symbol: str) -> int:
    """Return which price series a symbol has."""
    return zlib.crc32(symbol.encode()) % VARIANTS


def kind(symbol: str) -> str:
    """Return ``US``, ``CC`` or ``FOREX``: the calendar and the digits that a symbol has."""
    return symbol.rpartition(".")[2]


def sessions(exchange: str, first: date, last: date) -> Iterator[date]:
    """Yield the days with a bar: crypto all, FOREX without Saturdays, others weekdays but holidays."""
    day = max(first, FIRST_DAY)
    while day <= last:
        closed = {"CC": False, "FOREX": day.weekday() == 5}.get(
            exchange, day.weekday() > 4 or (day.month, day.day) in HOLIDAYS
        )
        if not closed:
            yield day
        day += timedelta(days=1)


def bar(series: int, exchange: str, day: date) -> dict[str, str]:
    """Return one bar of a series; pure in its arguments."""
    noise = zlib.crc32(f"{series} {day.toordinal()}".encode())
    digits = {"CC": 8, "FOREX": 6}.get(exchange, 4)
    unit = 10**digits
    base = (20 + series * 3) * unit + (day.toordinal() % 997) * unit // 31 + noise % unit
    volume = {"CC": 5_000_000_000 + noise, "FOREX": 0}.get(exchange, 100_000 + noise % 90_000_000)
    return {
        "date": day.isoformat(),
        "open": decimal(base, digits),
        "high": decimal(base + unit // 2 + noise % 977, digits),
        "low": decimal(base - unit // 3 - noise % 331, digits),
        "close": decimal(base + noise % (unit // 4), digits),
        "adjusted_close": decimal((base + noise % (unit // 4)) * 9 // 10, digits),
        "volume": str(volume),
    }


def decimal(units: int, digits: int) -> str:
    """Return ``units`` of 10**-digits as text, without trailing zeros as the provider sends it."""
    whole, fraction = divmod(units, 10**digits)
    return f"{whole}.{fraction:0{digits}d}".rstrip("0").rstrip(".")


def scaled(text: str) -> int:
    """Return a decimal text in units of 10**-4."""
    whole, _dot, fraction = text.partition(".")
    return int(whole) * 10**4 + int(fraction[:4].ljust(4, "0"))


@lru_cache(maxsize=512)
def plain_bars(series: int, exchange: str, first: date, last: date) -> str:
    """Return the rows of a series that nobody tampered with; kept, so that serving costs nothing."""
    return ",".join(ROW.format(**bar(series, exchange, day)) for day in sessions(exchange, first, last))
