"""How many chunks of a table one transaction touches."""

from __future__ import annotations

from datetime import date, timedelta

from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.store.chunks import Chunks
from hypothesis import given
from hypothesis import strategies as st

LONG = Range(date(1996, 1, 1), date(2026, 11, 26))


def test_a_table_without_chunks_is_one_slice() -> None:
    assert Chunks().slices(LONG) == [LONG]


@given(st.integers(1, 400), st.integers(2, 500), st.integers(0, 12_000))
def test_slices_are_consecutive_and_touch_no_more_chunks_than_allowed(
    days: int, most: int, length: int
) -> None:
    asked = Range(LONG.first, LONG.first + timedelta(days=length))
    slices = Chunks(LONG, days, most).slices(asked)
    assert (slices[0].first, slices[-1].last) == (asked.first, asked.last)
    assert all((after.first - before.last).days == 1 for before, after in zip(slices, slices[1:]))
    # For every position of the chunks' borders.
    assert all((piece.days - 2) // days + 2 <= most for piece in slices)
