"""A database session that survives lost connections: it runs work in transactions and retries it.

On Citus, it also waits for transactions in doubt: the coordinator committed, but a worker stopped before it did.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Callable, TypeVar

from ansible.module_utils.database.connection import Unreachable, connect, driver
from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import there
from ansible.module_utils.reporting import Problem

T = TypeVar("T")

# Timeouts in seconds of connecting, and of a statement's wait for a lock.
CONNECT_TIMEOUT = 10.0
LOCK_TIMEOUT = 60.0
# Seconds to wait for a database that restarts.
PATIENCE = 60.0
# SQLSTATEs that are retried on the same connection: serialization failure, deadlock.
_RETRIED = ("40001", "40P01")
# How often: finding a deadlock caused by compression takes a second, and all retries may take a minute.
TRIES = 20
# By default, TimescaleDB decompresses at most 100,000 rows per transaction; a few restated histories have more. Citus
# opens a worker connection per shard and closes all but one again, which costs more than it gains.
PREPARE = """
SELECT set_config(name, wanted, false) FROM (VALUES
  ('timescaledb.max_tuples_decompressed_per_dml_transaction', '0'), ('citus.max_adaptive_executor_pool_size', '1')
) AS k (name, wanted) WHERE current_setting(name, true) IS NOT NULL
"""
# SQLSTATE classes of a lost connection: connection exceptions, and a server that restarts.
_LOST = ("08", "57P")


@dataclass(eq=False)
class Database:
    """Runs work in transactions, from any thread, one at a time.

    Attributes:
        server: what to connect to.
        name: as ``pg_stat_activity`` shows it.
        patience: seconds to wait for a lost database.
        sleep: in seconds.
        opened: called with a cursor of each new connection, in its own transaction.
    """

    server: Server
    name: str
    patience: float = PATIENCE
    sleep: Callable[[float], object] = time.sleep
    opened: Callable[[Any], None] = lambda cursor: None

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None
        self._errors = driver()

    def run(self, work: Callable[[Any], T]) -> T:
        """Return what ``work`` returns for a cursor, in one transaction, which is committed.

        ``work`` is called again after a lost connection or a deadlock, so it must be repeatable.

        Raises:
            Unreachable: the database was away for longer than ``patience``.
            psycopg2.Error: a retry would not help.
        """
        with self._lock:
            deadline: float | None = None
            collisions = 0
            while True:
                try:
                    self._connect()
                    with self._connection, self._connection.cursor() as cursor:
                        return work(cursor)
                except (Unreachable, self._errors.Error) as error:
                    code = str(getattr(error, "pgcode", None) or "")
                    if self._connection is not None and (self._connection.closed or code.startswith(_LOST)):
                        self._disconnect()
                    if code in _RETRIED and collisions < TRIES:
                        collisions += 1
                        # A random pause, so that the same transactions do not collide again.
                        self.sleep(random.uniform(0, 0.1 * min(collisions, 10)))  # noqa: S311
                        continue
                    deadline = deadline or time.monotonic() + self.patience
                    if not self._lost(error, code) or time.monotonic() > deadline:
                        raise
                    self.sleep(0.3)

    def _lost(self, error: Exception, code: str) -> bool:
        if isinstance(error, Unreachable):
            return error.kind in ("refused", "silent", "closed", "starting", "network", "connections")
        # Errors without a code are from libpq: the connection was lost.
        libpq = (self._errors.OperationalError, self._errors.InterfaceError)
        return code.startswith(_LOST) if code else isinstance(error, libpq)

    def execute(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Return the rows of one statement, in its own transaction; none if it returns nothing."""

        def work(cursor: Any) -> list[Any]:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.description else []

        return self.run(work)

    def prepare(self) -> None:
        """Connect in a thread, so that the first ``run`` need not; if this fails, ``run`` retries and reports it."""

        def work() -> None:
            with self._lock, contextlib.suppress(Unreachable, self._errors.Error):
                self._connect()

        threading.Thread(target=work, daemon=True).start()

    def _connect(self) -> None:
        if self._connection is not None:
            return
        fresh = connect(self.server, CONNECT_TIMEOUT, lock_timeout=LOCK_TIMEOUT, application_name=self.name)
        with fresh, fresh.cursor() as cursor:
            cursor.execute(PREPARE)
            self.opened(cursor)
        self._connection = fresh

    def close(self) -> None:
        """Close the connection; a later ``run`` opens another."""
        with self._lock:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(self._errors.Error):
                self._connection.close()
            self._connection = None


# --- in doubt -----------------------------------------------------------------------------------------------

# Until the coordinator finishes these, which it does once a minute, their rows are invisible: a plan would request them
# again, and a store of the same rows would wait.
# Seconds between two checks, and how many: twice the coordinator's minute (citus.recover_2pc_interval).
PAUSE = 0.5
LOOKS = 260
_PREPARED = """
SELECT result FROM run_command_on_workers($$
  SELECT coalesce(string_agg(gid, ' '), '') FROM pg_prepared_xacts
  WHERE database = current_database() AND gid LIKE 'citus\\_%'
$$) WHERE success
"""


def wait_for_doubtful(database: Database) -> None:
    """Wait until the transactions in doubt at the call are decided; raise ``Problem`` if that takes too long."""
    doubtful = database.run(_in_doubt)
    for _ in range(LOOKS):
        if not doubtful:
            return
        database.sleep(PAUSE)
        # Leave out transactions that other runs have begun since.
        doubtful &= database.run(_in_doubt)
    if doubtful:
        raise Problem(
            f"{len(doubtful)} transactions of Citus are in doubt since a worker stopped, and their rows are invisible."
            " No call was made. Let an administrator run `SELECT recover_prepared_transactions()` on the coordinator,"
            " and check citus.recover_2pc_interval there. Then run the same command again."
        )


def _in_doubt(cursor: Any) -> set[str]:
    """Return the names of the transactions that Citus's workers have prepared but not committed."""
    if not there(cursor, "pg_dist_node"):
        return set()
    cursor.execute(_PREPARED)
    return {name for (names,) in cursor.fetchall() for name in names.split()}
