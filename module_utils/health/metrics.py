"""The result as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.health.model import LEVELS

# Keys of a result's ``measures``, and their meaning.
_MEASURES = (
    ("stale_symbols", "Symbols whose last bar is older than health_stale_warn allows."),
    ("uncovered_symbols", "Active symbols without any bar."),
    ("gap_sessions", "Sessions missing inside the ranges of the symbols."),
    ("bars_set_aside", "Unresolved bars that the backfill set aside."),
    ("quota_left", "Calls that the EODHD account has left today."),
    ("disk_free_mib", "MiB free at the project root."),
)


def render(result: Mapping[str, Any], now: float) -> str:
    """Return the metrics of a result of ``checks.examine``; ``now`` is in seconds since 1970."""
    return prometheus.text("project_health_", _metrics(result, now))


def _metrics(result: Mapping[str, Any], now: float) -> Iterator[prometheus.Metric]:
    yield "healthy", "1 if no check failed.", [({}, int(result["healthy"]))]
    levels: dict[str, int] = {}
    for found in result["checks"]:
        levels[found["check"]] = max(levels.get(found["check"], 0), LEVELS.index(found["level"]))
    each = [({"check": check}, level) for check, level in levels.items()]
    yield "level", "The worst finding of each check: 0 ok, 1 warn, 2 fail.", each
    counted = [
        ({"table": table, "estimated": str(int(table in result["estimated"]))}, rows)
        for table, rows in result["tables"].items()
        if rows is not None
    ]
    yield "table_rows", "Rows of a table; estimated is 1 if the number is an estimate.", counted
    if result["latency_ms"] is not None:
        seconds = f"{result['latency_ms'] / 1000:g}"
        yield "latency_seconds", "Time that PostgreSQL took to answer a query.", [({}, seconds)]
    for name, meaning in _MEASURES:
        if name in result["measures"]:
            yield name, meaning, [({}, f"{result['measures'][name]:.15g}")]
    yield "timestamp_seconds", "Time of the check.", [({}, f"{now:.0f}")]
