"""In-doubt transactions of Citus: the coordinator committed, but a worker stopped before it did.

Until the coordinator finishes them, which it does once a minute, their rows are invisible: a plan would request them
again, and a store of the same rows would wait.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from ansible.module_utils.database.tables import there
from ansible.module_utils.eodhd.store.database import Database
from ansible.module_utils.reporting import Problem

# Seconds between two checks, and how many: twice the coordinator's minute (citus.recover_2pc_interval).
PAUSE = 0.5
LOOKS = 260
_PREPARED = """
SELECT result FROM run_command_on_workers($$
  SELECT coalesce(string_agg(gid, ' '), '') FROM pg_prepared_xacts
  WHERE database = current_database() AND gid LIKE 'citus\\_%'
$$) WHERE success
"""


def wait(database: Database, sleep: Callable[[float], object] = time.sleep) -> None:
    """Wait until the transactions in doubt at the call are decided; raise ``Problem`` if that takes too long."""
    doubtful = database.run(in_doubt)
    for _ in range(LOOKS):
        if not doubtful:
            return
        sleep(PAUSE)
        # Leave out transactions that other runs have begun since.
        doubtful &= database.run(in_doubt)
    if doubtful:
        raise Problem(
            f"{len(doubtful)} transactions of Citus are in doubt since a worker stopped, and their rows are invisible."
            " No call was made. Let an administrator run `SELECT recover_prepared_transactions()` on the coordinator,"
            " and check citus.recover_2pc_interval there. Then run the same command again."
        )


def in_doubt(cursor: Any) -> set[str]:
    """Return the names of the transactions that Citus's workers have prepared but not committed."""
    if not there(cursor, "pg_dist_node"):
        return set()
    cursor.execute(_PREPARED)
    return {name for (names,) in cursor.fetchall() for name in names.split()}
