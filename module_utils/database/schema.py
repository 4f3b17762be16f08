"""Plan and create what is missing of the database, its tables, their layout and the roles."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Callable

from ansible.module_utils.database import connection, layout
from ansible.module_utils.database.connection import Unreachable, cause, explain, server_message
from ansible.module_utils.database.layout import Layout
from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import (
    BARS,
    FIGURES,
    TABLES,
    Found,
    Table,
    look_up,
    misfits,
    widening,
)
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

# Seconds for one statement, and for a lock. CREATE DATABASE copies a template on the server.
STATEMENT_TIMEOUT = 60
LOCK_TIMEOUT = 10
# An arbitrary advisory lock: only one host at a time creates the tables.
_LOCK_KEY = 0x6D74352D637273


@dataclass
class Schema:
    """Creates the database, its roles and its tables if they are missing.

    ``application`` holds the database and the application's role, and ``timeout`` the seconds for each connection.
    ``admin`` holds user and password of the administrator; by default, the application's role creates everything.
    """

    application: Server
    timeout: float
    check: bool
    layout: Layout = field(default_factory=Layout)
    widen: bool = False
    admin: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        user, password = self.admin or (self.application.user, self.application.password)
        self.server = replace(self.application, user=user, password=password)
        self.notes: list[str] = []
        self.states: dict[str, str] = {}
        self.rights: list[str] = []
        self.found = "none"

    def ensure(self) -> dict[str, Any]:
        """Create what is missing, and return the result of the module ``postgres_schema``.

        Raises:
            Problem: a table does not fit, a right is missing, or the server cannot be used. Nothing was changed
                then, except that a new database may exist without its tables.
        """
        psycopg2 = connection.driver()
        try:
            created = False
            try:
                session = self._connect(self.server.database)
            except Unreachable as error:
                created = self._create_database(error)
                if self.check:
                    self.states = {table.name: "created" for table in TABLES}
                    return self._result(created)
                session = self._connect(self.server.database)
            with contextlib.closing(session):
                self._create_tables(session)
                if self.admin:
                    self._grant(session)
            return self._result(created)
        except (Unreachable, psycopg2.Error) as error:
            raise Problem(explain(error, self.server), cause=cause(error)) from None

    def _connect(self, database: str, **elsewhere: Any) -> Any:
        return connection.connect(
            replace(self.server, database=database, **elsewhere),
            self.timeout,
            statement_timeout=STATEMENT_TIMEOUT,
            lock_timeout=LOCK_TIMEOUT,
        )

    def _create_database(self, error: Unreachable) -> bool:
        """Create the database if it is missing; return whether this call created it.

        It queries the server, because the message of ``error`` may be in any language. If that fails, it raises
        ``error`` again.
        """
        from psycopg2 import errors, sql

        if error.kind in ("silent", "name", "refused", "network", "password"):
            raise error
        try:
            session = self._connect("postgres")
        except Unreachable:
            try:
                session = self._connect("template1")
            except Unreachable:
                raise error from None
        with contextlib.closing(session):
            session.autocommit = True
            with session.cursor() as cursor:
                name, user = self.server.database, self.server.user
                cursor.execute(
                    "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = %s), rolcreatedb OR rolsuper"
                    " FROM pg_roles WHERE rolname = current_user",
                    (name,),
                )
                exists, may = cursor.fetchone()
                if exists:
                    return False  # just created by another host, or the next attempt reports the real error
                if not may:
                    raise Problem(
                        f"Database {name} is missing at {self.server.place()}, and user {user} may not create it."
                        f' Let an administrator run: CREATE DATABASE "{name}" OWNER "{user}"; or set'
                        " postgres_admin_user, or set postgres_db to another database."
                    )
                if self.check:
                    return True
                try:
                    cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
                except (errors.DuplicateDatabase, errors.UniqueViolation):
                    return False
        return True

    def _create_tables(self, session: Any) -> None:
        """Create the missing tables in one transaction, under a lock."""
        problems: list[str] = []
        widened: list[str] = []
        wanted = self.layout
        with session, session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
            for table in TABLES:
                found = look_up(cursor, table)
                self.states[table.name] = "exists" if found else "created"
                if found:
                    wrong = misfits(table, found)
                    problems += wrong
                    widened += [] if wrong else self._check_existing(cursor, table, found)
            if problems:
                raise Problem(
                    f"Database {self.server.database} holds tables that do not fit: {'; '.join(problems)}."
                    " Alter or rename them, or set postgres_db to another database. Nothing was changed.",
                    problems=problems,
                )
            missing = [table for table in TABLES if self.states[table.name] == "created"]
            if missing:
                self._require_rights(cursor)
            if BARS in missing:
                self.found = wanted.kind
            extend = bool(missing) and layout.lacks_extension(cursor, wanted.kind)
            if self.check:
                return
            if extend:
                self._extend()
            for table in missing:
                layout.create(cursor, table.statement(), wanted, table.name)
            if widened:
                self._widen(cursor, widened)

    def _check_existing(self, cursor: Any, table: Table, found: Found) -> list[str]:
        """Add notes on an existing table, and return the statement that widens it if that is asked."""
        if table.name == layout.TABLE:
            existing = layout.recognise(cursor)
            self.found = existing.kind
            if self.layout.kind not in ("plain", existing.kind):
                self.notes.append(
                    f"{table.name} is {existing.text}, but postgres_layout is {self.layout.kind}. The table stays as it"
                    " is. Move it with `ansible-playbook playbooks/layout.yml`."
                )
        narrow = widening(table, found)
        if narrow and self.widen:
            self.states[table.name] = "widened"
            return [narrow[1]]
        self.notes += narrow[:1] if narrow else []
        return []

    def _widen(self, cursor: Any, statements: list[str]) -> None:
        """Widen columns, and load the bars that the backfill set aside because one of them was too narrow.

        This rewrites the tables under a lock, so it has no statement timeout.
        """
        # Imported here, because the backfill imports this package.
        from ansible.module_utils.eodhd.store import bars, parser

        errors = connection.driver().errors
        cursor.execute("SET LOCAL statement_timeout = 0")
        try:
            for statement in statements:
                cursor.execute(statement)
        except (errors.FeatureNotSupported, errors.InvalidTableDefinition) as error:
            raise Problem(
                f"This server cannot widen the columns of this table: {server_message(error)}. If a view uses one, save"
                " its definition, drop it, run this again, and create it again. If the table's chunks are"
                " compressed, decompress them (decompress_chunk), set timescaledb.compress to false, run this again,"
                " and switch compression on again; or move the table with playbooks/layout.yml."
            ) from None
        found = look_up(cursor, BARS)
        assert found is not None
        loaded = bars.load_again(cursor, {name: parser.width(found.types[name]) for name in FIGURES})
        if loaded:
            self.notes.append(f"{plural(loaded, 'bar')} that had been set aside went into {BARS.name}.")

    def _require_rights(self, cursor: Any) -> None:
        cursor.execute(
            "SELECT quote_ident(current_schema()), has_schema_privilege(current_schema(), 'CREATE'),"
            " current_setting('search_path')"
        )
        schema, may, path = cursor.fetchone()
        user, database = self.server.user, self.server.database
        if schema is None:
            raise Problem(
                f"The search_path '{path}' names no schema of database {database} that user {user} may use. Create"
                f' one, or set another search_path: ALTER ROLE "{user}" SET search_path = public.'
            )
        if not may:
            raise Problem(
                f"User {user} may not create tables in database {database}. Let an administrator run there:"
                f' GRANT CREATE ON SCHEMA {schema} TO "{user}"; or set postgres_admin_user.'
            )

    @contextlib.contextmanager
    def _cursor(self, database: str, **elsewhere: Any) -> Iterator[Any]:
        """Yield a cursor of a session of its own, which commits each statement."""
        with contextlib.closing(self._connect(database, **elsewhere)) as session:
            session.autocommit = True
            yield session.cursor()

    def _extend(self) -> None:
        """Create the extension that the layout needs; for Citus, also the database on each worker.

        Citus distributes a table only over nodes that are committed.
        """
        name, kind = self.server.database, self.layout.kind
        nodes = self.layout.nodes() if kind == "citus" else []
        for host, port in nodes:
            self._prepare_worker(host, port)
        with self._cursor(name) as cursor:
            cursor.execute(f"CREATE EXTENSION {kind}")
            if nodes:
                cursor.execute(
                    "SELECT citus_set_coordinator_host(%s, inet_server_port())", (self.server.host,)
                )
            for node in nodes:
                cursor.execute("SELECT citus_add_node(%s, %s)", node)

    def _prepare_worker(self, host: str, port: int) -> None:
        from psycopg2 import sql

        name = self.server.database
        with self._cursor("postgres", host=host, port=port) as cursor:
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
            if not cursor.fetchone():
                cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with self._cursor(name, host=host, port=port) as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS citus")

    def _grant(self, session: Any) -> None:
        """Create the ledger's tables, the roles, and their rights."""
        # Imported here, because most calls have no administrator.
        from ansible.module_utils.database import roles
        from ansible.module_utils.eodhd import migrations

        def run(work: Callable[[Any], int]) -> int:
            with session, session.cursor() as cursor:
                return work(cursor)

        if not self.check:
            before = run(migrations.version)
            migrations.migrate(run)
            if before != migrations.NEWEST:
                self.rights.append(f"ledger of version {migrations.NEWEST}")
        with session, session.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_KEY,))
            for text, statement in roles.steps(cursor, self.application):
                self.rights.append(text)
                if not self.check:
                    cursor.execute(statement)

    def _result(self, created: bool) -> dict[str, Any]:
        lines = [(f"database {self.server.database}", created)]
        lines += [(f"table {name}", state != "exists") for name, state in self.states.items()]
        lines += [(text, True) for text in self.rights]
        return {
            "changed": any(new for _, new in lines),
            "database": "created" if created else "exists",
            "tables": self.states,
            "layout": self.found,
            "rights": self.rights,
            "notes": self.notes,
            "diff": {
                "before_header": self.server.masked_url(),
                "after_header": self.server.masked_url(),
                "before": "".join(f"{line}\n" for line, new in lines if not new),
                "after": "".join(f"{line}\n" for line, _ in lines),
            },
        }
