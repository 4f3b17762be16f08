"""The thresholds of ``health_check``. Written by `make reference` out of roles/settings; edit that."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation that a module extends."""

    DOCUMENTATION = r"""
options:
  limits:
    description: Thresholds for V(warn) and V(fail). A value of 0 switches a threshold off.
    type: dict
    default: {}
    suboptions:
      latency_warn:
        description: Warn if a query takes at least this many milliseconds.
        type: float
        default: 250
      stale_warn:
        description: Warn if a symbol is at least this many finished sessions behind.
        type: int
        default: 3
      stale_fail:
        description: Fail if symbols are at least this many finished sessions behind. See O(limits.stale_share).
        type: int
        default: 10
      stale_share:
        description: Only warn if no more than this share of the symbols reaches O(limits.stale_fail).
        type: float
        default: 0.1
      publish_hours:
        description: Hours after EODHD publishes a bar until it counts as missing.
        type: float
        default: 6
      gap_days:
        description: Search for gaps this many days back; 0 switches the search off.
        type: int
        default: 3650
      gap_warn:
        description: Warn if the symbols together lack at least this many sessions inside their ranges.
        type: int
        default: 1
      gap_fail:
        description: Fail if the symbols together lack at least this many sessions inside their ranges.
        type: int
        default: 0
      coverage_warn:
        description: Warn if at least this many active symbols of assets have no bar.
        type: int
        default: 1
      coverage_fail:
        description: Fail if at least this many active symbols of assets have no bar.
        type: int
        default: 0
      set_aside_warn:
        description: Warn if at least this many bars are set aside and unresolved.
        type: int
        default: 1
      set_aside_fail:
        description: Fail if at least this many bars are set aside and unresolved.
        type: int
        default: 0
      disk_warn:
        description: Warn if fewer MiB are free at the root.
        type: int
        default: 2048
      disk_fail:
        description: Fail if fewer MiB are free at the root.
        type: int
        default: 256
      quota_warn:
        description: Warn if the account has fewer calls left today.
        type: int
        default: 10
"""
