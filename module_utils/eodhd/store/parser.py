"""Parses the body of an answer into rows for COPY and rows to set aside.

Numbers remain the text that the provider sent, so that no price is rounded to a float.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from operator import lt
from typing import Any, Callable

from ansible.module_utils.database.tables import FIGURES, PRICES
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.markets import names

# Empty or zero if nobody traded.
TRADED = ("open", "high", "low", "close")
# The reason of a row without any price starts with this.
UNTRADED = "untraded"
# The reason of a meaningless action, such as a split of 0.000000/1.000000, starts with this.
JUNK = "junk"
# The reason of a row that the table cannot hold contains this, before the column's type.
TOO_NARROW = "does not fit the column's type"
# No bar or action needs as many digits before or after the point. Without an exponent, 1e9999 has as many.
DIGITS = 100


@dataclass(frozen=True)
class Width:
    """What a column of the existing table can hold without rounding.

    Attributes:
        name: the type, for people.
        whole, fraction: digits before and after the point; None without a limit.
        significant: digits in all, for floating-point columns; None without a limit.
    """

    name: str
    whole: int | None = None
    fraction: int | None = None
    significant: int | None = None

    def holds(self, value: Decimal) -> bool:
        """Whether the column keeps ``value`` unchanged."""
        _, digits, exponent = value.normalize().as_tuple()
        counts = (len(digits) + int(exponent), -int(exponent), len(digits))
        limits = (self.whole, self.fraction, self.significant)
        return all(limit is None or count <= limit for count, limit in zip(counts, limits))


def width(type_name: str) -> Width:
    """Return the width of a column, from its type as ``format_type`` writes it; any 18 digits fit into a bigint."""
    precise = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", type_name)
    if precise:
        precision, scale = int(precise[1]), int(precise[2])
        return Width(type_name, precision - scale, scale)
    others = {"bigint": (18, 0, None), "integer": (9, 0, None), "double precision": (None, None, 15)}
    return Width(type_name, *others.get(type_name, ()))


@dataclass(frozen=True)
class SetAside:
    """A row that is kept, but not loaded."""

    symbol: str
    day: str | None
    raw: str
    reason: str

    @property
    def untraded(self) -> bool:
        """Whether the row has no content, so that there is nothing to load and nothing to fix."""
        return self.reason.startswith((UNTRADED, JUNK))


@dataclass
class Parsed:
    """The rows of one answer.

    Attributes:
        lines: in COPY's text format: day, symbol and figures, each with a line break.
        aside: rows that are not loaded.
        truncated: whether the free plan cut the history.
    """

    lines: list[str] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)
    truncated: bool = False

    @property
    def days(self) -> Counter[date]:
        """Return the number of rows by day."""
        return Counter(date.fromisoformat(line[:10]) for line in self.lines)

    @property
    def untraded(self) -> int:
        """Return the number of rows without content."""
        return sum(row.untraded for row in self.aside)


class Number(str):
    """The text of a number, which a set-aside row shows without the quotes of a JSON string."""


class Parser:
    """Parses answers for a table with columns of these widths; see ``width``."""

    def __init__(self, widths: Mapping[str, Width]) -> None:
        self.widths = {name: widths.get(name, width("numeric")) for name in FIGURES}
        values = [r"\d{4}-\d\d-\d\d", *(_clean_number(name, limit) for name, limit in self.widths.items())]
        # A clean row: as the provider writes it, and fit to load.
        row = re.escape(_ROW[:-1]) % tuple(f"({value})" for value in values)
        self._clean = re.compile(rf"{row}[,\]]", re.ASCII)
        self._days: set[str] = set()

    def history(self, body: bytes, symbol: str, asked: Range) -> Parsed:
        """Parse an answer of ``/eod``, without rows outside ``asked``; raises ``ValueError``."""
        first, last = asked.first.isoformat(), asked.last.isoformat()

        def read(row: Any) -> tuple[str, str, str, str]:
            _, day, line, reason = self._row(row, symbol)
            return symbol, day, line if first <= day <= last else "", reason

        return self._fast(body, symbol, asked) or collect(json_rows(body), read)

    def bulk(self, body: bytes, exchange: str, newest: date = date.max) -> Parsed:
        """Parse an answer of ``/eod-bulk-last-day``: one row per symbol, each with its day; raises ``ValueError``."""

        def read(row: Any) -> tuple[str, str, str, str]:
            symbol = symbol_of(row, exchange) if isinstance(row, dict) else ""
            if not symbol:
                return "", "", "", "no code"
            found = self._row(row, symbol)
            if found[1] > newest.isoformat():
                return symbol, "", "", "its date lies in the future"
            return found

        return collect(json_rows(body), read)

    def _fast(self, body: bytes, symbol: str, asked: Range) -> Parsed | None:
        """Parse an answer with clean rows only, at a third of the cost; return None for any other.

        All rows match one pattern, and their dates are valid, ascending and in the range. Their lengths add up to
        that of the body, so that no character was skipped.
        """
        text = body.decode("latin-1")  # never fails, and no row with other characters than ASCII is clean
        if not text.startswith("[") or text.find("]") != len(text) - 1:
            return None
        form = "\t".join(["%s", symbol.replace("%", "%%"), *["%s"] * len(FIGURES)]) + "\n"
        between = len(symbol) + len("\t") * (len(FIGURES) + 1) + len("\n")
        lines: list[str] = []
        read = len("[")
        while read < len(text):
            rows = self._clean.findall(text, read, read + _PIECE)
            some = [
                form % row
                for row in rows
                # Rounding keeps the order, so floats that differ are enough, at half the cost.
                if float(row[_HIGH]) > float(row[_LOW]) or Decimal(row[_HIGH]) >= Decimal(row[_LOW])
            ]
            if not rows or len(some) < len(rows):
                return None
            lines += some
            read += sum(map(len, some)) + len(some) * (_FRAME - between)
        days = [line[:10] for line in lines]
        if not days or days[0] < asked.first.isoformat() or days[-1] > asked.last.isoformat():
            return None
        if not self._days.issuperset(days):
            if not all(map(is_day, days)):
                return None
            self._days.update(days)
        # No date is repeated or out of order, and no row was read twice.
        rising = all(map(lt, days, days[1:]))
        return Parsed(lines) if rising and read == len(text) else None

    def _row(self, row: Any, symbol: str) -> tuple[str, str, str, str]:
        """Return a row as ``collect`` wants it."""
        if not isinstance(row, dict):
            return symbol, "", "", "not an object"
        day = str(row.get("date"))
        if not is_day(day):
            return symbol, "", "", "no date"
        values: list[Any] = [row.get(name) for name in FIGURES]
        # Even if some row is not clean, most are; a careful check costs five times as much.
        clean = self._clean.fullmatch(_ROW % (day, *values))
        if clean and Decimal(clean.groups()[_HIGH]) >= Decimal(clean.groups()[_LOW]):
            reason = ""
        else:
            values, reason = self._careful(row, symbol)
        return symbol, day, "" if reason else "\t".join((day, symbol, *values)) + "\n", reason

    def _careful(self, row: Mapping[str, Any], symbol: str) -> tuple[list[str], str]:
        """Return a row's values as text, and what is wrong with it."""
        if all(row.get(name) in (None, "") or number(row[name]) == 0 for name in TRADED):
            return [], f"{UNTRADED}: no prices"
        values: dict[str, Decimal] = {}
        for name in FIGURES:
            if row.get(name) in (None, ""):
                return [], f"{name} is null"
            value = number(row[name])
            if value is None:
                return [], f"{name} is no number"
            # Rates may be negative.
            if value < 0 and (name not in PRICES or names.suffix(symbol) not in names.RATES):
                return [], f"{name} is negative"
            if not self.widths[name].holds(value):
                return [], f"{name} {TOO_NARROW} {self.widths[name].name}"
            values[name] = value
        if values["high"] < values["low"]:
            return [], "high is less than low"
        return [_plain(values[name], row[name], name) for name in FIGURES], ""


def collect(rows: Iterable[Any], read: Callable[[Any], tuple[str, str, str, str]]) -> Parsed:
    """Return the rows of an answer; if two rows of a symbol and day disagree, both are set aside.

    Args:
        rows: from JSON, with numbers as ``Number``.
        read: returns a row's symbol, day, line, and what is wrong with it; missing parts are empty.
    """
    parsed = Parsed()
    taken: dict[tuple[str, str], tuple[str, Any]] = {}
    torn: set[tuple[str, str]] = set()
    for row in rows:
        if isinstance(row, dict) and row.get("warning"):
            parsed.truncated = True
            if "date" not in row:
                continue
        symbol, day, line, reason = read(row)
        if line and taken.setdefault((symbol, day), (line, row))[0] != line:
            torn.add((symbol, day))
            reason = _DISAGREE
        if reason:
            parsed.aside.append(SetAside(symbol, day or None, raw_json(row), reason))
    for symbol, day in torn:
        parsed.aside.append(SetAside(symbol, day, raw_json(taken.pop((symbol, day))[1]), _DISAGREE))
    parsed.lines = [taken[key][0] for key in sorted(taken)]
    return parsed


def number(value: Any) -> Decimal | None:
    """Return a JSON value as a finite number; None if it is not one, or has more than ``DIGITS``."""
    try:
        found = Decimal(value if isinstance(value, str) else "nan")
    except InvalidOperation:
        return None
    if not found.is_finite():
        return None
    return found if max(abs(found.adjusted()), abs(int(found.as_tuple().exponent))) < DIGITS else None


def _plain(value: Decimal, text: str, name: str) -> str:
    """Return a number without exponent, and a whole volume without fraction, for integer columns."""
    if name == "volume" and value == value.to_integral_value():
        return str(int(value))
    return text if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else f"{value:f}"


def _clean_number(name: str, limit: Width) -> str:
    """Return a pattern of numbers that certainly fit into a column."""
    whole, fraction = limit.whole or 20, 15 if limit.fraction is None else limit.fraction
    if limit.significant:
        whole, fraction = limit.significant - 6, 6
    point = rf"(?:\.\d{{1,{fraction}}})?" if fraction and name != "volume" else ""
    # A low of zero may be a row of zeros, which ``_careful`` handles.
    return rf"{'(?![0.]+[^0-9.])' if name == 'low' else ''}\d{{1,{whole}}}{point}"


# A clean row, with the comma or bracket after it.
_ROW = '{"date":"%s",' + ",".join(f'"{name}":%s' for name in FIGURES) + "},"
# Their positions in such a row, which starts with its day.
_HIGH, _LOW = (1 + list(FIGURES).index(name) for name in ("high", "low"))
# Characters parsed at once, so that the result fits into the CPU cache.
_PIECE = 1 << 16
# Length of a clean row without its values.
_FRAME = len(_ROW) - len("%s") * (1 + len(FIGURES))
_DISAGREE = "two rows of this date disagree"


def json_rows(body: bytes) -> list[Any]:
    """Return the rows of an answer, with numbers as ``Number``; raises ``ValueError``."""
    try:
        rows = json.loads(body, parse_float=Number, parse_int=Number)
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise ValueError("not a JSON list, but a page, an object or an incomplete answer")
    return rows


def raw_json(row: Any) -> str:
    """Return a row as JSON again, with its numbers as they were sent."""
    if isinstance(row, Number):
        return str(row)
    if isinstance(row, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{raw_json(value)}" for key, value in row.items()) + "}"
    if isinstance(row, list):
        return "[" + ",".join(map(raw_json, row)) + "]"
    return json.dumps(None if isinstance(row, float) else row)  # JSON has no NaN


def is_day(text: str) -> bool:
    """Whether a text is a day in the provider's format."""
    try:
        # Newer Python versions accept week dates, too.
        return len(text) == 10 and text[5] != "W" and bool(date.fromisoformat(text))
    except ValueError:
        return False


def symbol_of(row: Mapping[str, Any], asked: str) -> str:
    """Return the symbol of a row of a whole exchange; empty if it has none, or one that COPY would misread.

    The provider has one suffix for the United States: a row of the list ``NYSE`` or ``PINK`` is ``….US``.

    Args:
        row: with ``code`` or ``Code``; may have the suffix as ``exchange_short_name``, or ``exchange`` for an action.
        asked: the exchange or list of the call.
    """
    code = row.get("code") or row.get("Code")
    exchange = str(row.get("exchange_short_name") or row.get("exchange") or asked)
    symbol = f"{code}.{names.suffix_of(exchange)}"
    return symbol if code and symbol.isprintable() and "\\" not in symbol else ""
