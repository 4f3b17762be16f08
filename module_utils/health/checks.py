"""The list of health checks, and the result that they add up to: as data, as text, as metrics.

A check looks at one thing and yields findings. ``fail`` makes the host unhealthy, ``warn`` does not. CONTRIBUTING
says how to add a check.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ansible.module_utils.database.connection import Unreachable, explain
from ansible.module_utils.health import bars, services, settings
from ansible.module_utils.health.model import LEVELS, Check, Finding, Host
from ansible.module_utils.reporting import Problem

if TYPE_CHECKING:
    from ansible.module_utils.prometheus import Metric


def _coverage(name: str, host: Host) -> Iterator[Finding]:
    """Run a check of ``coverage``, which an empty table does not need to import."""
    if bars.filled(host, "market_data"):
        from ansible.module_utils.health import coverage

        yield from getattr(coverage, f"check_{name}")(host)


CHECKS: tuple[Check, ...] = (
    Check("settings", settings.check_settings, ".env has every required key, and every line can be parsed"),
    Check("disk", services.check_disk, "enough space at the root for an environment and what a reset keeps"),
    Check("connection", settings.check_connection, "PostgreSQL answers within health_timeout, and quickly"),
    Check("tables", bars.check_tables, "every table of health_tables is readable and has enough rows", True),
    Check(
        "freshness", partial(_coverage, "freshness"), "every symbol has the bar of the last session due", True
    ),
    Check("coverage", partial(_coverage, "coverage"), "every symbol that is active in assets has bars", True),
    Check(
        "gaps",
        partial(_coverage, "gaps"),
        "no session is missing between a symbol's first and last bar",
        True,
    ),
    Check(
        "keys", partial(_coverage, "keys"), "each bar is at midnight UTC, under one name of its symbol", True
    ),
    Check("set_aside", bars.check_set_aside, "no bar that the backfill set aside is unresolved", True),
    Check("basis", bars.check_basis, "no bar has the basis from before a restatement", True),
    Check("locks", bars.check_locks, "PostgreSQL has enough locks for the chunks of market_data", True),
    Check("precision", bars.check_precision, "the columns hold every digit that EODHD sends", True),
    Check("token", services.check_token, "EODHD accepts the token, and calls are left today"),
    Check("redis", services.check_redis, "the Redis that .env names answers"),
)
# Keys of a result's ``measures``, and their meaning.
_MEASURES = (
    ("stale_symbols", "Symbols whose last bar is older than health_stale_warn allows."),
    ("uncovered_symbols", "Active symbols without any bar."),
    ("gap_sessions", "Sessions missing inside the ranges of the symbols."),
    ("bars_set_aside", "Unresolved bars that the backfill set aside."),
    ("quota_left", "Calls that the EODHD account has left today."),
    ("disk_free_mib", "MiB free at the project root."),
)


def examine(host: Host, checks: Sequence[Check] = CHECKS) -> dict[str, Any]:
    """Run the checks and return the module's result; an error becomes a finding, without the driver's text."""
    findings: list[Finding] = []
    try:
        for check in checks:
            if check.needs_session and host.session is None:
                continue
            try:
                for finding in check.run(host):
                    findings.append(finding)
            except Problem as problem:
                findings.append(Finding(check.name, problem.details.get("level", "fail"), str(problem)))
            except Unreachable as error:
                assert host.server is not None
                findings.append(Finding(check.name, "fail", explain(error, host.server)))
    finally:
        if host.session is not None:
            host.session.close()
    return result(findings, host)


def result(findings: Sequence[Finding], host: Host) -> dict[str, Any]:
    """Return the module's result for these findings and for what the checks have set in ``host``."""
    level = max((finding.level for finding in findings), key=LEVELS.index, default="ok")
    healthy = level != "fail"
    expects = {check.name: check.expects for check in CHECKS}
    return {
        "changed": False,
        "healthy": healthy,
        "level": level,
        "tables": {name: count.rows for name, count in host.counts.items()},
        "estimated": [name for name, count in host.counts.items() if count.estimated],
        "server_version": host.server_version,
        "latency_ms": host.latency_ms,
        "url": host.server.masked_url() if host.server else None,
        "token": host.token,
        "measures": host.measures,
        "checks": [{**finding._asdict(), "expects": expects.get(finding.check, "")} for finding in findings],
        "problems": [finding.message for finding in findings if finding.level == "fail"],
        "report": report(findings, host, healthy),
    }


def report(findings: Sequence[Finding], host: Host, healthy: bool) -> str:
    """Return the report as text."""
    lines = ["📊 Infrastructure Health Check"]
    if host.server:
        lines.append(f"Database: {host.server.masked_url()}")
    if host.server_version:
        lines.append("✅ Connection successful")
    if host.counts:
        lines.append("📈 Table Statistics:")
        lines += [f"   {name}: {count.text()}" for name, count in host.counts.items()]
    lines += [f"⚠️  {finding.message}" for finding in findings if finding.level == "warn"]
    lines += [f"❌ {finding.message}" for finding in findings if finding.level == "fail"]
    return "\n".join([*lines, "✅ System Healthy" if healthy else "❌ System Unhealthy"])


def metrics(result: Mapping[str, Any], now: float) -> Iterator[Metric]:
    """Yield the metrics of a result; ``now`` is in seconds since 1970."""
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
