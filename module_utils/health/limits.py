"""Where ok ends."""

from __future__ import annotations

from dataclasses import dataclass

from ansible.module_utils.arguments.health_check import ARGUMENTS

# From the best to the worst; the worst finding decides.
LEVELS = ("ok", "warn", "fail")


@dataclass(frozen=True)
class Limits:
    """Where ok ends; the documentation of the module ``health_check`` has the meaning and the unit of each."""

    latency_warn: float
    stale_warn: int
    stale_fail: int
    stale_share: float
    publish_hours: float
    gap_days: int
    gap_warn: int
    gap_fail: int
    coverage_warn: int
    coverage_fail: int
    set_aside_warn: int
    set_aside_fail: int
    quota_warn: int
    disk_warn: int
    disk_fail: int

    def level(self, name: str, found: float) -> str:
        """Return the level of an amount by the thresholds ``<name>_warn`` and ``<name>_fail``."""
        for level in ("fail", "warn"):
            limit = getattr(self, f"{name}_{level}", 0)
            if limit and found >= limit:
                return level
        return "ok"


_OPTIONS = ARGUMENTS["limits"]["options"]
USUAL = Limits(**{name: option["default"] for name, option in _OPTIONS.items()})
