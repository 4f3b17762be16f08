"""Where ok ends."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

# From the best to the worst; the worst finding decides.
LEVELS = ("ok", "warn", "fail")


@dataclass(frozen=True)
class Limits:
    """Where ok ends; each is the variable ``health_…`` of the same name, and 0 switches it off.

    Attributes:
        latency_warn: milliseconds of one question and its answer.
        stale_warn, stale_fail: finished sessions of its market that a symbol has no bar of.
        stale_share: share of the symbols that may be beyond ``stale_fail`` with a mere warning.
        publish_hours: from when the provider should have a bar until it is missed.
        gap_days: how far back gaps are looked for.
        gap_warn, gap_fail: sessions missing in all symbols together.
        coverage_warn, coverage_fail: active symbols without data.
        set_aside_warn, set_aside_fail: bars set aside and not resolved.
        quota_warn: calls that are left today.
        disk_warn, disk_fail: MiB free at the root.
    """

    latency_warn: float = 250.0
    stale_warn: int = 3
    stale_fail: int = 10
    stale_share: float = 0.1
    publish_hours: float = 6.0
    gap_days: int = 3650
    gap_warn: int = 1
    gap_fail: int = 0
    coverage_warn: int = 1
    coverage_fail: int = 0
    set_aside_warn: int = 1
    set_aside_fail: int = 0
    quota_warn: int = 10
    disk_warn: int = 2048
    disk_fail: int = 256

    @classmethod
    def options(cls) -> dict[str, dict[str, Any]]:
        """Return the thresholds as options of a module."""
        return {f.name: {"type": type(f.default).__name__, "default": f.default} for f in fields(cls)}

    def level(self, name: str, found: float) -> str:
        """Return the level of an amount by the thresholds ``<name>_warn`` and ``<name>_fail``."""
        for level in ("fail", "warn"):
            limit = getattr(self, f"{name}_{level}", 0)
            if limit and found >= limit:
                return level
        return "ok"
