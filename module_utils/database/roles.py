"""The roles of the database: an owner that cannot log in, and the application's role.

The application's role may read and write rows. It may not create, alter or drop anything in the database, or delete a
bar. ``postgres_admin_user`` names the administrator who creates both roles.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import TABLES
from ansible.module_utils.eodhd import migrations

# The rights that the jobs need on a table of the application, and on one of the ledger.
BARS = "SELECT, INSERT, UPDATE"
LEDGER = "SELECT, INSERT, UPDATE, DELETE"
_ABSENT = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regrole(quote_ident(name)) IS NULL"
_TABLES = """
SELECT n.nspname, c.relname, c.relname = ANY (%(bars)s),
  c.relowner IS NOT DISTINCT FROM to_regrole(quote_ident(%(owner)s))::oid,
  (SELECT bool_and(has_table_privilege(to_regrole(quote_ident(%(role)s))::oid, c.oid, word)) FROM unnest(
    string_to_array(CASE WHEN c.relname = ANY (%(bars)s) THEN %(of_bars)s ELSE %(of_ledger)s END, ', ')) AS word)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname = ANY (%(bars)s || %(ledger)s) ORDER BY 2
"""
_GENERAL = """
SELECT has_schema_privilege(to_regrole(quote_ident(%(owner)s))::oid, current_schema(), 'CREATE'),
  has_schema_privilege(to_regrole(quote_ident(%(role)s))::oid, current_schema(), 'USAGE'),
  has_database_privilege(to_regrole(quote_ident(%(role)s))::oid, current_database(), 'TEMPORARY')
    AND has_database_privilege(to_regrole(quote_ident(%(role)s))::oid, current_database(), 'CONNECT'),
  current_schema(), current_database()
"""
_FUNCTIONS = """
SELECT p.oid::regprocedure::text, p.proowner IS NOT DISTINCT FROM to_regrole(quote_ident(%(owner)s))::oid,
  has_function_privilege(to_regrole(quote_ident(%(role)s))::oid, p.oid, 'EXECUTE')
FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace AND p.proname = ANY (%(functions)s)
"""


def steps(cursor: Any, application: Server) -> list[tuple[str, Any]]:
    """Return each missing role and right: a description, and the statement that creates it.

    Args:
        cursor: of the administrator, in the database.
        application: user and password of the application's role, and the database.
    """
    from psycopg2 import sql

    owner, role = f"{application.database}_owner", application.user
    bars = [table.name for table in TABLES]
    names = {"owner": sql.Identifier(owner), "role": sql.Identifier(role)}
    asked = {
        "owner": owner,
        "role": role,
        "bars": bars,
        "ledger": migrations.TABLES,
        "of_bars": BARS,
        "of_ledger": LEDGER,
    }
    found: list[tuple[str, Any]] = []

    def step(text: str, statement: str, **more: Any) -> None:
        found.append((text, sql.SQL(statement).format(**names, **more)))

    cursor.execute(_ABSENT, ([owner, role],))
    absent = [name for (name,) in cursor.fetchall()]
    if owner in absent:
        step(f"role {owner}", "CREATE ROLE {owner} NOLOGIN")
        step(f"the administrator in {owner}", "GRANT {owner} TO CURRENT_USER")
    if role in absent:
        verifier = sql.Literal(_verifier(cursor, application))
        step(f"role {role}", "CREATE ROLE {role} LOGIN PASSWORD {password}", password=verifier)
    cursor.execute(_GENERAL, asked)
    creates, uses, connects, schema, database = cursor.fetchone()
    place = {"schema": sql.Identifier(schema), "database": sql.Identifier(database)}
    if not creates:
        step(
            f"{owner}: create in schema {schema}",
            "GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner}",
            **place,
        )
    if not uses:
        step(f"{role}: use schema {schema}", "GRANT USAGE ON SCHEMA {schema} TO {role}", **place)
    if not connects:
        step(f"{role}: connect", "GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {role}", **place)
    cursor.execute(_TABLES, asked)
    for space, name, is_bars, owned, granted in cursor.fetchall():
        table = sql.Identifier(space, name)
        if not owned:
            step(f"{owner}: own {name}", "ALTER TABLE {table} OWNER TO {owner}", table=table)
        if not granted:
            rights = BARS if is_bars else LEDGER
            step(
                f"{role}: {rights.lower()} on {name}", f"GRANT {rights} ON {{table}} TO {{role}}", table=table
            )
    cursor.execute(_FUNCTIONS, {**asked, "functions": [f"{name}_partition" for name in bars]})
    for function, owned, granted in cursor.fetchall():
        if not owned:
            step(f"{owner}: own {function}", f"ALTER FUNCTION {function} OWNER TO {{owner}}")
            step(f"{role}: make partitions", f"REVOKE ALL ON FUNCTION {function} FROM PUBLIC")
        if not (owned and granted):
            step(f"{role}: make partitions", f"GRANT EXECUTE ON FUNCTION {function} TO {{role}}")
    return found


def _verifier(cursor: Any, application: Server) -> str:
    """Return the password as a SCRAM verifier, so that no statement or log of the server holds the password."""
    from psycopg2.extensions import encrypt_password

    return str(
        encrypt_password(application.password, application.user, cursor.connection, algorithm="scram-sha-256")
    )
