"""The text for people."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.module_utils.health.model import Finding, Host


def report(findings: Sequence[Finding], host: Host, healthy: bool) -> str:
    """Return the text that people read."""
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
