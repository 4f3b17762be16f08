"""The parser: no row is lost or invented, and the fast and the careful path agree."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from ansible.module_utils.database.tables import FIGURES, PRICES
from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.store.parser import Parser, width
from hypothesis import given
from hypothesis import strategies as st

ALL = Range(date(1990, 1, 1), date(2030, 1, 1))
ROW = '{"date":"2024-01-02","open":1.5,"high":2,"low":1,"close":1.25,"adjusted_close":1.125,"volume":7}'
LINE = "2024-01-02\tA.US\t1.5\t2\t1\t1.25\t1.125\t7\n"


def parse(body: str, asked: Range = ALL, **types: str) -> Any:
    return Parser({name: width(kind) for name, kind in types.items()}).history(body.encode(), "A.US", asked)


def test_a_clean_row_becomes_a_copy_line() -> None:
    assert parse(f"[{ROW}]").lines == [LINE]


def test_spaces_another_order_and_strings_are_parsed() -> None:
    row = dict(reversed(json.loads(ROW, parse_float=str, parse_int=str).items()))
    assert parse(json.dumps([row])).lines == [LINE]


@pytest.mark.parametrize(
    "body",
    ["", "<html>", f"[{ROW}", f"{ROW}]", '{"a":1}', "null", f"[{ROW}]]", "\xff"]
    + [f"[{ROW},", f"7{ROW}]", f"[{ROW.replace('01-02', '01-01')}]{ROW}]"],
)
def test_a_body_that_is_not_a_list_is_malformed(body: str) -> None:
    with pytest.raises(ValueError, match="not a JSON list"):
        parse(body)


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [("DE10Y.GBOND", None), ("EURIBOR3M.MONEY", None), ("AAPL.US", "high is negative")],
)
def test_a_rate_may_be_negative(symbol: str, reason: str | None) -> None:
    row = ROW
    for old, new in (
        ("1.5", "-0.8"),
        (":2,", ":-0.74,"),
        (":1,", ":-0.9,"),
        ("1.25", "-0.86"),
        ("1.125", "-8.6E-1"),
    ):
        row = row.replace(old, new, 1)
    line = LINE.replace("A.US\t1.5\t2\t1\t1.25\t1.125", f"{symbol}\t-0.8\t-0.74\t-0.9\t-0.86\t-0.86")
    parsed = Parser({}).history(f"[{row}]".encode(), symbol, ALL)
    assert parsed.lines == ([] if reason else [line])
    assert all(str(reason).partition(" ")[2] in row.reason for row in parsed.aside)


def test_a_volume_must_not_be_negative() -> None:
    row = ROW.replace('"volume":7', '"volume":-7')
    parsed = Parser({}).history(f"[{row}]".encode(), "DE10Y.GBOND", ALL)
    assert [row.reason for row in parsed.aside] == ["volume is negative"]


@pytest.mark.parametrize("junk", ["null,", "7,", '"x",', "[],", "{},"])
def test_no_character_of_an_answer_is_skipped(junk: str) -> None:
    parsed = parse(f"[{junk}{ROW}]")
    assert parsed.lines == [LINE]
    assert len(parsed.aside) == 1


@pytest.mark.parametrize("place", [0, 1, 700, 1500, 2999, 3000])
@pytest.mark.parametrize("junk", ["7", f'"{"x" * 300}"', ROW.replace("2024-01-02", "1992-01-02")])
def test_no_character_of_a_long_answer_is_skipped(junk: str, place: int) -> None:
    days = [date(1992, 1, 2) + timedelta(days=number) for number in range(3000)]
    rows = [ROW.replace("2024-01-02", day.isoformat()) for day in days]
    parsed = parse(f"[{','.join([*rows[:place], junk, *rows[place:]])}]")
    assert parsed.lines == [LINE.replace("2024-01-02", day.isoformat()) for day in days]
    assert [row.raw for row in parsed.aside] == [junk] * ("date" not in junk)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("open", "null", "open is null"),
        ("high", '""', "high is null"),
        ("close", '"NA"', "close is no number"),
        ("close", "NaN", "close is no number"),
        ("close", "true", "close is no number"),
        ("close", '"Infinity"', "close is no number"),
        ("low", "-1", "low is negative"),
        ("high", "0.5", "high is less than low"),
        ("volume", "2943900.99", "volume does not fit the column's type bigint"),
        ("volume", "9" * 20, "volume does not fit the column's type bigint"),
        ("adjusted_close", "1.00001", "adjusted_close does not fit the column's type numeric(12,4)"),
        ("adjusted_close", "123456789", "adjusted_close does not fit the column's type numeric(12,4)"),
    ],
)
def test_reasons_of_set_aside_rows(column: str, value: str, reason: str) -> None:
    row = json.loads(ROW, parse_float=str, parse_int=str)
    text = json.dumps([row]).replace(f'"{column}": "{row[column]}"', f'"{column}": {value}')
    parsed = parse(text, volume="bigint", adjusted_close="numeric(12,4)")
    assert parsed.lines == []
    [aside] = parsed.aside
    assert aside.reason == reason
    assert (aside.symbol, aside.day) == ("A.US", "2024-01-02")


@pytest.mark.parametrize("value", ["1e5000", "1E+200000", "1e-200000", "1e999999999", "9" * 5000])
@pytest.mark.parametrize("column", ["close", "volume"])
def test_a_number_that_no_column_can_hold_is_set_aside(column: str, value: str) -> None:
    parsed = parse(json.dumps([{**json.loads(ROW), column: "N"}]).replace('"N"', value))
    assert [row.reason for row in parsed.aside] == [f"{column} is no number"]


def test_the_raw_row_keeps_its_numbers() -> None:
    raw = ROW.replace("1.5", "-1.50000000000000000001")
    assert parse(f"[{raw}]").aside[0].raw == raw


def test_digits_that_fit_exactly_are_loaded() -> None:
    taken = parse(
        f"[{ROW.replace('1.125', '1.12500000').replace(':7', ':7.0')}]",
        adjusted_close="numeric(12,4)",
        volume="bigint",
    )
    assert taken.lines == [LINE.replace("1.125", "1.12500000")]
    assert parse(f"[{ROW.replace('1.5', '1.5e0')}]").lines == [LINE]


def test_two_rows_of_a_day_agree_or_are_both_set_aside() -> None:
    assert parse(f"[{ROW},{ROW}]").lines == [LINE]
    torn = parse(f"[{ROW},{ROW.replace('1.25', '1.26')}]")
    assert torn.lines == []
    assert [row.reason for row in torn.aside] == ["two rows of this date disagree"] * 2


def test_a_row_outside_the_range_is_dropped() -> None:
    parsed = parse(f"[{ROW}]", Range(date(2024, 1, 3), date(2024, 1, 4)))
    assert (parsed.lines, parsed.aside) == ([], [])


@pytest.mark.parametrize("day", ["2024-02-30", "2024-W01-1", "0000-01-01", "02/01/2024", "20240102"])
def test_an_invalid_day_is_set_aside(day: str) -> None:
    assert parse(f"[{ROW.replace('2024-01-02', day)}]").aside[0].reason == "no date"


@pytest.mark.parametrize("where", ["alone", "with a row"])
def test_a_warning_means_truncated(where: str) -> None:
    body = '[{"warning":"cut"}]' if where == "alone" else f'[{ROW[:-1]},"warning":"cut"}}]'
    parsed = parse(body)
    assert parsed.truncated
    assert parsed.lines == ([] if where == "alone" else [LINE])


PRICE = st.decimals(0, 10**9, places=6, allow_nan=False).map(lambda value: f"{value.normalize():f}")
BARS = st.lists(
    st.fixed_dictionaries(dict.fromkeys(PRICES, PRICE) | {"volume": st.integers(0, 10**17).map(str)}),
    max_size=20,
)


@given(BARS)
def test_every_row_is_loaded_as_sent_or_set_aside(bars: list[dict[str, str]]) -> None:
    days = [(date(2024, 1, 1) + timedelta(days=number)).isoformat() for number in range(len(bars))]
    rows = [
        f'{{"date":"{day}",' + ",".join(f'"{name}":{bar[name]}' for name in FIGURES) + "}"
        for day, bar in zip(days, bars)
    ]
    body = f"[{','.join(rows)}]"
    parsed = parse(body)
    assert len(parsed.lines) + len(parsed.aside) == len(bars)
    by_day = {line[:10]: line.rstrip("\n").split("\t")[2:] for line in parsed.lines}
    for day, bar in zip(days, bars):
        sound = Decimal(bar["high"]) >= Decimal(bar["low"]) and any(Decimal(bar[name]) for name in PRICES[:4])
        assert (day in by_day) == sound
        if sound:
            assert by_day[day] == [bar[name] for name in FIGURES]
    # Spaces force the careful path; both paths must give the same result.
    careful = parse(body.replace(",", " ,"))
    assert (careful.lines, careful.aside) == (parsed.lines, parsed.aside)


ODD = st.none() | st.booleans() | st.text(max_size=4) | st.integers() | st.floats() | st.just("2024-01-02")
NAMES = st.sampled_from(["date", *FIGURES, "warning"])


@given(st.lists(st.dictionaries(NAMES, ODD, max_size=9), max_size=5))
def test_any_json_is_parsed_without_an_error(rows: list[dict[str, Any]]) -> None:
    parsed = parse(json.dumps(rows))
    told = sum(1 for row in rows if row.get("warning") and "date" not in row)
    unasked_or_repeated = len(rows) - told - len(parsed.lines) - len(parsed.aside)
    assert unasked_or_repeated >= 0
    for line in parsed.lines:
        assert line.count("\t") == 1 + len(FIGURES)


def test_bulk_rows_have_their_own_symbol() -> None:
    rows = [f'{{"code":"{code}","exchange_short_name":"US",{ROW[1:]}' for code in ("A", "B-B")]
    parsed = Parser({}).bulk(f"[{','.join(rows)},{ROW}]".encode(), "US")
    assert [line.split("\t")[1] for line in parsed.lines] == ["A.US", "B-B.US"]
    assert [row.reason for row in parsed.aside] == ["no code"]


def bulk_row(code: str, **changes: Any) -> dict[str, Any]:
    return {"code": code, "exchange_short_name": "US", **json.loads(ROW), **changes}


def test_a_future_bulk_row_is_set_aside() -> None:
    rows = [bulk_row("A"), bulk_row("A", date="2124-01-02"), bulk_row("B", date="not known")]
    parsed = Parser({}).bulk(json.dumps(rows).encode(), "US", date(2024, 6, 1))
    assert [line.split("\t")[1] for line in parsed.lines] == ["A.US"]
    assert [(row.symbol, row.day, row.reason) for row in parsed.aside] == [
        ("A.US", None, "its date lies in the future"),
        ("B.US", None, "no date"),
    ]


def test_a_warning_in_a_bulk_answer_is_not_a_row() -> None:
    parsed = Parser({}).bulk(json.dumps([bulk_row("A"), {"warning": "one year"}]).encode(), "US")
    assert (len(parsed.lines), parsed.aside, parsed.truncated) == (1, [], True)


@pytest.mark.parametrize("code", ["A\\B", "A\tB", "A\nB", ".\\"])
def test_a_code_that_copy_would_misread_is_set_aside(code: str) -> None:
    row = {"code": code, **json.loads(ROW)}
    parsed = Parser({}).bulk(json.dumps([row]).encode(), "US")
    assert parsed.lines == []
    assert [row.reason for row in parsed.aside] == ["no code"]
