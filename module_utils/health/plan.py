"""The plan of a health check for a host that was never reset: what will be checked, and what can be reached."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

from ansible.module_utils.database.connection import TimedOut, Unreachable, explain, reach, within
from ansible.module_utils.database.server import Server
from ansible.module_utils.health.checks import CHECKS
from ansible.module_utils.health.model import Host


def plan(check: Host, host: str, port: int) -> dict[str, Any]:
    """Return the result for a check, without a verdict; ``host`` and ``port`` are those of the future database."""
    server = Server(host, port, "", "", "")
    database = ""
    try:
        reach(server, check.timeout)
    except Unreachable as error:
        database = explain(error, server)
    reachable = {}
    lines = [
        "📝 Health check, after the reset",
        f"   Checks: {', '.join(each.name for each in CHECKS)}",
        f"   Tables: {', '.join(table.name for table in check.tables)}",
    ]
    for name, place, problem in (
        ("PostgreSQL", server.place(), database),
        ("EODHD", check.service, _service_problem(check.service, check.timeout) if check.service else ""),
    ):
        if place:
            reachable[name.lower()] = not problem
            lines.append(f"⚠️  {problem}" if problem else f"✅ {name} at {place} can be reached")
    return {
        "changed": False,
        "healthy": None,
        "problems": [],
        "reachable": reachable,
        "report": "\n".join(lines),
    }


def _service_problem(service: str, timeout: float) -> str:
    """Return why EODHD does not answer; empty if it gives any answer. Without a token it costs no call."""
    request = urllib.request.Request(service, method="HEAD")  # noqa: S310 - the user's own setting
    try:
        within(timeout, lambda: urllib.request.urlopen(request, timeout=timeout).close())  # noqa: S310
    except urllib.error.HTTPError:
        return ""
    except (TimedOut, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return (
            f"EODHD at {service} cannot be reached ({type(reason).__name__})."
            " Check eodhd_base_url and the network, or set health_token to false."
        )
    return ""
