"""Move ``market_data`` to another layout, year by year, while others read and write it.

``market_data_next`` is filled with one transaction a year. The last transaction blocks writers, copies what changed in
the meantime, compares every year, and exchanges the names of the tables. A move needs no saved state: after a kill it
starts again, and the years that were copied are equal already.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from ansible.module_utils.database import layout
from ansible.module_utils.database.catalog import estimate
from ansible.module_utils.database.layout import NEXT, TABLE, Layout
from ansible.module_utils.database.tables import BARS, look_up, misfits, there
from ansible.module_utils.eodhd import migrations
from ansible.module_utils.reporting import Problem

BEFORE = f"{TABLE}_before"
# The comment of NEXT and BEFORE: a table of that name without it belongs to somebody else.
_MARK = "Made by playbooks/layout.yml, which drops it"
# Rows that a move copies in a second, for the plan; measured on two cores.
PACE = 50_000
# Seconds to wait for writers when the tables change their names.
LOCK_TIMEOUT = 60
# How many chunks one transaction drops.
DROPPED = 100
# An arbitrary advisory lock: only one move at a time.
_LOCK = 0x6C61796F7574
_COLUMNS = [column.name for column in BARS.columns]
_VALUES = [name for name in _COLUMNS if name not in BARS.key]
_YEAR = "time >= %(first)s AND time < %(beyond)s"
_DIGEST = ", ".join(
    ["extract(epoch FROM time)", "symbol", *(f"coalesce({name}::numeric::text, '')" for name in _VALUES)]
)
_SIZES = {
    "plain": "pg_total_relation_size(%s)",
    "partitioned": "(SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(%s))",
    "timescaledb": "hypertable_size(%s)",
    "citus": "(SELECT sum(result::bigint) FROM run_command_on_shards(%s, $$SELECT pg_total_relation_size('%%s')$$))",
}
# Objects that belong to the old table and would stay with it; its key and those of extensions do not count.
_ATTACHED = """
SELECT DISTINCT replace(pg_describe_object(d.classid, d.objid, 0), 'rule _RETURN on ', '')
FROM pg_depend d
LEFT JOIN pg_constraint c ON d.classid = 'pg_constraint'::regclass AND c.oid = d.objid
LEFT JOIN pg_trigger t ON d.classid = 'pg_trigger'::regclass AND t.oid = d.objid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(%s) AND d.deptype IN ('n', 'a')
  AND d.classid NOT IN ('pg_class'::regclass, 'pg_attrdef'::regclass, 'pg_statistic_ext'::regclass)
  AND (c.oid IS NULL OR c.contype IN ('c', 'f'))
  AND (t.oid IS NULL OR NOT t.tgisinternal AND NOT EXISTS (SELECT FROM pg_depend e
    WHERE e.classid = 'pg_proc'::regclass AND e.objid = t.tgfoid AND e.deptype = 'e'))
UNION SELECT 'privileges on column ' || attname FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attacl IS NOT NULL AND NOT attisdropped
ORDER BY 1
"""
_AGGREGATES = """
SELECT view_name FROM timescaledb_information.continuous_aggregates
WHERE format('%%I.%%I', hypertable_schema, hypertable_name)::regclass = to_regclass(%s) ORDER BY 1
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass(%s) AND NOT indisprimary ORDER BY 1
"""
# Statements that give the new table the properties of the old one, in this order. Default privileges may have given it
# other rights.
_PROPERTIES = """
WITH old AS (SELECT * FROM pg_class WHERE oid = to_regclass(%(old)s)),
attribute AS (SELECT a.* FROM pg_attribute a JOIN old ON attrelid = oid WHERE attnum > 0 AND NOT attisdropped)
SELECT format('REVOKE ALL ON %%s FROM %%s', %(new)s, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END)
FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(%(new)s) AND grantee <> relowner
UNION ALL SELECT format('ALTER TABLE %%s OWNER TO %%s', %(new)s, relowner::regrole) FROM old
UNION ALL SELECT format('GRANT %%s ON %%s TO %%s%%s', privilege_type, %(new)s,
  CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
  CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
FROM old, aclexplode(relacl) WHERE grantee <> relowner
UNION ALL SELECT format('COMMENT ON TABLE %%s IS %%L', %(new)s, obj_description(oid, 'pg_class')) FROM old
UNION ALL SELECT format('COMMENT ON COLUMN %%s.%%I IS %%L', %(new)s, attname, description)
FROM attribute, LATERAL col_description(attrelid, attnum) AS description WHERE description IS NOT NULL
UNION ALL SELECT format('ALTER TABLE %%s ALTER %%I SET DEFAULT %%s', %(new)s, attname, pg_get_expr(adbin, adrelid))
FROM attribute JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
UNION ALL SELECT format('ALTER TABLE %%s ALTER %%I SET NOT NULL', %(new)s, attname)
FROM attribute WHERE attnotnull AND attname <> ALL (%(key)s)
"""
_COPY = f"""
DELETE FROM {NEXT} WHERE {_YEAR};
INSERT INTO {NEXT} ({", ".join(_COLUMNS)}) SELECT {", ".join(_COLUMNS)} FROM {TABLE} WHERE {_YEAR}
"""  # noqa: S608 - constants


def run(session: Any, wanted: Layout, *, check: bool) -> dict[str, Any]:
    """Plan a move, and do it unless ``check`` is set; return ``changed``, ``rows`` and ``report``.

    Raises:
        Problem: the table cannot be moved, another move is running, or the tables are not equal in the end.
    """
    lines: list[str] = []
    with session, session.cursor() as cursor:
        existing = _movable(cursor)
        title = f"{TABLE}: {existing.text} → {wanted.kind}"
        cursor.execute("SELECT to_regclass(%s)::oid", (TABLE,))
        rows = estimate(cursor, cursor.fetchone()[0])
        needed = wanted.kind != existing.kind
        if needed:
            _require_extension(cursor, wanted.kind)
            _refuse_attached(cursor)
            _refuse_foreign(cursor)
            lines = [*(_cost(cursor, existing.kind, rows) if check else ()), *_left_behind(cursor)]
        else:
            title += ": nothing to move"
    if not check:
        session.autocommit = True
        with session.cursor() as cursor:
            if needed:
                rows = _move(cursor, wanted)
                title += f": {rows:,} rows moved, every year compared"
            if _ours(cursor, BEFORE):
                _drop(cursor, BEFORE)
    return {"changed": needed, "rows": rows, "report": "\n".join([title, *lines])}


def _movable(cursor: Any) -> layout.Existing:
    """Return the layout of the table; raises ``Problem`` if a move would lose something."""
    found = look_up(cursor, BARS)
    if found is None:
        raise Problem(
            f"There is no {TABLE} to move. Create it with `ansible-playbook playbooks/reset.yml --tags database`."
        )
    wrong = misfits(BARS, found) + [
        f"column {TABLE}.{name} would be lost" for name in found.types if name not in _COLUMNS
    ]
    if wrong:
        raise Problem(f"{TABLE} cannot be moved: {'; '.join(wrong)}. Nothing was changed.")
    return layout.recognise(cursor)


def _cost(cursor: Any, kind: str, rows: int | None) -> list[str]:
    """Return lines about the rows, bytes and time of a move."""
    cursor.execute(f"SELECT {_SIZES[kind]}::bigint", (TABLE,))  # noqa: S608 - constants
    size = int(cursor.fetchone()[0] or 0)
    known = "an unknown number of rows (run ANALYZE)" if rows is None else f"about {rows:,} rows"
    pace = "" if rows is None else f"; about {max(1, round(rows / PACE)):,} s"
    lines = [
        f"   {known}, {size:,} bytes{pace}",
        "   needs the same space again until the old table is dropped; others can read and write meanwhile",
    ]
    if there(cursor, NEXT):
        lines.append(f"   {NEXT} exists: the move continues from there")
    return lines


def _left_behind(cursor: Any) -> list[str]:
    """Return a line for each index that the new table will not have."""
    cursor.execute(_INDEXES, (TABLE,))
    text = "   not in the new table; create it again if you need it:"
    return [f"{text} {index}" for (index,) in cursor.fetchall()]


def _require_extension(cursor: Any, kind: str) -> None:
    if layout.lacks_extension(cursor, kind):
        raise Problem(
            f"postgres_layout is {kind}, but this database does not have that extension. Let an administrator run"
            f" there: CREATE EXTENSION {kind}; for Citus, add the workers with citus_add_node. Nothing was changed."
        )


def _refuse_attached(cursor: Any) -> None:
    """Raise ``Problem`` if a view, trigger, foreign key or the like would stay with the old table."""
    cursor.execute(_ATTACHED, (TABLE, TABLE))
    attached = [name for (name,) in cursor.fetchall() if "_timescaledb_internal." not in name]
    if layout.recognise(cursor).kind == "timescaledb":
        cursor.execute(_AGGREGATES, (TABLE,))
        attached += [f"continuous aggregate {name}" for (name,) in cursor.fetchall()]
    if attached:
        raise Problem(
            f"{TABLE} cannot be moved while these belong to it: {', '.join(attached)}. Save their definitions, drop"
            " them, run this again, and create them again. Nothing was changed."
        )


def _refuse_foreign(cursor: Any) -> None:
    """Raise ``Problem`` if a table with a name that the move needs belongs to somebody else."""
    foreign = [name for name in (NEXT, BEFORE) if there(cursor, name) and not _ours(cursor, name)]
    if foreign:
        raise Problem(
            f"{TABLE} cannot be moved, because {' and '.join(foreign)} exists, but was not made by a move of this"
            " release. Rename it, or drop it if you do not need it. Nothing was changed."
        )


def _ours(cursor: Any, table: str) -> bool:
    cursor.execute("SELECT obj_description(to_regclass(%s), 'pg_class') = %s", (table, _MARK))
    return bool(cursor.fetchone()[0])


def _move(cursor: Any, wanted: Layout) -> int:
    """Move the table to another layout, and return how many rows it holds; the session commits each statement."""
    session = cursor.connection
    cursor.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))
    if not cursor.fetchone()[0]:
        raise Problem("Another move of the layout is running in this database. Wait until it ends.")
    # Left by a move to another layout, or by a complete move.
    if _ours(cursor, NEXT) and layout.recognise(cursor, NEXT).kind != wanted.kind:
        _drop(cursor, NEXT)
    if _ours(cursor, BEFORE):
        _drop(cursor, BEFORE)
    if not _ours(cursor, NEXT):
        with session:
            _set_timeouts(cursor)
            layout.create(cursor, BARS._replace(name=NEXT).statement(), wanted, NEXT)
            cursor.execute(f"COMMENT ON TABLE {NEXT} IS '{_MARK}'")
    for year in _years(cursor):
        with session:
            _set_timeouts(cursor)
            _copy(cursor, year)
    with session:
        return _exchange(cursor, wanted)


def _drop(cursor: Any, table: str) -> None:
    """Drop a table. The chunks of a hypertable go first, in groups, because a transaction locks all that it drops."""
    if layout.recognise(cursor, table).kind == "timescaledb":
        cursor.execute(
            "SELECT range_end FROM timescaledb_information.chunks WHERE format('%%I.%%I', hypertable_schema,"
            " hypertable_name)::regclass = to_regclass(%s) ORDER BY 1",
            (table,),
        )
        for (end,) in cursor.fetchall()[::DROPPED]:
            cursor.execute("SELECT drop_chunks(%s, older_than => %s)", (table, end))
    cursor.execute(f"DROP TABLE {table}")


def _set_timeouts(cursor: Any) -> None:
    """Set timeouts, time zone and TimescaleDB's limit for one transaction."""
    cursor.execute(
        "SELECT set_config('statement_timeout', '0', true), set_config('timezone', 'UTC', true),"
        " set_config('lock_timeout', %s, true),"
        " set_config('timescaledb.max_tuples_decompressed_per_dml_transaction', '0', true)",
        (str(LOCK_TIMEOUT * 1000),),
    )


def _years(cursor: Any) -> range:
    """Return the years between the first and the last row of both tables; fails at a time without one, as infinity."""
    found: list[date] = []
    for table in (TABLE, NEXT):
        cursor.execute(
            "SELECT extract(year FROM min(time) AT TIME ZONE 'UTC')::int,"  # noqa: S608 - constants
            f" extract(year FROM max(time) AT TIME ZONE 'UTC')::int FROM {table}"
        )
        found += [date(year, 1, 1) for year in cursor.fetchone() if year is not None]
    return range(min(found).year, max(found).year + 1) if found else range(0)


def _digest(cursor: Any, table: str, bounds: dict[str, str]) -> tuple[Any, ...]:
    """Return the number of rows of a year, and a checksum of their values that does not depend on their order."""
    cursor.execute(
        f"SELECT count(*), sum(hashtextextended(concat_ws('|', {_DIGEST}), 0)::numeric) FROM {table} WHERE {_YEAR}",  # noqa: S608
        bounds,
    )
    return tuple(cursor.fetchone())


def _copy(cursor: Any, year: int) -> tuple[int, bool]:
    """Copy a year if the tables differ; return the rows of the old table, and whether the tables are equal now."""
    bounds = {"first": f"{year:04}-01-01 00:00+00", "beyond": f"{year + 1:04}-01-01 00:00+00"}
    old, new = _digest(cursor, TABLE, bounds), _digest(cursor, NEXT, bounds)
    if new != old:
        layout.make_room(cursor, date(year, 1, 1), date(year, 1, 1), NEXT)
        cursor.execute(_COPY, bounds)
        new = _digest(cursor, NEXT, bounds)
    return old[0], new == old


def _exchange(cursor: Any, wanted: Layout) -> int:
    """Block writers, copy what they changed, check that both tables are equal, and exchange their names."""
    _set_timeouts(cursor)
    cursor.execute(f"LOCK TABLE {TABLE} IN EXCLUSIVE MODE")
    _refuse_attached(cursor)  # somebody may have created one since the plan
    moved = 0
    for year in _years(cursor):
        rows, equal = _copy(cursor, year)
        moved += rows
        if not equal:
            raise Problem(
                f"The rows of {year} differ between {TABLE} and {NEXT} after the copy, so {TABLE} stays"
                f" as it is. Run the same command again, or drop {NEXT}."
            )
    cursor.execute(_PROPERTIES, {"old": TABLE, "new": NEXT, "key": list(BARS.key)})
    for (statement,) in cursor.fetchall():
        cursor.execute(statement)
    function = "_partition(text, timestamptz, timestamptz)"
    cursor.execute(f"DROP FUNCTION IF EXISTS {TABLE}{function}, {NEXT}{function}")
    cursor.execute(f"COMMENT ON TABLE {TABLE} IS '{_MARK}'")
    cursor.execute(f"ALTER TABLE {TABLE} RENAME TO {BEFORE}")
    cursor.execute(f"ALTER TABLE {NEXT} RENAME TO {TABLE}")
    if wanted.kind == "partitioned":
        layout.create_partition_function(cursor)
    migrations.fit(cursor)
    return moved
