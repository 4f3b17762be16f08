"""The scheduler's state in one SQLite file: runs, lasting problems, progress.

If the disk is full, the state moves to the runtime folder (in memory), so that no message is sent twice. It moves back
when there is space again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

FILE = "schedule.sqlite"
# The columns of runs are in the order of the fields of ``Run``.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, job TEXT NOT NULL, began REAL NOT NULL, ended REAL,
  outcome TEXT NOT NULL, hosts INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '', log TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS runs_job ON runs (job, began);
CREATE TABLE IF NOT EXISTS problems (cause TEXT PRIMARY KEY, problem TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
RUNNING, OK, FAILED, CUT, MET, NOTHING = "running", "ok", "failed", "cut", "met", "nothing"
# Outcomes of runs that did something; ``met`` and ``nothing`` mean that there was nothing to do.
TELLING = (OK, FAILED, CUT)


@dataclass(frozen=True)
class Run:
    """One run of a job: ids sort by time, times are seconds since 1970, numbers are totals over all hosts."""

    id: str
    job: str
    began: float
    ended: float | None = None
    outcome: str = RUNNING
    hosts: int = 0
    failed: int = 0
    changed: int = 0
    calls: int = 0
    rows: int = 0
    note: str = ""
    log: str = ""


@dataclass(frozen=True)
class Lasting:
    """A problem and all hosts that have it; times are seconds since 1970.

    Attributes:
        jobs: those that found it and have not succeeded since.
        told: whether its first message was sent.
        over: when it ended; 0 while it lasts.
    """

    cause: str
    since: float
    hosts: tuple[str, ...]
    jobs: tuple[str, ...]
    message: str
    evidence: str = ""
    told: bool = False
    over: float = 0.0


class State:
    """The scheduler's state in ``folder``, or in ``spare``, which is in memory; each method is one transaction."""

    def __init__(self, folder: Path, spare: Path) -> None:
        self._turn = spare / "state.lock"
        self._spare = spare / FILE
        self._place = folder / FILE
        self.fault = ""

    def _execute(self, *steps: tuple[str, Sequence[Any]]) -> list[Any]:
        """Execute statements in one transaction, and return the rows of the last one."""
        with in_turn(self._turn):
            try:
                return _executed(self._open(), steps)
            except sqlite3.OperationalError as error:  # the disk has just become full; nothing was written
                if self._spare.exists():
                    raise
                return _executed(self._in_memory(error), steps)

    def _open(self) -> sqlite3.Connection:
        try:
            if self._spare.exists():
                _copy(self._spare, self._place)
                self._spare.unlink()
            connection = _connected(self._place)
        except (OSError, sqlite3.Error) as error:
            return self._in_memory(error)
        self.fault = ""
        return connection

    def _in_memory(self, error: Exception) -> sqlite3.Connection:
        """Continue with a copy in memory."""
        self.fault = type(error).__name__
        if not self._spare.exists():
            with contextlib.suppress(sqlite3.Error):
                _copy(self._place, self._spare)
        return _connected(self._spare)

    def keep(self, run: Run) -> None:
        """Insert or update a run."""
        insert = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        self._execute((insert, astuple(run)))

    def runs(self) -> list[Run]:
        """Return all runs, oldest first."""
        return [Run(*row) for row in self._execute(("SELECT * FROM runs ORDER BY began, id", ()))]

    def last(self) -> dict[str, Run]:
        """Return each job's last run that did something or is still running."""
        last = "SELECT max(id) FROM runs WHERE outcome NOT IN (?, ?) GROUP BY job"
        rows = self._execute((f"SELECT * FROM runs WHERE id IN ({last})", (NOTHING, MET)))  # noqa: S608
        return {run.job: run for run in (Run(*row) for row in rows)}

    def forget(self, before: float) -> None:
        """Delete runs that began before a moment."""
        self._execute(("DELETE FROM runs WHERE began < ?", (before,)))

    def problems(self) -> list[Lasting]:
        """Return the lasting problems, and ended ones whose message was not sent."""
        rows = self._execute(("SELECT problem FROM problems ORDER BY cause", ()))
        found = [Lasting(**json.loads(text)) for (text,) in rows]
        return [replace(each, hosts=tuple(each.hosts), jobs=tuple(each.jobs)) for each in found]

    def keep_problems(self, problems: list[Lasting]) -> None:
        """Replace the stored problems."""
        insert = "INSERT INTO problems VALUES (?, ?)"
        kept = [(insert, (each.cause, json.dumps(asdict(each)))) for each in problems]
        self._execute(("DELETE FROM problems", ()), *kept)

    def mark(self, name: str) -> str:
        """Return the value that ``keep_mark`` stored under a name; empty if there is none."""
        rows = self._execute(("SELECT value FROM marks WHERE name = ?", (name,)))
        return str(rows[0][0]) if rows else ""

    def keep_mark(self, name: str, value: str) -> None:
        """Store a value under a name."""
        self._execute(("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value)))


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    connection.executescript(_SCHEMA)  # raises an error if the file is damaged
    return connection


def _executed(connection: sqlite3.Connection, steps: Iterable[tuple[str, Sequence[Any]]]) -> list[Any]:
    rows: list[Any] = []
    with contextlib.closing(connection), connection:
        for step in steps:
            rows = connection.execute(*step).fetchall()
    return rows


def _copy(path: Path, target: Path) -> None:
    with (
        contextlib.closing(sqlite3.connect(path)) as source,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        source.backup(copy)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock during the block; yield False if another process holds it. The kernel releases it at a kill."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for a lock and hold it during the block."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
