"""The scheduler's state in one SQLite file: runs, lasting problems, progress.

If the disk is full, the state moves to the runtime folder (in memory), so that no message is sent twice. It moves back
when there is space again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

FILE = "schedule.sqlite"
SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (id TEXT PRIMARY KEY, job TEXT NOT NULL, began REAL NOT NULL, ended REAL,
  outcome TEXT NOT NULL, hosts INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
  changed INTEGER NOT NULL DEFAULT 0, calls INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0,
  note TEXT NOT NULL DEFAULT '', log TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS runs_job ON runs (job, began);
CREATE TABLE IF NOT EXISTS problems (cause TEXT PRIMARY KEY, problem TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS marks (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
# In the order of the fields of ``Run``.
SELECT = "SELECT id, job, began, ended, outcome, hosts, failed, changed, calls, rows, note, log FROM runs"
KEEP = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
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
    """The scheduler's state; each method is one transaction.

    Args:
        folder: where the file is.
        spare: a folder in memory, used while the file cannot be written.

    Raises:
        OSError, sqlite3.Error: neither can be used.
    """

    def __init__(self, folder: Path, spare: Path) -> None:
        self._turn = spare / "state.lock"
        self._spare = spare / FILE
        self._place = folder / FILE
        self.fault = ""

    def _open(self) -> sqlite3.Connection:
        self.fault = ""
        if self._spare.exists():
            try:
                self._bring_back()
            except (OSError, sqlite3.Error) as error:
                self.fault = type(error).__name__
                return _connected(self._spare)
        try:
            return _connected(self._place)
        except (OSError, sqlite3.Error) as error:
            self.fault = type(error).__name__
            return self._in_memory()

    def _in_memory(self) -> sqlite3.Connection:
        """Continue with a copy in memory."""
        if not self._spare.exists():
            with (
                contextlib.closing(sqlite3.connect(self._spare)) as copy,
                contextlib.suppress(sqlite3.Error),
                contextlib.closing(sqlite3.connect(f"file:{self._place}?mode=ro", uri=True)) as source,
            ):
                source.backup(copy)
        return _connected(self._spare)

    def _bring_back(self) -> None:
        with (
            contextlib.closing(sqlite3.connect(self._spare)) as source,
            contextlib.closing(sqlite3.connect(self._place)) as target,
        ):
            source.backup(target)
        self._spare.unlink()

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[sqlite3.Connection]:
        with in_turn(self._turn):
            connection = self._open()
            try:
                with connection:
                    yield connection
            finally:
                connection.close()

    def _write(self, *steps: tuple[str, tuple[Any, ...]]) -> None:
        def work(connection: sqlite3.Connection) -> None:
            for step in steps:
                connection.execute(*step)

        try:
            with self._cursor() as connection:
                work(connection)
        except sqlite3.OperationalError as error:  # the disk has just become full; nothing was written
            if self._spare.exists():
                raise
            self.fault = type(error).__name__
            with contextlib.closing(self._in_memory()) as connection, connection:
                work(connection)

    def keep(self, run: Run) -> None:
        """Insert or update a run."""
        self._write((KEEP, tuple(asdict(run).values())))

    def runs(self) -> list[Run]:
        """Return all runs, oldest first."""
        with self._cursor() as connection:
            return [Run(*row) for row in connection.execute(SELECT + " ORDER BY began, id")]

    def last(self) -> dict[str, Run]:
        """Return each job's last run that did something or is still running."""
        with self._cursor() as connection:
            rows = connection.execute(
                SELECT + " WHERE id IN (SELECT max(id) FROM runs WHERE outcome NOT IN (?, ?) GROUP BY job)",  # noqa: S608
                (NOTHING, MET),
            ).fetchall()
        return {run.job: run for run in (Run(*row) for row in rows)}

    def forget(self, before: float) -> None:
        """Delete runs that began before a moment."""
        self._write(("DELETE FROM runs WHERE began < ?", (before,)))

    def problems(self) -> list[Lasting]:
        """Return the lasting problems, and ended ones whose message was not sent."""
        with self._cursor() as connection:
            rows = connection.execute("SELECT problem FROM problems ORDER BY cause").fetchall()
        found = [Lasting(**json.loads(text)) for (text,) in rows]
        return [replace(each, hosts=tuple(each.hosts), jobs=tuple(each.jobs)) for each in found]

    def keep_problems(self, problems: list[Lasting]) -> None:
        """Replace the stored problems."""
        insert = "INSERT INTO problems VALUES (?, ?)"
        kept = [(insert, (each.cause, json.dumps(asdict(each)))) for each in problems]
        self._write(("DELETE FROM problems", ()), *kept)

    def mark(self, name: str) -> str:
        """Return the value that ``keep_mark`` stored under a name; empty if there is none."""
        with self._cursor() as connection:
            row = connection.execute("SELECT value FROM marks WHERE name = ?", (name,)).fetchone()
        return row[0] if row else ""

    def keep_mark(self, name: str, value: str) -> None:
        """Store a value under a name."""
        self._write(("INSERT OR REPLACE INTO marks VALUES (?, ?)", (name, value)))

    def session(self, job: str) -> date | None:
        """Return the newest session that a job has loaded; None if there is none."""
        day = self.mark(f"session {job}")
        return date.fromisoformat(day) if day else None

    def keep_session(self, job: str, day: date) -> None:
        """Record that a job has loaded a session."""
        self.keep_mark(f"session {job}", day.isoformat())


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold a lock during the block; yield False if another process holds it. The kernel releases it at a kill."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _connected(path: Path) -> sqlite3.Connection:
    new = not path.exists() or not path.stat().st_size
    connection = sqlite3.connect(path, timeout=30)
    if new:
        connection.executescript(SCHEMA)
    connection.execute("SELECT count(*) FROM sqlite_master")  # raises an error if the file is damaged
    return connection


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for a lock and hold it during the block."""
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
