"""Mode ``snapshot``: names a moment and stores a digest, so that the bars can be read as they were then."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.context import Context
from ansible.module_utils.eodhd.store import bars
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural


def run(context: Context) -> dict[str, Any]:
    """Create a snapshot, or check an existing one against its digest. This makes no call and copies no row.

    Raises:
        Problem: there is no name, or the rows of the snapshot have changed.
    """
    name = context.request.snapshot
    if not name:
        raise Problem("The snapshot has no name. Set -e backfill_snapshot=NAME.")
    context.look()
    found = None if context.absent else context.database.run(partial(_read, name=name))
    if context.request.check:
        plan = "exists" if found else "would be created; it costs no call"
        return {"changed": not found, "report": f"📋 PLAN snapshot {name}: {plan}"}
    if found:
        moment, had, then = found
        rows, digest = context.database.run(partial(_digested, moment=moment))
        if (rows, digest) != (had, then):
            raise Problem(
                f"Snapshot {name} of {moment:%Y-%m-%d %H:%M:%S} UTC had {plural(had, 'row')} and now has {rows:,},"
                " or other values. Another program has written to market_data or to the ledger."
                " Restore both from a backup of the database."
            )
    else:
        context.ledger.create()
        # At this moment, no batch is partly stored.
        [(_, moment)] = context.database.execute(
            "SELECT pg_advisory_xact_lock(%s), clock_timestamp() AT TIME ZONE 'UTC'", (bars.LOCK,)
        )
        rows, digest = context.database.run(partial(_digested, moment=moment))
        context.database.execute(
            "INSERT INTO backfill_snapshot (name, moment, rows, digest) VALUES (%s, %s, %s, %s)",
            (name, moment, rows, digest),
        )
    at = f"{moment.isoformat(sep=' ')}+00"
    state = "unchanged" if found else "created"
    return {
        "changed": not found,
        "snapshot": {"name": name, "moment": at, "rows": rows, "digest": digest},
        "report": f"📸 SNAPSHOT {name}: {state}, {plural(rows, 'row')}\n   market_data_asof('{at}') reads it",
    }


def _read(cursor: Any, name: str) -> Any:
    if not there(cursor, "backfill_snapshot"):
        return None
    cursor.execute(
        "SELECT moment AT TIME ZONE 'UTC', rows, digest FROM backfill_snapshot WHERE name = %s", (name,)
    )
    return cursor.fetchone()


def _digested(cursor: Any, moment: datetime) -> Any:
    """Return count and digest of the rows as they were at a moment, in UTC."""
    bars.hold(cursor)
    cursor.execute("SELECT rows, digest FROM market_data_digest(%s::timestamp AT TIME ZONE 'UTC')", (moment,))
    return cursor.fetchone()
