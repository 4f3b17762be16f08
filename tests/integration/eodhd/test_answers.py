"""Every answer of the service's contract, over real sockets: its effect on the symbol, the run and the calls paid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.eodhd import client as eodhd_client
from ansible.module_utils.eodhd import context as eodhd_context
from ansible.module_utils.eodhd.api import Policy

# By behaviour of the stand-in: the symbol's outcome, and part of the message.
OF_THE_SYMBOL = {
    "forbidden": ("forbidden", "403"),
    "free": ("forbidden", "plan"),
    "unknown": ("unknown", "404"),
    "unprocessable": ("rejected", "422"),
    "empty": ("empty", "no rows"),
    "warning_only": ("truncated", "free plan"),
    "warning_last": ("truncated", "free plan"),
    "warning_all": ("truncated", "free plan"),
    "redirect": ("failed", "301"),
}
OF_THE_RUN = {
    "unauthenticated": "vault_eodhd_api_token",
    "quota": "00:00 GMT",
    "bulk_free": "plan",
}
REPEATED = ["bad_gateway", "page", "object", "cut", "cut_close", "reset", "too_many", "too_many_zero"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten waits from half a minute to a second."""
    quick = Policy(connect=1, read=0.6, total=1.5, tries=3, tries_limited=3)
    original = eodhd_client.Client.__init__

    def fast(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "jitter": lambda: -0.45})

    monkeypatch.setattr(eodhd_context, "POLICY", quick)
    monkeypatch.setattr(eodhd_client.Client, "__init__", fast)


@pytest.mark.parametrize(("behaviour", "expected"), OF_THE_SYMBOL.items())
def test_an_error_of_one_symbol_does_not_affect_the_others(
    market: Any, behaviour: str, expected: tuple[str, str]
) -> None:
    market.standin.control(answers={"MSFT.US": [behaviour]}, sticky=True)
    result = market.load(symbols=["AAPL.US", "MSFT.US", "VTI.US"])
    [entry] = result["not_loaded"]
    assert (entry["symbol"], entry["outcome"]) == ("MSFT.US", expected[0])
    assert expected[1] in entry["message"]
    assert expected[0] in result["problem"]
    assert "MSFT.US" in result["report"]
    assert "SUCCESS" not in result["report"]
    assert result["totals"]["loaded"] == 2
    loaded = {row[0] for row in market.query("SELECT DISTINCT symbol FROM market_data")}
    assert {"AAPL.US", "VTI.US"} <= loaded


@pytest.mark.parametrize(("behaviour", "word"), OF_THE_RUN.items())
def test_an_account_error_stops_the_run_and_the_next_run_loads_the_rest(
    market: Any, behaviour: str, word: str
) -> None:
    symbols = [f"SYM{number:05d}.US" for number in range(8)]
    market.standin.control(answers={symbols[4]: [behaviour]})
    stopped = market.load(symbols=symbols, concurrency=1)
    assert word in stopped["problem"]
    assert stopped["totals"]["loaded"] == 4
    assert {entry["outcome"] for entry in stopped["not_loaded"]} == {"pending"}
    rest = market.load(symbols=symbols)
    assert "SUCCESS" in rest["report"]
    assert set(market.standin.counts()["paid"].values()) == {1}


def test_a_proxy_may_repeat_the_length(market: Any) -> None:
    market.standin.control(answers={"AAPL.US": ["length_twice"]}, sticky=True)
    assert "SUCCESS" in market.load()["report"]


@pytest.mark.parametrize("behaviour", REPEATED)
def test_failures_are_retried_a_bounded_number_of_times(market: Any, behaviour: str) -> None:
    market.standin.control(answers={"AAPL.US": [behaviour]})
    assert "SUCCESS" in market.load()["report"]
    market.standin.control(reset=True, answers={"MSFT.US": [behaviour]}, sticky=True)
    failed = market.load(symbols=["MSFT.US", "VTI.US"])
    assert [entry["outcome"] for entry in failed["not_loaded"]] == ["failed"]
    assert market.standin.counts()["asked"]["MSFT.US"] == 3
    assert failed["totals"]["loaded"] == 1
    # Failed symbols are requested again, loaded ones are not.
    market.standin.control(reset=True)
    assert market.load(symbols=["MSFT.US", "VTI.US"])["totals"]["calls"] == 1


@pytest.mark.parametrize("behaviour", ["stall", "trickle"])
def test_a_silent_or_trickling_answer_times_out(market: Any, behaviour: str) -> None:
    market.standin.control(answers={"AAPL.US": [behaviour, behaviour]})
    result = market.load()
    assert "SUCCESS" in result["report"]
    assert market.standin.counts()["asked"]["AAPL.US"] == 3


def test_a_refusal_of_every_symbol_mentions_the_token(market: Any) -> None:
    market.standin.control(answers={"*": ["ok", "forbidden"]}, sticky=True)
    result = market.load()
    assert "eodhd_api_token" in json.dumps(result)


@pytest.mark.parametrize(("clock", "side"), [(-7200, "2 hours ahead of"), (90000, "25 hours behind")])
def test_a_wrong_clock_costs_and_stores_nothing(market: Any, clock: float, side: str) -> None:
    market.standin.control(clock=clock)
    problem = market.load()["problem"]
    assert f"clock of this host is {side} EODHD's" in problem
    assert "No call was made" in problem
    assert market.standin.counts()["calls"] == 0


def test_a_clock_that_is_minutes_off_is_accepted(market: Any) -> None:
    market.standin.control(clock=300)
    assert "SUCCESS" in market.load()["report"]


def test_the_limit_per_minute_is_respected(market: Any) -> None:
    """The limit is read from the headers, and no request exceeds it or is refused."""
    market.standin.control(minute=20)
    symbols = [f"SYM{number:05d}.US" for number in range(40)]
    import threading

    from ansible.module_utils.eodhd import context as contexts
    from ansible.module_utils.eodhd.modes import history

    context = contexts.Context(market.request(symbols=symbols))
    threading.Timer(3, context.stop.set).start()
    with pytest.raises(Exception, match="pending"):
        history.run(context)
    context.close()
    counts = market.standin.counts()
    assert counts["peak_minute"] <= 20
    assert counts["refused"] == 0
    assert counts["calls"] >= 15


ODD = {
    "null": (
        '{"date":"DAY","open":null,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":7}',
        "open is null",
    ),
    "negative": (
        '{"date":"DAY","open":1,"high":2,"low":-1,"close":2,"adjusted_close":2,"volume":7}',
        "negative",
    ),
    "high<low": (
        '{"date":"DAY","open":1,"high":1,"low":2,"close":2,"adjusted_close":2,"volume":7}',
        "less than low",
    ),
    "NA": (
        '{"date":"DAY","open":1,"high":"NA","low":1,"close":2,"adjusted_close":2,"volume":7}',
        "no number",
    ),
    "torn": (
        '{"date":"DAY","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":1},'
        '{"date":"DAY","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":2}',
        "disagree",
    ),
}


@pytest.mark.parametrize(("raw", "reason"), ODD.values(), ids=list(ODD))
def test_a_bad_row_is_set_aside_and_resolved_once_it_is_correct(market: Any, raw: str, reason: str) -> None:
    market.load()
    day = market.query("SELECT (min(time) + interval '7 days')::date::text FROM market_data")[0][0]
    market.query("DELETE FROM market_data WHERE time = %s", day)
    raw = raw.replace("DAY", day)
    market.standin.control(rows={"AAPL.US": {day: raw}})
    for _ in range(2):
        result = market.load(force=True)
        aside = market.query("SELECT day::text, raw, reason, resolved FROM backfill_set_aside ORDER BY raw")
        assert len(aside) == raw.count("date")
        assert all(row[0] == day and reason in row[2] and row[3] is None for row in aside)
        assert "},".join(row[1] for row in aside).count("{") == raw.count("{")
        assert all(row[1] in raw for row in aside)
        assert result["totals"]["set_aside"] == len(aside)
        assert "SUCCESS" not in result["report"]
        assert market.query("SELECT count(*) FROM market_data WHERE time = %s", day) == [(0,)]
    market.standin.control(rows={})
    assert "SUCCESS" in market.load(force=True)["report"]
    assert market.query("SELECT count(*) FROM backfill_set_aside WHERE resolved IS NULL") == [(0,)]


def test_rows_outside_the_range_are_dropped(market: Any) -> None:
    row = '{"date":"2001-01-02","open":1,"high":2,"low":1,"close":2,"adjusted_close":2,"volume":7}'
    market.standin.control(extra={"AAPL.US": [row]})
    assert "SUCCESS" in market.load()["report"]
    assert market.query("SELECT count(*) FROM market_data WHERE time < '2002-01-01'") == [(0,)]


def test_digits_are_stored_exactly(market: Any) -> None:
    market.load(symbols=["BTC-USD.CC", "EURUSD.FOREX"], days=5)
    import requests

    for symbol in ("BTC-USD.CC", "EURUSD.FOREX"):
        answer = requests.get(
            f"{market.standin.url}/eod/{symbol}",
            {"api_token": market.request().token, "fmt": "json"},
            timeout=5,
        ).text
        stored = market.query(
            "SELECT close::text, time::date::text FROM market_data WHERE symbol = %s", symbol
        )
        assert len(stored) >= 4
        for close, day in stored:
            assert f'"close":{close},' in answer[answer.index(f'"date":"{day}"') :][:200]
