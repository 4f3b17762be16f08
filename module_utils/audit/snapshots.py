"""The check that each named snapshot of the bars still reads as when it was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible.module_utils.audit.model import WARN, Judgement, judged
from ansible.module_utils.database.tables import there


def read(cursor: Any) -> list[dict[str, Any]]:
    """Return ``name``, ``rows`` and ``digest`` of each snapshot, then and now; empty without a ledger."""
    if not there(cursor, "backfill_snapshot"):
        return []
    cursor.execute(
        "SELECT s.name, s.rows, s.digest, d.rows, d.digest FROM backfill_snapshot s,"
        " market_data_digest(s.moment) d ORDER BY s.moment"
    )
    names = ("name", "rows", "digest", "rows_now", "digest_now")
    return [dict(zip(names, row)) for row in cursor.fetchall()]


def checks(found: Sequence[Mapping[str, Any]] | None) -> Iterator[Judgement]:
    """Each snapshot reads as when it was made; ``found`` is None if there was not enough time."""
    if found is None:
        expected, reason = "every snapshot is unchanged", "not read in time"
        yield judged("Rows", "snapshots", expected, reason, False, "Raise audit_query_timeout.", WARN)
    for each in found or ():
        same = (each["rows"], each["digest"]) == (each["rows_now"], each["digest_now"])
        yield judged(
            "Rows",
            f"snapshot {each['name']}",
            f"{each['rows']:,} rows, unchanged",
            "unchanged" if same else f"{each['rows_now']:,} rows, or other values",
            same,
            "Something besides the backfill has written to market_data or to the ledger. Restore both from a backup.",
        )
