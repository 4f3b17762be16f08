"""Finds the split or dividend that caused a restatement."""

from __future__ import annotations

from typing import Any

# The last restated day is the one before the action took effect.
_CAUSES = """
SELECT r.symbol, r.last_day, a.text
FROM (SELECT symbol, max(day) AS last_day FROM backfill_revision
      WHERE run >= %(run)s AND found >= (SELECT started FROM backfill_run WHERE run = %(run)s)
        AND abs(old_adjusted_close * new_close - new_adjusted_close * old_close) > 0.0001 * abs(new_close + old_close)
      GROUP BY symbol) r
LEFT JOIN LATERAL (
  SELECT day, 'the split of ' || day || ' (' || new_shares::float8 || ':' || old_shares::float8 || ')' AS text
  FROM market_split s WHERE s.symbol = r.symbol AND s.day > r.last_day AND s.day <= r.last_day + 10
  UNION ALL
  SELECT day, 'the dividend of ' || day || ' (' || value::float8 || coalesce(' ' || currency, '') || ')'
  FROM market_dividend d WHERE d.symbol = r.symbol AND d.day > r.last_day AND d.day <= r.last_day + 10
  ORDER BY 1 LIMIT 1
) a ON true
ORDER BY r.symbol
"""


def explain(cursor: Any, run: int) -> list[str]:
    """Return a line with the cause for each symbol that was restated in a run or in the one that followed."""
    cursor.execute(_CAUSES, {"run": run})
    return [
        f"{symbol}: bars until {day} were restated by {text}"
        if text
        else f"{symbol}: bars until {day} were restated; unexplained: no split or dividend is known after that day"
        " (load them with backfill_mode=actions)"
        for symbol, day, text in cursor.fetchall()
    ]
