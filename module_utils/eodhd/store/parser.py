"""From the body of an answer to rows that PostgreSQL takes as they are, and rows to set aside.

Numbers stay the text that the provider sent, from the socket to the table: no float touches a price.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from operator import lt
from typing import Any

from ansible.module_utils.database.tables import FIGURES, PRICES
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.markets import names

# What a name that nobody traded lacks.
TRADED = ("open", "high", "low", "close")
# How the reason of a row without any price begins.
UNTRADED = "untraded"
# How that of an action begins which says nothing, such as a split of 0.000000/1.000000.
JUNK = "junk"
# What the reason of a row that its table cannot hold says, before the column's type.
TOO_NARROW = "does not fit the column's type"


class Malformed(ValueError):
    """The body is not the JSON list that was asked for: a page, a cut answer, an object."""


@dataclass(frozen=True)
class Width:
    """What a column of the existing table holds without rounding.

    Attributes:
        whole, fraction: digits before and after the point; None without a limit.
        significant: digits in all, for floating-point columns; None without a limit.
        name: the type, for people.
    """

    whole: int | None
    fraction: int | None
    significant: int | None
    name: str

    def holds(self, value: Decimal) -> bool:
        """Whether ``value`` comes back unchanged from the column."""
        digits = value.normalize().as_tuple()
        exponent = int(digits.exponent)
        fraction, whole = max(0, -exponent), max(0, len(digits.digits) + exponent)
        return (
            (self.whole is None or whole <= self.whole)
            and (self.fraction is None or fraction <= self.fraction)
            and (self.significant is None or len(digits.digits) <= self.significant)
        )


def width(type_name: str) -> Width:
    """Return what a column holds, from its type as ``format_type`` writes it.

    ``bigint`` counts as 18 digits: all of those fit.
    """
    precise = re.fullmatch(r"numeric\((\d+),(-?\d+)\)", type_name)
    if precise:
        precision, scale = int(precise[1]), int(precise[2])
        return Width(precision - scale, scale, None, type_name)
    exact = {"bigint": Width(18, 0, None, type_name), "integer": Width(9, 0, None, type_name)}
    if type_name == "double precision":
        return Width(None, None, 15, type_name)
    return exact.get(type_name, Width(None, None, None, type_name))


@dataclass(frozen=True)
class SetAside:
    """A row that is kept, but not loaded."""

    symbol: str
    day: str | None
    raw: str
    reason: str

    @property
    def untraded(self) -> bool:
        """Whether the row says nothing, for nobody traded: there is nothing to load, and nothing to fix."""
        return self.reason.startswith((UNTRADED, JUNK))


@dataclass
class Parsed:
    """One answer in rows.

    Attributes:
        lines: of COPY's text format: day, symbol and the figures; with a line break each.
        aside: rows that are not loaded.
        truncated: the provider's free plan cut the history.
    """

    lines: list[str] = field(default_factory=list)
    aside: list[SetAside] = field(default_factory=list)
    truncated: bool = False

    @property
    def days(self) -> Counter[date]:
        """Count the rows by their days."""
        return Counter(date.fromisoformat(line[:10]) for line in self.lines)

    @property
    def untraded(self) -> int:
        """Count the rows that say nothing."""
        return sum(row.untraded for row in self.aside)


class Number(str):
    """A number's text, to be told from a JSON string when the row is set aside."""


class Parser:
    """Parses answers for one table.

    Args:
        widths: of the table's columns, by name; see ``width``.
    """

    def __init__(self, widths: Mapping[str, Width]) -> None:
        self._widths = {name: widths.get(name, width("numeric")) for name in FIGURES}
        numbers = _clean_numbers(self._widths)
        self._clean = re.compile(_clean_row(numbers), re.ASCII)
        self._values = re.compile(
            "\t".join(f"(?P<{name}>{number})" for name, number in numbers.items()), re.ASCII
        )
        self._days: set[str] = set()

    def history(self, body: bytes, symbol: str, asked: Range) -> Parsed:
        """Parse an answer of ``/eod``.

        Args:
            asked: rows outside of it are not taken.

        Raises:
            Malformed: the body is no JSON list.
        """
        return self._fast(body, symbol, asked) or self.rows(json_rows(body), symbol, asked)

    def bulk(self, body: bytes, exchange: str, newest: date = date.max) -> Parsed:
        """Parse an answer of ``/eod-bulk-last-day``: one row a symbol, each of its own day.

        Raises:
            Malformed: the body is no JSON list.
        """
        parsed, last = Parsed(), newest.isoformat()
        of_symbol: dict[str, list[Any]] = {}
        for row in json_rows(body):
            of_symbol.setdefault(symbol_of(row, exchange) if isinstance(row, dict) else "", []).append(row)
        for symbol, rows in of_symbol.items():
            if not symbol:
                warnings = [row for row in rows if isinstance(row, dict) and row.get("warning")]
                parsed.truncated |= bool(warnings)
                parsed.aside += [
                    SetAside("", None, raw_json(row), "no code") for row in rows if row not in warnings
                ]
                continue
            future = [row for row in rows if (day := str(row.get("date"))) > last and is_day(day)]
            parsed.aside += [
                SetAside(symbol, None, raw_json(row), "its date lies in the future") for row in future
            ]
            one = self.rows([row for row in rows if row not in future], symbol, Range(date.min, date.max))
            parsed.lines += one.lines
            parsed.aside += one.aside
            parsed.truncated |= one.truncated
        return parsed

    def _fast(self, body: bytes, symbol: str, asked: Range) -> Parsed | None:
        """Parse an answer in which nothing is odd, at a third of the cost; None if anything is.

        Rows match one pattern, their dates are dates, rise, and lie in the range; and the rows' lengths add
        up to the body's between its brackets, so that no character of it went unread.
        """
        try:
            text = body.decode("ascii")
        except UnicodeDecodeError:
            return None
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
                # Rounding keeps the order: floats that differ say which one is larger, for half the time.
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
        rising = all(map(lt, days, days[1:]))  # no date twice or out of order, and no row read twice
        return Parsed(lines) if rising and read == len(text) else None

    def rows(self, rows: list[Any], symbol: str, asked: Range) -> Parsed:
        """Parse row by row and say what is wrong with each that cannot be taken.

        Args:
            rows: of JSON, their numbers as ``Number``.
            asked: rows outside of it are not taken.
        """
        parsed = Parsed()
        # Numbers of a rate may be below zero.
        signed = PRICES if names.suffix(symbol) in names.RATES else ()
        taken: dict[str, tuple[str, Any]] = {}
        torn: set[str] = set()
        for row in rows:
            if isinstance(row, dict) and row.get("warning"):
                parsed.truncated = True
                if "date" not in row:
                    continue
            day, values, reason = self._row(row, signed)
            if reason is None and day is not None:
                if not asked.first.isoformat() <= day <= asked.last.isoformat():
                    continue
                line = "\t".join((day, symbol, *values)) + "\n"
                if day not in taken:
                    taken[day] = (line, row)
                elif taken[day][0] != line:
                    torn.add(day)
                    reason = "two rows of this date disagree"
            if reason is not None:
                parsed.aside.append(SetAside(symbol, day, raw_json(row), reason))
        for day in torn:  # of two that disagree, neither can be trusted
            parsed.aside.append(
                SetAside(symbol, day, raw_json(taken.pop(day)[1]), "two rows of this date disagree")
            )
        parsed.lines = [taken[day][0] for day in sorted(taken)]
        return parsed

    def _row(self, row: Any, signed: Collection[str]) -> tuple[str | None, list[str], str | None]:
        """Return a row's day, its values as text, and what is wrong with it; ``signed`` may be below zero."""
        if not isinstance(row, dict):
            return None, [], "not an object"
        day = str(row.get("date"))
        if not is_day(day):
            return None, [], "no date"
        texts = [text for name in FIGURES if isinstance(text := row.get(name), str)]
        if len(texts) == len(FIGURES):
            # Most rows of an answer with one odd row are clean; the reasons below cost five times as much.
            clean = self._values.fullmatch("\t".join(texts))
            if clean and Decimal(clean["high"]) >= Decimal(clean["low"]):
                return day, texts, None
        if all(_no_price(row.get(name)) for name in TRADED):
            return day, [], f"{UNTRADED}: no prices"
        values: dict[str, Decimal] = {}
        for name in FIGURES:
            value = row.get(name)
            if value is None or value == "":
                return day, [], f"{name} is null"
            try:
                number = Decimal(value) if isinstance(value, str) else None
            except InvalidOperation:
                number = None
            if number is None or not number.is_finite():
                return day, [], f"{name} is no number"
            if number < 0 and name not in signed:
                return day, [], f"{name} is negative"
            if not self._widths[name].holds(number):
                return day, [], f"{name} {TOO_NARROW} {self._widths[name].name}"
            values[name] = number
        if values["high"] < values["low"]:
            return day, [], "high is less than low"
        return day, [_plain(values[name], str(row[name]), name) for name in FIGURES], None


def _no_price(value: Any) -> bool:
    """Whether a price is missing or zero."""
    try:
        return value is None or value == "" or Decimal(value) == 0
    except (InvalidOperation, TypeError, ValueError):
        return False


def _plain(value: Decimal, text: str, name: str) -> str:
    """Return a number without exponent; the volume without an empty fraction, for integer columns."""
    if name == "volume" and value == value.to_integral_value():
        return str(int(value))
    return text if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII) else f"{value:f}"


def _clean_numbers(widths: Mapping[str, Width]) -> dict[str, str]:
    """Return by column the pattern of numbers that fit without a closer look."""
    patterns = {}
    for name in FIGURES:
        limit = widths[name]
        whole, fraction = limit.whole or 20, 15 if limit.fraction is None else limit.fraction
        if limit.significant:
            whole, fraction = limit.significant - 6, 6
        point = rf"(?:\.\d{{1,{fraction}}})?" if fraction and name != "volume" else ""
        # A row of zeros has a low of zero, which is left to the careful way.
        patterns[name] = rf"{'(?![0.]+[^0-9.])' if name == 'low' else ''}\d{{1,{whole}}}{point}"
    return patterns


def _clean_row(numbers: Mapping[str, str]) -> str:
    """Return the pattern of a row as the provider writes it when nothing is odd."""
    fields = ",".join(f'"{name}":({number})' for name, number in numbers.items())
    return rf'\{{"date":"(\d{{4}}-\d\d-\d\d)",{fields}\}}[,\]]'


# Where a clean row, which begins with its day, has them.
_HIGH, _LOW = (1 + list(FIGURES).index(name) for name in ("high", "low"))
# Characters that are read at once: what they become fits into a processor's cache.
_PIECE = 1 << 16
# What a clean row has around its values: names, quotes, colons, braces, and the comma or bracket behind it.
_FRAME = len('{"date":"",' + ",".join(f'"{name}":' for name in FIGURES) + "},")


def json_rows(body: bytes) -> list[Any]:
    """Return the rows of an answer, their numbers as ``Number``.

    Raises:
        Malformed: the body is no JSON list.
    """
    try:
        rows = json.loads(body, parse_float=Number, parse_int=Number)
    except (ValueError, RecursionError):
        raise Malformed from None
    if not isinstance(rows, list):
        raise Malformed
    return rows


def raw_json(row: Any) -> str:
    """Return a row as JSON again, its numbers as they were sent."""
    if isinstance(row, Number):
        return str(row)
    if isinstance(row, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{raw_json(value)}" for key, value in row.items()) + "}"
    if isinstance(row, list):
        return "[" + ",".join(map(raw_json, row)) + "]"
    return json.dumps(None if isinstance(row, float) else row)  # NaN is no JSON


def is_day(text: str) -> bool:
    """Whether a text is a day as the provider writes it."""
    try:
        # Newer Pythons take week dates, too.
        return len(text) == 10 and text[5] != "W" and bool(date.fromisoformat(text))
    except ValueError:
        return False


def symbol_of(row: Mapping[str, Any], asked: str) -> str:
    """Return the symbol of a row of a whole exchange; empty if it names none, or one that COPY would read as another.

    The provider keeps the United States under one suffix: a row of the list ``NYSE`` or ``PINK`` is ``….US``.

    Args:
        row: with ``code`` or ``Code``, and perhaps the suffix: ``exchange_short_name``, of an action ``exchange``.
        asked: the exchange or list of the call.
    """
    code = row.get("code") or row.get("Code")
    exchange = str(row.get("exchange_short_name") or row.get("exchange") or asked)
    symbol = f"{code}.{names.suffix_of(exchange)}"
    return symbol if code and symbol.isprintable() and "\\" not in symbol else ""
