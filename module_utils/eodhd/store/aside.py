"""Loads rows that were set aside because a column was too narrow, once the column can hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd import migrations
from ansible.module_utils.eodhd.days import Range, utc_now
from ansible.module_utils.eodhd.store import assets, bars
from ansible.module_utils.eodhd.store.parser import TOO_NARROW, UNTRADED, Number, Parser, Width


def load_again(cursor: Any, widths: Mapping[str, Width]) -> int:
    """Load the rows that now fit into columns of these widths, mark them as resolved, and return their number.

    This makes no call. Raises ``Problem`` if the ledger is newer than this code.
    """
    if not there(cursor, "backfill_set_aside"):
        return 0
    cursor.execute(
        "SELECT symbol, day, raw, reason, run FROM backfill_set_aside"
        " WHERE resolved IS NULL AND day IS NOT NULL AND reason LIKE %s ORDER BY seen",
        (f"%{TOO_NARROW}%",),
    )
    kept = cursor.fetchall()
    parser = Parser(widths)
    lines: dict[tuple[str, date], str] = {}
    for symbol, day, raw, _reason, _run in kept:
        row = json.loads(raw, parse_float=Number, parse_int=Number)
        for line in parser.rows([row], symbol, Range(day, day)).lines:
            lines[symbol, day] = line  # the last one seen wins
    if lines:
        migrations.migrate(lambda work: work(cursor))
        symbols = sorted({symbol for symbol, _ in lines})
        run = max(run for _, _, _, _, run in kept)
        now = utc_now()
        new = assets.enter(cursor, symbols, now)
        bars.merge(cursor, run, list(lines.values()), dict.fromkeys(symbols, date.min))
        assets.mark_synced(cursor, symbols, now, new)
        cursor.execute(
            "UPDATE backfill_set_aside a SET resolved = now() FROM unnest(%s::text[], %s::date[]) AS k (symbol, day)"
            " WHERE a.symbol = k.symbol AND a.day = k.day AND a.resolved IS NULL AND a.reason LIKE %s",
            ([symbol for symbol, _ in lines], [day for _, day in lines], f"%{TOO_NARROW}%"),
        )
        cursor.execute(
            "UPDATE backfill_coverage SET outcome = 'loaded', message = ''"
            " WHERE symbol = ANY (%s) AND outcome = 'set_aside' AND symbol NOT IN"
            " (SELECT symbol FROM backfill_set_aside WHERE resolved IS NULL AND reason NOT LIKE %s)",
            (symbols, f"{UNTRADED}%"),
        )
    return len(lines)
