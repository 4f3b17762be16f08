"""The text for people."""

from __future__ import annotations

from collections.abc import Sequence

from ansible.module_utils.health.model import Context, Finding


def report(findings: Sequence[Finding], context: Context, healthy: bool) -> str:
    """Return the text that people read."""
    lines = ["📊 Infrastructure Health Check"]
    if context.server:
        lines.append(f"Database: {context.server.masked_url()}")
    if context.server_version:
        lines.append("✅ Connection successful")
    if context.counts:
        lines.append("📈 Table Statistics:")
        lines += [f"   {name}: {count.text()}" for name, count in context.counts.items()]
    lines += [f"⚠️  {finding.message}" for finding in findings if finding.level == "warn"]
    lines += [f"❌ {finding.message}" for finding in findings if finding.level == "fail"]
    return "\n".join([*lines, "✅ System Healthy" if healthy else "❌ System Unhealthy"])
