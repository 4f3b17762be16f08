"""Lists of symbols, and renames."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.eodhd.modes import register

# What PostgreSQL cannot store, or what would move a value into the next column.
ODD = pytest.mark.parametrize("odd", ["\x00", "\ud800", "\t"])


@ODD
def test_a_name_that_cannot_be_stored_does_not_end_the_run(odd: str) -> None:
    [line] = register.listing(json.dumps([{"Code": "A", "Name": f"A{odd}B"}]).encode(), "US", False).lines
    assert "\x00" not in line
    assert len(line.encode().split(b"\t")) == 8


@ODD
def test_an_odd_rename_is_ignored(odd: str) -> None:
    rows = [{"old_symbol": old, "new_symbol": "B", "effective": "2024-01-31"} for old in ("A", f"A{odd}B")]
    assert register.renames(json.dumps(rows).encode()).lines == ["A.US\tB.US\t2024-01-31\n"]
