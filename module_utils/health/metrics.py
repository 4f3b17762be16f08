"""The result for Prometheus, as a text file that node_exporter's textfile collector picks up."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from ansible.module_utils.health.limits import LEVELS
from ansible.module_utils.reporting import Problem

# Names in the ``measures`` of a result, and what each says.
_MEASURES = (
    ("stale_symbols", "Symbols whose last bar is older than health_stale_warn allows."),
    ("uncovered_symbols", "Active symbols without any bar."),
    ("gap_sessions", "Sessions missing inside the ranges of the symbols."),
    ("bars_set_aside", "Bars that the backfill set aside, unresolved."),
    ("quota_left", "Calls that the EODHD account has left today."),
    ("disk_free_mib", "MiB free at the project root."),
)
_PREFIX = "project_health_"


def render(result: Mapping[str, Any], now: float) -> str:
    """Return the metrics of a result of ``checks.examine``; ``now`` is in seconds since 1970."""
    return "".join(f"{line}\n" for line in _lines(result, now))


def _lines(result: Mapping[str, Any], now: float) -> Iterator[str]:
    yield from _head("healthy", "Whether no check failed.")
    yield f"{_PREFIX}healthy {int(result['healthy'])}"
    yield from _head("level", "0 ok, 1 warn, 2 fail; the worst finding of each check.")
    levels: dict[str, int] = {}
    for found in result["checks"]:
        levels[found["check"]] = max(levels.get(found["check"], 0), LEVELS.index(found["level"]))
    for check, level in levels.items():
        yield f'{_PREFIX}level{{check="{check}"}} {level}'
    yield from _head("table_rows", "Rows of a table; estimated is 1 if they were not counted.")
    for table, rows in result["tables"].items():
        if rows is not None:
            estimated = int(table in result["estimated"])
            yield f'{_PREFIX}table_rows{{table="{_escaped(table)}",estimated="{estimated}"}} {rows}'
    if result["latency_ms"] is not None:
        yield from _head("latency_seconds", "One question to PostgreSQL and its answer.")
        yield f"{_PREFIX}latency_seconds {result['latency_ms'] / 1000:g}"
    for name, text in _MEASURES:
        if name in result["measures"]:
            yield from _head(name, text)
            yield f"{_PREFIX}{name} {result['measures'][name]:.15g}"
    yield from _head("timestamp_seconds", "When this was found out.")
    yield f"{_PREFIX}timestamp_seconds {now:.0f}"


def _head(name: str, text: str) -> Iterator[str]:
    yield f"# HELP {_PREFIX}{name} {text}"
    yield f"# TYPE {_PREFIX}{name} gauge"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def write(path: str, content: str) -> None:
    """Replace a file as a whole, mode 0644: the collector never reads half of it.

    Raises:
        Problem: the folder is missing, or may not be written to.
    """
    folder, name = os.path.split(os.path.abspath(path))
    try:
        # Not named *.prom: the collector would read it as it grows.
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".new", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise Problem(
            f"health_metrics_path {path} cannot be written ({error.strerror}). Create its folder, and let the"
            " connecting user write there, or choose another path."
        ) from None
