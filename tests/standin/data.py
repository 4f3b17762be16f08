"""The stand-in's market: bars that depend on symbol and date alone, as text, in integer arithmetic."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import ansible.module_utils

# In a process of its own nobody has done this yet.
_OURS = str(Path(__file__).resolve().parents[2] / "module_utils")
if _OURS not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(_OURS)

from ansible.module_utils.eodhd.days import midnight
from ansible.module_utils.markets import calendar

# From then on a session does not change any more, counted from when it was due.
SETTLED = timedelta(hours=20)
FIRST_DAY = date(1998, 1, 2)
HOLIDAYS = {(1, 1), (7, 4), (12, 25)}
NAMED = ["AAPL", "MSFT", "TSLA", "VTI", "BRK-B", "AT&T"]
CRYPTO = ["BTC-USD", "ETH-USD"]
FOREX = ["EURUSD", "GBPUSD"]
# Symbols share so many price series: enough to tell rows apart, few enough to hold in memory.
VARIANTS = 64
FIELDS = ("open", "high", "low", "close", "adjusted_close", "volume")
ROW = '{{"date":"{date}",' + ",".join(f'"{name}":{{{name}}}' for name in FIELDS) + "}}"


@dataclass(frozen=True)
class Split:
    """From ``day`` on a share is ``ratio`` shares: earlier adjusted prices shrink, earlier volumes grow."""

    day: date
    ratio: int


@dataclass(frozen=True)
class Rename:
    """From ``day`` on the symbol ``old`` is called ``new``, its whole history too."""

    old: str
    new: str
    day: date


@dataclass
class Market:
    """What the provider knows; tests change it to see the past restated.

    With ``now`` it lives: a session is published when it is due, a first version has provisional volumes and lacks
    rows, and what happens on a day is known from that day on.

    Attributes:
        universe: number of SYM… symbols on the exchange US, besides the named ones.
        today: the last day with bars, without ``now``.
        now: the moment at which the provider is asked.
        splits: by symbol.
        renames: in order.
        delisted: the last day of a symbol.
        late: hours that a session comes late, by exchange and day as ``US 2026-11-25``.
        dividends: by symbol and day; the adjusted close of these symbols follows from splits and dividends.
        junk: symbols that have a split of 0.000000/1.000000.
        odd: whether bulk answers have rows with fractions of a share, and rows without any price.
        rows: raw JSON of single rows, by symbol and date; "" takes the row away.
        extra: raw JSON of rows appended to every answer, by symbol.
    """

    universe: int = 50
    today: date = field(default_factory=date.today)
    now: datetime | None = None
    splits: dict[str, Split] = field(default_factory=dict)
    renames: list[Rename] = field(default_factory=list)
    delisted: dict[str, date] = field(default_factory=dict)
    late: dict[str, float] = field(default_factory=dict)
    odd: bool = False
    dividends: dict[str, dict[str, str]] = field(default_factory=dict)
    junk: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, str]] = field(default_factory=dict)
    extra: dict[str, list[str]] = field(default_factory=dict)

    def knows(self, symbol: str) -> bool:
        """Whether the provider has this symbol."""
        code, _dot, exchange = symbol.partition(".")
        if any(self._over(symbol, rename.day) for rename in self.renames if rename.old == symbol):
            return False
        if any(self._over(symbol, rename.day) for rename in self.renames if rename.new == symbol):
            return True
        if exchange == "US":
            return code in NAMED or (code[:3] == "SYM" and code[3:].isdigit())
        return code in self.codes(exchange)

    def _over(self, symbol: str, day: date) -> bool:
        """Whether what happens on a day has happened."""
        return self.now is None or self.published(kind(symbol), day)

    def published(self, exchange: str, day: date) -> bool:
        """Whether the provider has a session by now."""
        if self.now is None:
            return day <= self.today
        due = calendar.due_at(exchange, day) or midnight(day) + timedelta(days=1)
        return due + timedelta(hours=self.late.get(f"{exchange} {day}", 0)) <= self.now

    def settled(self, exchange: str, day: date) -> bool:
        """Whether a session has its last version."""
        due = calendar.due_at(exchange, day)
        return self.now is None or due is None or due + SETTLED <= self.now

    def codes(self, exchange: str) -> list[str]:
        """Return the codes of an exchange or a list of the United States; empty if there is none of that name."""
        codes = {
            "US": NAMED + [f"SYM{number:05d}" for number in range(self.universe)],
            "NYSE": NAMED[::2],
            "NASDAQ": NAMED[1::2],
            "AU": [f"AU{number:02d}" for number in range(12)],
            "LSE": [f"LN{number:02d}" for number in range(12)],
            "VN": [f"VN{number:02d}" for number in range(12)],
            "CC": CRYPTO,
            "FOREX": FOREX,
        }.get(exchange, [])
        renamed = {rename.old: rename.new for rename in self.renames if self._over(rename.old, rename.day)}
        names = [f"{code}.{suffix(exchange)}" for code in codes]
        return [renamed.get(name, name).rpartition(".")[0] for name in names]

    def bars(self, symbol: str, first: date, last: date) -> str:
        """Return the JSON rows of ``symbol`` in [first, last], joined by commas."""
        special = self.now or self.delisted or self.renames or symbol in self.dividends
        if not special and symbol not in self.rows and symbol not in self.extra:
            split = self.splits.get(symbol)
            return plain_bars(variant(symbol), kind(symbol), split, first, min(last, self.today))
        days = sessions(kind(symbol), first, min(last, self.today if self.now is None else last))
        rows = [self._row(symbol, day) for day in days if self.trades(symbol, day)]
        return ",".join([row for row in rows if row] + self.extra.get(symbol, []))

    def trades(self, symbol: str, day: date) -> bool:
        """Whether the provider has a bar of a symbol on a day."""
        return self.published(kind(symbol), day) and day <= self.delisted.get(symbol, date.max)

    def _row(self, symbol: str, day: date) -> str:
        given = self.rows.get(symbol, {}).get(day.isoformat())
        return given if given is not None else ROW.format(**self.bar(symbol, day))

    def bar(self, symbol: str, day: date) -> dict[str, str]:
        """Return the fields of one bar as text."""
        first = {rename.new: rename.old for rename in self.renames}.get(symbol, symbol)
        values = bar(variant(first), kind(symbol), day)
        if not self.settled(kind(symbol), day):
            values["volume"] = str(int(values["volume"]) * 98 // 100)
            if chance(symbol, day) % 3 == 0:
                values["low"] = decimal(scaled(values["low"]) + 1, 4)
        if symbol in self.dividends:
            values["adjusted_close"] = self._adjusted(symbol, day, values["close"])
            return values
        split = self.splits.get(symbol)
        return adjusted(values, split, day) if split and self._over(symbol, split.day) else values

    def _adjusted(self, symbol: str, day: date, close: str) -> str:
        """Return the close by the documented factors: 1 ÷ ratio, and (close before − dividend) ÷ close before."""
        factor = Fraction(1)
        for when, amount in self.dividends[symbol].items():
            gone = date.fromisoformat(when)
            if day < gone and self._over(symbol, gone):
                before = max(sessions(kind(symbol), gone - timedelta(days=15), gone - timedelta(days=1)))
                price = Fraction(bar(variant(symbol), kind(symbol), before)["close"])
                factor *= (price - Fraction(amount)) / price
        split = self.splits.get(symbol)
        if split and day < split.day and self._over(symbol, split.day):
            factor /= split.ratio
        return decimal(round(Fraction(close) * factor * 10**4), 4)

    def actions(self, kind_of: str, symbol: str, first: date, last: date) -> list[dict[str, Any]]:
        """Return the rows of ``splits`` or ``dividends`` of a symbol."""
        if kind_of == "splits":
            split = self.splits.get(symbol)
            found: dict[date, dict[str, Any]] = (
                {split.day: {"split": f"{split.ratio}.000000/1.000000"}} if split else {}
            )
            if symbol in self.junk:
                found[date(2010, 1, 4)] = {"split": "0.000000/1.000000"}
        else:
            found = {
                date.fromisoformat(day): {
                    "declarationDate": None, "recordDate": day, "paymentDate": day, "period": "Quarterly",
                    "value": float(amount), "unadjustedValue": float(amount), "currency": "USD",
                }
                for day, amount in self.dividends.get(symbol, {}).items()
            }  # fmt: skip
        return [
            {"date": day.isoformat(), **row}
            for day, row in sorted(found.items())
            if first <= day <= last and self._over(symbol, day)
        ]

    def bulk_actions(self, kind_of: str, exchange: str, day: date) -> list[dict[str, Any]]:
        """Return the rows of one day, as the bulk answer has them: a dividend is a string of its own name."""
        ending, rows = suffix(exchange), []
        for code in self.codes(exchange):
            for row in self.actions(kind_of, f"{code}.{ending}", day, day):
                values = {"split": row["split"]} if "split" in row else {"dividend": f"{row['value']:.5f}"}
                rows.append({"code": code, "exchange": ending, "date": row["date"], **values})
        return rows

    def last(self, exchange: str) -> date:
        """Return the newest session that the provider has."""
        day = self.today if self.now is None else self.now.date() + timedelta(days=1)
        while not (list(sessions(exchange, day, day)) and self.published(exchange, day)):
            day -= timedelta(days=1)
        return day

    def bulk(self, exchange: str, day: date) -> str:
        """Return the JSON rows of all symbols of an exchange on ``day``, joined by commas."""
        ending, rows = suffix(exchange), []
        if self.now is not None and not self.published(ending, day):
            return ""
        for code in self.codes(exchange):
            symbol = f"{code}.{ending}"
            early = not self.settled(ending, day) and chance(symbol, day) % 5 == 0
            text = "" if early or not self.trades(symbol, day) else self._one(symbol, day)
            if text:
                rows.append(f'{{"code":{json.dumps(code)},"exchange_short_name":"{ending}",{text[1:]}')
        if self.odd:
            rows += [f'{{"code":"{code}","exchange_short_name":"{ending}",{text[1:]}'
                     for code, text in odd(day).items()]  # fmt: skip
        return ",".join(rows)

    def _one(self, symbol: str, day: date) -> str:
        given = self.rows.get(symbol, {}).get(day.isoformat())
        if given is not None:
            return given
        return self._row(symbol, day) if list(sessions(kind(symbol), day, day)) else ""

    def changes(self) -> list[dict[str, str]]:
        """Return the rows of the history of renames."""
        return [
            {
                "exchange": kind(rename.old),
                "old_symbol": rename.old.rpartition(".")[0],
                "new_symbol": rename.new.rpartition(".")[0],
                "company_name": f"{rename.new} Incorporated",
                "effective": rename.day.isoformat(),
            }
            for rename in self.renames
            if self._over(rename.old, rename.day)
        ]

    def listing(self, exchange: str, delisted: bool) -> list[dict[str, Any]]:
        """Return the rows of the symbol list; the delisted ones are others than the active ones."""
        kinds = {"CC": "Currency", "FOREX": "Currency"}
        ending = suffix(exchange)
        gone = [symbol.rpartition(".")[0] for symbol, day in self.delisted.items()
                if kind(symbol) == ending and self._over(symbol, after(ending, day))]  # fmt: skip
        active = [code for code in self.codes(exchange) if code not in gone]
        codes = ["GONE", "SYM90001_old", *gone] if delisted else active
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


def suffix(exchange: str) -> str:
    """Return the suffix of the symbols of an exchange or list."""
    return "US" if exchange in ("NYSE", "NASDAQ") else exchange


def after(exchange: str, day: date) -> date:
    """Return the session after a day."""
    return next(sessions(exchange, day + timedelta(days=1), day + timedelta(days=30)))


def chance(symbol: str, day: date) -> int:
    """Return a number that depends on symbol and day alone."""
    return zlib.crc32(f"{symbol} {day}".encode())


def odd(day: date) -> dict[str, str]:
    """Return rows as they stand in real files: a volume with a fraction, zeros, nulls, a further key."""
    head = f'{{"date":"{day}",'
    return {
        "FRAC": head + '"open":0.0433,"high":0.0548,"low":0.0394,"close":0.05,"adjusted_close":0.05,"volume":1765.53}',
        "ZERO": head + '"open":0,"high":0,"low":0,"close":0,"adjusted_close":0,"volume":0}',
        "NULL": head + '"open":null,"high":null,"low":null,"close":null,"adjusted_close":null,"volume":0}',
        "MORE": head + '"open":2,"high":2.5,"low":1.9,"close":2.25,"adjusted_close":2.25,"volume":7,"prev_close":2}',
    }  # fmt: skip


def variant(symbol: str) -> int:
    """Return which price series a symbol has."""
    return zlib.crc32(symbol.encode()) % VARIANTS


def kind(symbol: str) -> str:
    """Return ``US``, ``CC`` or ``FOREX``: the calendar and the digits that a symbol has."""
    return symbol.rpartition(".")[2]


def sessions(exchange: str, first: date, last: date) -> Iterator[date]:
    """Yield the days with a bar: crypto all, FOREX without Saturdays, others weekdays but holidays."""
    day = max(first, FIRST_DAY)
    market = calendar.of(exchange) if exchange in ("US", "AU", "LSE") else None
    if market and day >= calendar.FIRST:
        yield from market.sessions(day, min(last, calendar.LAST))
        return
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
def plain_bars(series: int, exchange: str, split: Split | None, first: date, last: date) -> str:
    """Return the rows of a series that nobody tampered with; kept, so that serving costs nothing."""
    return ",".join(
        ROW.format(**adjusted(bar(series, exchange, day), split, day))
        for day in sessions(exchange, first, last)
    )


def adjusted(values: dict[str, str], split: Split | None, day: date) -> dict[str, str]:
    """Return a bar as a split changes it that has happened since."""
    if split and day < split.day:
        values["adjusted_close"] = decimal(scaled(values["adjusted_close"]) // split.ratio, 4)
        values["volume"] = str(int(values["volume"]) * split.ratio)
    return values
