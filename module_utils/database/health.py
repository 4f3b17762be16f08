"""Can one work with this host now: a list of checks, each with a level, and the text for people.

A check looks at one thing and returns findings. ``fail`` makes the host unhealthy, ``warn`` does not. To add
a check, write a function of the ``Context`` and put it into ``CHECKS``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from ansible.module_utils.database import settings
from ansible.module_utils.database.connection import (
    Server,
    TimedOut,
    Unreachable,
    driver,
    explain,
    meaning,
    within,
)
from ansible.module_utils.reporting import Problem

BACKFILL = "ansible-playbook playbooks/backfill.yml"
# Seconds to wait for another session's lock; readers wait only for those who alter or empty a table.
LOCK_TIMEOUT = 1.0


@dataclass(frozen=True)
class Wanted:
    """A table that has to be there, and how many rows it has to hold at least."""

    name: str
    min_rows: int = 0

    @property
    def parts(self) -> list[str]:
        """Schema and table, or the table alone."""
        return self.name.split(".")


@dataclass(frozen=True)
class Count:
    """Rows of a table; None where they could not be counted."""

    rows: int | None
    estimated: bool = False

    def text(self) -> str:
        """As it is printed."""
        if self.rows is None:
            return "not counted"
        unit = "row" if self.rows == 1 else "rows"
        return f"about {self.rows:,} {unit} (estimate)" if self.estimated else f"{self.rows:,} {unit}"


@dataclass(frozen=True)
class Finding:
    """What a check says; ``level`` is ok, warn or fail, and the message of the latter two says what to do."""

    check: str
    level: str
    message: str


@dataclass
class Context:
    """What the checks look at, and what the first ones find out for the later ones.

    Attributes:
        env: path of the project's ``.env``.
        tables: what has to be there, in the order of the report.
        timeout: seconds for the connection.
        query_timeout: seconds for all counts together.
        count: ``exact``, ``estimate`` or ``auto``.
        open_connection: ``connection.connect``.
    """

    env: Path
    tables: Sequence[Wanted]
    timeout: float
    query_timeout: float
    count: str
    open_connection: Callable[..., Any]
    server: Server | None = None
    session: Any = None
    server_version: str | None = None
    latency_ms: float | None = None
    counts: dict[str, Count] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """A check by name; one that ``needs_session`` is left out where there is no connection."""

    name: str
    run: Callable[[Context], Iterator[Finding]]
    needs_session: bool = False


def wanted(entries: Sequence[object]) -> list[Wanted]:
    """Return the tables of ``health_tables``: names, ``schema.table``, or ``{name, min_rows}``.

    Raises:
        Problem: an entry is none of these.
    """
    tables = []
    for entry in entries:
        values = entry if isinstance(entry, Mapping) else {"name": entry}
        name, rows = values.get("name"), values.get("min_rows", 0)
        parts = name.split(".") if isinstance(name, str) else []
        try:
            if not 1 <= len(parts) <= 2 or not all(parts) or set(values) - {"name", "min_rows"}:
                raise ValueError
            tables.append(Wanted(".".join(parts), int(str(rows))))
        except ValueError:
            raise Problem(
                f"health_tables holds {entry!r}; expected table, schema.table, or"
                " {name: table, min_rows: number} (group_vars/all/health.yml)."
            ) from None
    return tables


def examine(context: Context, checks: Sequence[Check] | None = None) -> dict[str, Any]:
    """Run the checks and return the module's result; see its RETURN."""
    findings: list[Finding] = []
    try:
        for check in CHECKS if checks is None else checks:
            if context.session is not None or not check.needs_session:
                findings += _run(check, context)
    finally:
        if context.session is not None:
            context.session.close()
    return result(findings, context)


def _run(check: Check, context: Context) -> list[Finding]:
    """Run one check; what it cannot do becomes a finding, with the driver's text left behind."""
    findings: list[Finding] = []
    try:
        for finding in check.run(context):
            findings.append(finding)
    except Problem as problem:
        findings.append(Finding(check.name, "fail", str(problem)))
    except Unreachable as error:
        assert context.server is not None
        findings.append(Finding(check.name, "fail", explain(error, context.server)))
    return findings


def result(findings: Sequence[Finding], context: Context | None = None) -> dict[str, Any]:
    """Return the module's result for these findings; without a context nothing but them is known."""
    context = context or Context(Path(), [], 0, 0, "auto", lambda: None)
    healthy = all(finding.level != "fail" for finding in findings)
    return {
        "changed": False,
        "healthy": healthy,
        "tables": {name: count.rows for name, count in context.counts.items()},
        "estimated": [name for name, count in context.counts.items() if count.estimated],
        "server_version": context.server_version,
        "latency_ms": context.latency_ms,
        "url": context.server.masked_url() if context.server else None,
        "checks": [{"check": f.check, "level": f.level, "message": f.message} for f in findings],
        "problems": [finding.message for finding in findings if finding.level == "fail"],
        "report": report(findings, context, healthy),
    }


def report(findings: Sequence[Finding], context: Context, healthy: bool) -> str:
    """Return the text that people read."""
    lines = ["📊 Infrastructure Health Check"]
    if context.server:
        lines.append(f"Database: {context.server.masked_url()}")
    if context.server_version:
        lines.append("✅ Connection successful")
    if context.counts:
        lines.append("📈 Table Statistics:")
        lines += [f"   {name}: {count.text()}" for name, count in context.counts.items()]
    lines += [f"⚠️  {finding.message}" for finding in findings if finding.level == "warn"]
    lines += [f"❌ {finding.message}" for finding in findings if finding.level == "fail"]
    return "\n".join([*lines, "✅ System Healthy" if healthy else "❌ System Unhealthy"])


# --- settings ----------------------------------------------------------------------------------------------


def check_settings(context: Context) -> Iterator[Finding]:
    """The ``.env`` is there, can be read, and names what the application needs."""
    rewrite = "Write it with `ansible-playbook playbooks/reset.yml --tags dotenv`."
    path = str(context.env)
    try:
        if not context.env.is_file():
            yield Finding("settings", "fail", f"{path} is missing. {rewrite}")
            return
        found = settings.read(context.env.read_bytes(), path)
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}). Work as its owner, or as root (ansible_become)."
        ) from None
    dropped = ", ".join(map(str, found.dropped))
    malformed = f"{path} is malformed: python-dotenv ignores line {dropped}, which is no KEY=value."
    if found.missing:
        yield Finding(
            "settings",
            "fail",
            (f"{malformed} " if dropped else "")
            + f"{path} has no value for {', '.join(found.missing)}."
            + (f" Mend the line. {rewrite}" if dropped else f" {rewrite}"),
        )
    elif dropped:
        yield Finding("settings", "warn", f"{malformed} Mend or remove the line.")
    if "DB_URL" in found.missing:
        return
    driver()
    context.server = settings.server(found.values["DB_URL"], path)
    others = settings.disagreements(found.values, context.server)
    if others and not found.missing:
        yield Finding(
            "settings", "warn", f"{path}: {', '.join(others)} and DB_URL name different things. {rewrite}"
        )
    elif not found.missing:
        yield Finding("settings", "ok", f"{path} holds every setting that is needed")


# --- connection --------------------------------------------------------------------------------------------


def check_connection(context: Context) -> Iterator[Finding]:
    """The database answers within ``timeout``."""
    if context.server is None:
        return
    session = context.open_connection(
        context.server,
        context.timeout,
        read_only=True,
        statement_timeout=context.query_timeout,
        lock_timeout=LOCK_TIMEOUT,
    )
    session.autocommit = True
    context.session = session
    started = time.monotonic()
    with session.cursor() as cursor:
        _bounded(context, lambda: cursor.execute("SELECT 1"), context.timeout)
    context.latency_ms = round((time.monotonic() - started) * 1000, 1)
    context.server_version = session.info.parameter_status("server_version")
    yield Finding("connection", "ok", f"PostgreSQL {context.server_version} at {context.server.place()}")


def _bounded(context: Context, work: Callable[[], Any], seconds: float) -> Any:
    """Do something on the connection; where the server falls silent or away, there is no session any more."""
    try:
        return within(seconds, work)
    except TimedOut:
        # Not closed: that would wait for the statement that hangs. It ends with this process.
        context.session = None
        raise Unreachable("silent", "TimedOut") from None
    except driver().Error as error:
        context.session.close()
        context.session = None
        raise Unreachable(meaning(error), type(error).__name__) from None


# --- tables ------------------------------------------------------------------------------------------------


def check_tables(context: Context) -> Iterator[Finding]:
    """Every table is there, can be read, and holds rows enough."""
    # The server keeps the time-outs; the second more is for one that falls silent.
    findings: list[Finding] = _bounded(
        context, lambda: list(_count_tables(context)), context.query_timeout + 1
    )
    yield from findings


def _count_tables(context: Context) -> Iterator[Finding]:
    deadline = time.monotonic() + context.query_timeout
    estimates: dict[str, int | None] = {}
    counts: dict[str, Count] = {}
    with context.session.cursor() as cursor:
        for table in context.tables:
            try:
                _limit(cursor, deadline)
                estimates[table.name] = _estimate(cursor, table)
            except Problem as problem:
                yield Finding("tables", "fail", str(problem))
            except driver().Error as error:
                if context.session.closed:
                    raise
                yield Finding("tables", "fail", _table_problem(error, table, context, cursor))
        # The smallest first, so that one that takes all the time does not leave the others without.
        for table in sorted(context.tables, key=lambda table: estimates.get(table.name) or 0):
            if table.name in estimates:
                count = _count(cursor, table, estimates[table.name], context.count, deadline)
                counts[table.name] = count
    for table in context.tables:
        if table.name in counts:
            context.counts[table.name] = counts[table.name]
            yield judge(table, counts[table.name], context.count, context.query_timeout)


def judge(table: Wanted, count: Count, mode: str, query_timeout: float) -> Finding:
    """Decide what a count means."""
    if count.rows is None and mode != "estimate":
        level = "fail" if mode == "exact" or table.min_rows else "warn"
        message = (
            f"{table.name} could not be counted within {query_timeout:g} s, and was never analysed. Raise"
            f" health_query_timeout (group_vars/all/health.yml), or run ANALYZE {table.name} in the database."
        )
        if mode == "exact":
            message = (
                f"{table.name} could not be counted within {query_timeout:g} s. Raise health_query_timeout,"
                " or set health_count to auto (group_vars/all/health.yml)."
            )
        return Finding("tables", level, message)
    if count.rows is None:
        return Finding(
            "tables",
            "fail" if table.min_rows else "warn",
            f"{table.name} has no estimate, for it was never analysed. Run ANALYZE {table.name} in the"
            " database, or set health_count to auto (group_vars/all/health.yml).",
        )
    if count.rows < table.min_rows:
        return Finding(
            "tables",
            "fail",
            f"{table.name} holds {count.text()}, but health_tables asks for {table.min_rows:,} at least."
            f" Fill it with `{BACKFILL}`.",
        )
    if count.rows == 0:
        return Finding("tables", "warn", f"{table.name} is empty. Fill it with `{BACKFILL}`.")
    return Finding("tables", "ok", f"{table.name}: {count.text()}")


# A partitioned table keeps its rows in children; those that were never analysed say -1, empty ones too.
_ESTIMATE = """
WITH RECURSIVE tree(oid) AS (
  SELECT %s::oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.oid
)
SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint,
       coalesce(bool_or(CASE WHEN c.reltuples < 0 THEN pg_relation_size(c.oid) > 0 END), false)
FROM pg_class c JOIN tree USING (oid) WHERE c.relkind IN ('r', 'm')
"""


def _estimate(cursor: Any, table: Wanted) -> int | None:
    """Return the planner's number of rows, 0 for an empty table, None where it was never analysed.

    Raises:
        Problem: the table is missing.
        psycopg2.Error: it is locked, or may not be read.
    """
    from psycopg2 import sql

    name = sql.Identifier(*table.parts)
    cursor.execute("SELECT to_regclass(%s)::oid", (name.as_string(cursor),))
    (oid,) = cursor.fetchone()
    if oid is None:
        raise Problem(
            f"Table {table.name} is missing. Create it with `ansible-playbook playbooks/reset.yml --tags"
            " database`, or take it out of health_tables (group_vars/all/health.yml)."
        )
    # Meets locks and missing rights, and knows an empty table at once.
    cursor.execute(sql.SQL("SELECT EXISTS (SELECT FROM {})").format(name))
    if not cursor.fetchone()[0]:
        return 0
    cursor.execute(_ESTIMATE, (oid,))
    rows, unknown = cursor.fetchone()
    return None if unknown or rows == 0 else int(rows)


def _count(cursor: Any, table: Wanted, estimate: int | None, mode: str, deadline: float) -> Count:
    """Return the rows of a table that can be read."""
    from psycopg2 import errors, sql

    if mode == "estimate":
        return Count(estimate, estimated=bool(estimate))
    try:
        _limit(cursor, deadline)
        cursor.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(*table.parts)))
        return Count(int(cursor.fetchone()[0]))
    except (errors.QueryCanceled, errors.LockNotAvailable):
        return Count(estimate if mode == "auto" else None, estimated=mode == "auto" and estimate is not None)


def _limit(cursor: Any, deadline: float) -> None:
    """Give the next statement what is left of the time."""
    left = max(1, round((deadline - time.monotonic()) * 1000))
    lock = max(1, min(round(LOCK_TIMEOUT * 1000), left // 2))
    cursor.execute("SELECT set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)",
                   (str(left), str(lock)))  # fmt: skip


def _table_problem(error: Exception, table: Wanted, context: Context, cursor: Any) -> str:
    assert context.server is not None
    kind = meaning(error)
    if kind == "locked":
        return (
            f"Table {table.name} is locked by another session{_holders(cursor, table)}."
            " Wait for it, or end it with pg_terminate_backend; pg_stat_activity shows what it does."
        )
    if kind == "rights":
        return (
            f"User {context.server.user} may not read table {table.name}. Let an administrator run:"
            f' GRANT SELECT ON {table.name} TO "{context.server.user}";'
        )
    if kind == "slow":
        return (
            f"Table {table.name} gave no row within {context.query_timeout:g} s. Run VACUUM {table.name} in"
            f" the database, or raise health_query_timeout (group_vars/all/health.yml)."
        )
    text: str = explain(error, context.server)
    return f"Table {table.name}: {text}"


def _holders(cursor: Any, table: Wanted) -> str:
    from psycopg2 import sql

    cursor.execute(
        "SELECT string_agg(DISTINCT pid::text, ', ') FROM pg_locks"
        " WHERE relation = to_regclass(%s) AND mode = 'AccessExclusiveLock' AND granted",
        (sql.Identifier(*table.parts).as_string(cursor),),
    )
    (pids,) = cursor.fetchone()
    return f" (pid {pids})" if pids else ""


CHECKS: tuple[Check, ...] = (
    Check("settings", check_settings),
    Check("connection", check_connection),
    Check("tables", check_tables, needs_session=True),
)
