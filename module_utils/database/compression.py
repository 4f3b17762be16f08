"""Find out what TimescaleDB compresses."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.database.tables import there


def compressed(cursor: Any, table: str) -> bool:
    """Return whether TimescaleDB compresses a table. Unlike ``layout.recognise``, it waits for no other lock."""
    if not there(cursor, "timescaledb_information.hypertables"):
        return False
    cursor.execute(
        "SELECT coalesce(bool_or(compression_enabled), false) FROM timescaledb_information.hypertables"
        " WHERE to_regclass(format('%%I.%%I', hypertable_schema, hypertable_name)) = to_regclass(%s)",
        (table,),
    )
    return bool(cursor.fetchone()[0])


def mingled(cursor: Any) -> bool:
    """Return whether TimescaleDB compresses rows of different symbols in ``market_data`` together."""
    if not there(cursor, "timescaledb_information.compression_settings"):
        return False
    cursor.execute(
        "SELECT h.compression_enabled AND NOT EXISTS (SELECT 1 FROM timescaledb_information.compression_settings s"
        " WHERE (s.hypertable_schema, s.hypertable_name) = (h.hypertable_schema, h.hypertable_name)"
        " AND s.attname = 'symbol' AND s.segmentby_column_index IS NOT NULL)"
        " FROM timescaledb_information.hypertables h"
        " WHERE format('%I.%I', h.hypertable_schema, h.hypertable_name)::regclass = to_regclass('market_data')"
    )
    return bool((cursor.fetchone() or (False,))[0])
