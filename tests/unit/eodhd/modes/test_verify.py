"""Adjusted closes computed by hand: a split, a dividend, both on one day, and differences."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from ansible.module_utils.eodhd.modes.verify import adjusted, differing

MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 11, day) for day in (16, 17, 18, 19))
CLOSES = {MONDAY: Decimal(100), TUESDAY: Decimal(104), WEDNESDAY: Decimal(25)}


def test_a_split_divides_earlier_closes() -> None:
    found = adjusted(CLOSES, {WEDNESDAY: Decimal(4)}, {})
    assert found == {MONDAY: 25, TUESDAY: 26, WEDNESDAY: 25}


def test_a_dividend_scales_earlier_closes() -> None:
    found = adjusted(CLOSES, {}, {TUESDAY: Decimal(10)})
    assert found == {MONDAY: 90, TUESDAY: 104, WEDNESDAY: 25}


def test_a_dividend_on_the_day_of_a_split_is_per_new_share() -> None:
    found = adjusted(CLOSES, {WEDNESDAY: Decimal(4)}, {WEDNESDAY: Decimal("2.6")})
    assert found[TUESDAY] == Decimal("23.4")
    assert found[MONDAY] == Decimal("22.5")


def test_an_action_on_a_day_without_a_bar_counts_from_the_next_bar() -> None:
    found = adjusted({MONDAY: Decimal(100), WEDNESDAY: Decimal(50)}, {TUESDAY: Decimal(2)}, {})
    assert found == {MONDAY: 50, WEDNESDAY: 50}


def test_days_that_differ_in_the_fourth_decimal_are_reported() -> None:
    computed = {MONDAY: Decimal("1.00004"), TUESDAY: Decimal("2.0001"), WEDNESDAY: Decimal("3.1")}
    provider = {MONDAY: Decimal(1), TUESDAY: Decimal(2), WEDNESDAY: Decimal(3), THURSDAY: Decimal(4)}
    assert differing(computed, provider) == [TUESDAY, WEDNESDAY]
