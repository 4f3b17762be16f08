"""The options of a run, and the spelling of symbols."""

from __future__ import annotations

import pytest
from ansible.module_utils.database.server import Server
from ansible.module_utils.eodhd.model import Request, normalise
from ansible.module_utils.reporting import Problem


def test_a_run_without_requests_is_refused() -> None:
    with pytest.raises(Problem, match="backfill_concurrency is 0; it must be at least 1"):
        Request("history", Server("h", 1, "u", "p", "d"), "https://example.org", "token", concurrency=0)


def test_symbols() -> None:
    given = ["aapl", " MSFT.US # the second", "", "BRK-B.US", "AT&T.US", "AAPL.US", "btc-usd.cc", "X_old.US"]
    found = ["AAPL.US", "MSFT.US", "BRK-B.US", "AT&T.US", "BTC-USD.CC", "X_old.US"]
    assert normalise(given, "US") == found
    for wrong in (["B.R.K"], ["A US"], ["../user.US"], ["A.US?x"], ["A/B.US"]):
        with pytest.raises(Problem, match="not EODHD symbols"):
            normalise(wrong, "US")
    with pytest.raises(Problem, match="no symbols to load"):
        normalise([], "US")


def test_a_symbol_file_may_start_with_a_byte_order_mark() -> None:
    assert normalise(["\ufeffAAPL.US", "MSFT\r"], "US") == ["AAPL.US", "MSFT.US"]


def test_a_missing_symbol_file_is_reported() -> None:
    with pytest.raises(
        Problem, match="not EODHD symbols: lists/mine. .* no such file on the machine that runs"
    ):
        normalise(["lists/mine"], "US")
