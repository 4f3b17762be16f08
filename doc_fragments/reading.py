"""What the modules that only read say of themselves."""

from __future__ import annotations


class ModuleDocFragment:
    """See the modules that extend their documentation with it."""

    DOCUMENTATION = r"""
attributes:
  check_mode:
    description: It never changes anything, and does the same in check mode.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: It never changes anything.
    support: full
"""
