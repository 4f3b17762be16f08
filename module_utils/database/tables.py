"""The database and the two tables of the application: what is missing, and what does not fit.

Existing tables stay as they are. They fit where the application can read and write them: the columns, types
that hold the values without changing their meaning, and a unique key for the upsert.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.database.connection import Server, driver
from ansible.module_utils.database.errors import Unreachable, cause, explain
from ansible.module_utils.reporting import Problem

# Seconds for one statement, and for its wait for a lock. CREATE DATABASE copies a template on the server.
STATEMENT_TIMEOUT = 60
LOCK_TIMEOUT = 10
# Any number will do that nobody else uses: two hosts create the tables one after the other.
_LOCK_KEY = 0x6D74352D637273

_TEXT = ("text", "character varying", "citext")
_INSTANT = ("timestamp with time zone",)
_MOMENT = ("timestamp with time zone", "timestamp without time zone")
_PRICE = ("numeric", "double precision")
_AMOUNT = ("bigint", "numeric", "double precision", "integer")


@dataclass(frozen=True)
class Column:
    """A column as it is created, and the types that serve as well; a table may lack an ``optional`` one."""

    name: str
    definition: str
    fitting: tuple[str, ...]
    optional: bool = False


@dataclass(frozen=True)
class Table:
    """A table of the application; ``key`` makes a row unique."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    def statement(self) -> str:
        """Return the statement that creates it, in the first schema of the search path."""
        columns = "".join(f"  {column.name} {column.definition},\n" for column in self.columns)
        return f"CREATE TABLE {self.name} (\n{columns}  PRIMARY KEY ({', '.join(self.key)})\n)"


TABLES = (
    Table(
        "assets",
        (
            Column("symbol", "text", _TEXT),
            Column("exchange", "text", _TEXT),
            Column("asset_type", "text", _TEXT),
            Column("is_active", "boolean DEFAULT true", ("boolean",)),
            Column("last_synced", "timestamptz", _INSTANT),
            # Set by the database alone, so their type is its own business.
            Column("created_at", "timestamptz DEFAULT now()", _MOMENT),
            Column("updated_at", "timestamptz DEFAULT now()", _MOMENT),
            Column("renamed_to", "text", _TEXT, optional=True),
        ),
        ("symbol",),
    ),
    Table(
        "market_data",
        (
            # Without a time zone, midnight UTC would mean another day in each session's own zone.
            Column("time", "timestamptz", _INSTANT),
            Column("symbol", "text", _TEXT),
            Column("open", "numeric", _PRICE),
            Column("high", "numeric", _PRICE),
            Column("low", "numeric", _PRICE),
            Column("close", "numeric", _PRICE),
            Column("adjusted_close", "numeric", _PRICE),
            Column("volume", "numeric", _AMOUNT),
        ),
        ("time", "symbol"),
    ),
)


@dataclass(frozen=True)
class Found:
    """A relation of the database under a table's name.

    Attributes:
        kind: ``relkind`` of pg_class: r table, p partitioned table, v view, …
        types: of each column, as ``format_type`` writes it; domains are resolved.
        needed: columns that refuse a row which does not name them.
        keys: the columns of each unique index that an upsert can use.
    """

    kind: str
    types: Mapping[str, str]
    needed: frozenset[str]
    keys: tuple[frozenset[str], ...]


_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table", "S": "a sequence"}


def misfits(table: Table, found: Found) -> list[str]:
    """Return what keeps the application from using an existing table: table, column, found, expected."""
    if found.kind not in ("r", "p"):
        return [f"{table.name} is {_KINDS.get(found.kind, 'no table')}; expected a table"]
    problems = []
    for column in table.columns:
        at, have = f"{table.name}.{column.name}", found.types.get(column.name)
        wanted = " or ".join(column.fitting)
        if have is None and column.optional:
            continue
        if have is None:
            problems.append(f"column {at} is missing; expected {wanted}")
        elif _base(have) not in column.fitting:
            problems.append(f"column {at} is {have}; expected {wanted}")
    ours = {column.name for column in table.columns}
    problems += [
        f"column {table.name}.{name} is NOT NULL without a default, and nothing fills it; expected a default"
        for name in sorted(found.needed - ours)
    ]
    if frozenset(table.key) not in found.keys:
        problems.append(
            f"{table.name} has no unique key on ({', '.join(table.key)}) that an upsert can use;"
            f" expected PRIMARY KEY ({', '.join(table.key)})"
        )
    return problems


def limits(table: Table, found: Found) -> list[str]:
    """Return where an existing table that fits would round a value or refuse a large one."""
    notes = []
    for column in table.columns:
        have, at = found.types[column.name], f"{table.name}.{column.name}"
        if have.startswith("numeric("):
            notes.append(f"{at} is {have}: digits that do not fit are rounded or refused")
        elif have in ("double precision", "integer"):
            notes.append(f"{at} is {have}, not {column.fitting[0]}: very long values do not fit")
    return notes


def _base(type_name: str) -> str:
    """Return a type without its precision: ``numeric(12,4)`` is ``numeric``."""
    return type_name.partition("(")[0].strip() + type_name.partition(")")[2]


_COLUMNS = """
SELECT c.relkind, a.attname, format_type(coalesce(nullif(t.typbasetype, 0), t.oid),
         CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END),
       a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS needed
FROM pg_class c
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_type t ON t.oid = a.atttypid
WHERE c.oid = to_regclass(%s)
"""
_KEYS = """
SELECT array_agg(a.attname::text)
FROM pg_index i
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indimmediate AND i.indisvalid
  AND i.indpred IS NULL AND i.indexprs IS NULL
GROUP BY i.indexrelid
"""


def look_up(cursor: Any, table: Table) -> Found | None:
    """Return what stands under a table's name in the search path, or None."""
    cursor.execute(_COLUMNS, (table.name,))
    rows = cursor.fetchall()
    if not rows:
        return None
    cursor.execute(_KEYS, (table.name,))
    return Found(
        kind=rows[0][0],
        types={name: type_name for _, name, type_name, _ in rows if name},
        needed=frozenset(name for _, name, _, needed in rows if needed),
        keys=tuple(frozenset(names) for (names,) in cursor.fetchall()),
    )


def ensure(
    server: Server,
    timeout: float,
    *,
    check: bool,
    open_connection: Callable[..., Any],
    tables: Sequence[Table] = TABLES,
) -> dict[str, Any]:
    """Create the database and its tables where they are missing.

    Args:
        server: the database and who asks.
        timeout: seconds for each connection.
        check: plan without applying.
        open_connection: ``connection.connect``.
        tables: what to create.

    Returns:
        dict: ``changed``, ``database`` and ``tables`` (``created`` or ``exists`` each), ``notes``, ``diff``.

    Raises:
        Problem: a table does not fit, a right is missing, or the server cannot be used; nothing was changed
            then, but for a database that was created before its tables could not be.
    """
    psycopg2 = driver()

    def connect(database: str) -> Any:
        return open_connection(
            Server(server.host, server.port, server.user, server.password, database),
            timeout,
            statement_timeout=STATEMENT_TIMEOUT,
            lock_timeout=LOCK_TIMEOUT,
        )

    try:
        created = False
        try:
            session = connect(server.database)
        except Unreachable as error:
            created = _create_database(server, error, connect, check=check)
            if check:
                return _result(server, created, {table.name: "created" for table in tables}, [])
            session = connect(server.database)
        with contextlib.closing(session):
            states, notes = _create_tables(session, tables, server, check=check)
        return _result(server, created, states, notes)
    except (Unreachable, psycopg2.Error) as error:
        raise Problem(explain(error, server), cause=cause(error)) from None


def _create_database(
    server: Server, error: Unreachable, connect: Callable[[str], Any], *, check: bool
) -> bool:
    """Create the database where it is missing; False where somebody else was quicker.

    Whether it is missing is asked of the server, whose messages may be in any language.

    Raises:
        Unreachable: the server cannot be asked.
        Problem: the user may not create databases.
    """
    from psycopg2 import errors, sql

    if error.kind in ("silent", "name", "refused", "network", "password"):
        raise error
    try:
        session = connect("postgres")
    except Unreachable:
        try:
            session = connect("template1")
        except Unreachable:
            raise error from None
    with contextlib.closing(session):
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (server.database,))
            if cursor.fetchone():
                return False  # created meanwhile, or out of reach for a reason that the next try tells
            cursor.execute("SELECT rolcreatedb OR rolsuper FROM pg_roles WHERE rolname = current_user")
            if not cursor.fetchone()[0]:
                raise Problem(
                    f"Database {server.database} is missing at {server.place()}, and user {server.user} may"
                    f' not create it. Let an administrator run: CREATE DATABASE "{server.database}" OWNER'
                    f' "{server.user}"; or name another database with postgres_db.'
                )
            if check:
                return True
            try:
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(server.database)))
            except (errors.DuplicateDatabase, errors.UniqueViolation):
                return False
    return True


def _create_tables(
    session: Any, tables: Sequence[Table], server: Server, *, check: bool
) -> tuple[dict[str, str], list[str]]:
    """Create the missing tables in one transaction, one host after the other."""
    states: dict[str, str] = {}
    problems: list[str] = []
    notes: list[str] = []
    with session, session.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
        for table in tables:
            found = look_up(cursor, table)
            states[table.name] = "exists" if found else "created"
            wrong = misfits(table, found) if found else []
            problems += wrong
            notes += limits(table, found) if found and not wrong else []
        if problems:
            raise Problem(
                f"Database {server.database} holds tables that do not fit: {'; '.join(problems)}."
                " Nothing was changed. Alter or rename them, or name another database with postgres_db.",
                problems=problems,
            )
        missing = [table for table in tables if states[table.name] == "created"]
        if missing:
            cursor.execute("SELECT has_schema_privilege(current_schema(), 'CREATE')")
            if not cursor.fetchone()[0]:
                raise Problem(
                    f"User {server.user} may not create tables in database {server.database}. Let an"
                    f' administrator run there: GRANT CREATE ON SCHEMA public TO "{server.user}";'
                )
        for table in [] if check else missing:
            cursor.execute(table.statement())
    return states, notes


def _result(server: Server, created: bool, states: dict[str, str], notes: list[str]) -> dict[str, Any]:
    lines = [(f"database {server.database}", created)]
    lines += [(f"table {name}", state == "created") for name, state in states.items()]
    return {
        "changed": any(new for _, new in lines),
        "database": "created" if created else "exists",
        "tables": states,
        "notes": notes,
        "diff": {
            "before_header": server.masked_url(),
            "after_header": server.masked_url(),
            "before": "".join(f"{line}\n" for line, new in lines if not new),
            "after": "".join(f"{line}\n" for line, _ in lines),
        },
    }
