"""What is stored is counted right, whatever else the table has."""

from __future__ import annotations

from contextlib import closing
from datetime import date, timedelta
from typing import Any

from ansible.module_utils.eodhd.days import Range
from ansible.module_utils.eodhd.store import chunks, stored
from ansible.module_utils.eodhd.store.database import Database


def test_each_symbol_of_many_is_counted_in_its_own_ranges(market: Any) -> None:
    market.query("ALTER TABLE market_data ADD COLUMN a text, ADD COLUMN d text")
    market.query(
        "INSERT INTO market_data (time, symbol, open, high, low, close, adjusted_close, volume)"
        " SELECT day AT TIME ZONE 'UTC', s || '.US', 1, 1, 1, 1, 1, 1"
        " FROM generate_series(1, 18) AS s, generate_series('2024-01-01'::timestamp, '2024-01-20', '1 day') AS day"
    )
    first, last = date(2024, 1, 1), date(2024, 12, 31)
    wanted = [
        (f"{n}.US", Range(first, first + timedelta(days=n - 1)), Range(first + timedelta(days=n), last))
        for n in range(1, 19)
    ]
    with closing(Database(market.server, "stored")) as session:
        found = stored.count_stored(session, wanted, session.run(chunks.look))
    assert found == {f"{n}.US": (n, 20 - n) for n in range(1, 19)}
