"""A clock for runs of the past and of the future."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ansible.module_utils.eodhd.days import utc_now


def showing(now: datetime | None) -> Callable[[], datetime]:
    """Return a clock that begins at ``now``, or the real one."""
    if now is None:
        return utc_now
    ahead = now - utc_now()
    return lambda: utc_now() + ahead
