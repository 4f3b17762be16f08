"""Splits and dividends of an answer."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.eodhd.store import actions


@pytest.mark.parametrize("odd", ["\x00", "\ud800"])
def test_a_text_that_cannot_be_stored_is_left_out(odd: str) -> None:
    row = {"date": "2024-01-31", "value": 0.5, "currency": odd, "period": "Quarterly"}
    [line] = actions.parse(json.dumps([row]).encode(), actions.DIVIDENDS, lambda _: "A.US").lines
    found = json.loads(line)
    assert (found["value"], found["currency"], found["period"]) == ("0.5", None, "Quarterly")


def test_the_name_of_a_list_may_have_a_space() -> None:
    assert actions.split_name("splits NYSE ARCA 2024-01-31") == (actions.SPLITS, "NYSE ARCA", "2024-01-31")
    assert actions.split_name("dividends AAPL.US") == (actions.DIVIDENDS, "AAPL.US", "")
