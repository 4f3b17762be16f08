"""The roles of the database: an owner that cannot log in, and the application's role.

The application's role may read and write rows. It may not create, alter or drop anything in the database, or delete a
bar. ``postgres_admin_user`` names the administrator who creates both roles.
"""

from __future__ import annotations

from typing import Any

from ansible.module_utils.database.server import Server
from ansible.module_utils.database.tables import TABLES
from ansible.module_utils.eodhd import migrations

_ABSENT = "SELECT name FROM unnest(%s::text[]) AS name WHERE to_regrole(quote_ident(name)) IS NULL"
# Each right with its description and statement, unless it is there: on the schema and the database, on each table, and
# on the function that creates partitions.
_RIGHTS = """
WITH named AS (
  SELECT %(owner)s AS owner, to_regrole(quote_ident(%(owner)s))::oid AS owner_id,
    %(role)s AS role, to_regrole(quote_ident(%(role)s))::oid AS role_id,
    current_schema() AS schema, current_database() AS database
), step(kind, name, number, done, text, statement) AS (
  SELECT 1, '', step.* FROM named, LATERAL (VALUES
    (1, has_schema_privilege(owner_id, schema, 'CREATE'), format('%%s: create in schema %%s', owner, schema),
      format('GRANT USAGE, CREATE ON SCHEMA %%I TO %%I', schema, owner)),
    (2, has_schema_privilege(role_id, schema, 'USAGE'), format('%%s: use schema %%s', role, schema),
      format('GRANT USAGE ON SCHEMA %%I TO %%I', schema, role)),
    (3, has_database_privilege(role_id, database, 'TEMPORARY') AND has_database_privilege(role_id, database, 'CONNECT'),
      format('%%s: connect', role), format('GRANT CONNECT, TEMPORARY ON DATABASE %%I TO %%I', database, role))) AS step
  UNION ALL
  SELECT 2, relname, step.* FROM named, pg_class c, LATERAL (SELECT 'SELECT, INSERT, UPDATE'
    || CASE WHEN relname = ANY (%(ledger)s) THEN ', DELETE' ELSE '' END AS rights) AS needed, LATERAL (VALUES
    (1, relowner = owner_id, format('%%s: own %%s', owner, relname),
      format('ALTER TABLE %%I.%%I OWNER TO %%I', schema, relname, owner)),
    (2, (SELECT bool_and(has_table_privilege(role_id, c.oid, word)) FROM unnest(string_to_array(rights, ', ')) AS word),
      format('%%s: %%s on %%s', role, lower(rights), relname),
      format('GRANT %%s ON %%I.%%I TO %%I', rights, schema, relname, role))) AS step
  WHERE relnamespace = quote_ident(schema)::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
    AND relname = ANY (%(bars)s || %(ledger)s)
  UNION ALL
  SELECT 3, proname, step.* FROM named, pg_proc p, LATERAL (VALUES
    (1, proowner = owner_id, format('%%s: own %%s', owner, p.oid::regprocedure),
      format('ALTER FUNCTION %%s OWNER TO %%I', p.oid::regprocedure, owner)),
    (2, proowner = owner_id, format('%%s: make partitions', role),
      format('REVOKE ALL ON FUNCTION %%s FROM PUBLIC', p.oid::regprocedure)),
    (3, proowner = owner_id AND has_function_privilege(role_id, p.oid, 'EXECUTE'),
      format('%%s: make partitions', role), format('GRANT EXECUTE ON FUNCTION %%s TO %%I', p.oid::regprocedure, role))
  ) AS step
  WHERE pronamespace = quote_ident(schema)::regnamespace AND proname = ANY (%(functions)s)
)
SELECT text, statement FROM step WHERE done IS NOT TRUE ORDER BY kind, name, number
"""


def steps(cursor: Any, application: Server) -> list[tuple[str, Any]]:
    """Return each missing role and right: a description, and the statement that creates it.

    Args:
        cursor: of the administrator, in the database.
        application: user and password of the application's role, and the database.
    """
    from psycopg2 import sql
    from psycopg2.extensions import encrypt_password

    owner, role, connection = f"{application.database}_owner", application.user, cursor.connection
    names = {"owner": sql.Identifier(owner), "role": sql.Identifier(role)}
    cursor.execute(_ABSENT, ([owner, role],))
    absent = [name for (name,) in cursor.fetchall()]
    found: list[tuple[str, Any]] = []
    if owner in absent:
        found = [
            (f"role {owner}", sql.SQL("CREATE ROLE {owner} NOLOGIN").format(**names)),
            (f"the administrator in {owner}", sql.SQL("GRANT {owner} TO CURRENT_USER").format(**names)),
        ]
    if role in absent:
        # A SCRAM verifier, so that no statement or log of the server holds the password.
        verifier = sql.Literal(encrypt_password(application.password, role, connection, "scram-sha-256"))
        create = sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {verifier}").format(**names, verifier=verifier)
        found.append((f"role {role}", create))
    bars = [table.name for table in TABLES]
    functions = [f"{name}_partition" for name in bars]
    asked = {"owner": owner, "role": role, "bars": bars, "ledger": migrations.TABLES, "functions": functions}
    cursor.execute(_RIGHTS, asked)
    return [*found, *cursor.fetchall()]
