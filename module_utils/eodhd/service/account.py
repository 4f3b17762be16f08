"""The account at the service: its ID, and its quota of today."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import whole


def account(token: str) -> str:
    """Return an ID of the account that does not reveal the token: 16 hexadecimal digits."""
    return hashlib.blake2b(token.encode(), digest_size=8, person=b"backfill").hexdigest()


def today(now: datetime) -> date:
    """Return the provider's day, which turns at 00:00 GMT."""
    return now.astimezone(timezone.utc).date()


def check_clock(sent: str, now: datetime) -> None:
    """Raise ``Problem`` if the clock and the provider's differ by over an hour, which spoils days and freshness.

    Args:
        sent: the header ``Date`` of an answer; without a readable one, nothing is checked.
    """
    try:
        hours = (now - parsedate_to_datetime(sent)).total_seconds() / 3600
    except (TypeError, ValueError):
        return
    if abs(hours) > 1:
        raise Problem(
            f"The clock of this host is {abs(hours):.0f} hours {'ahead of' if hours > 0 else 'behind'} EODHD's. Set it,"
            " for example with `timedatectl set-ntp true`. No call was made and nothing was changed."
        )


@dataclass(frozen=True)
class Quota:
    """What the account has left; None if the provider did not say.

    Attributes:
        limit: calls per day.
        today: calls left of today's.
        extra: bought calls; they are used after the day's calls, and do not expire.
    """

    limit: int | None
    today: int | None
    extra: int = 0

    @property
    def left(self) -> int | None:
        """Return all calls that can be made now."""
        return None if self.today is None else self.today + self.extra

    def text(self) -> str:
        """Return the quota in words."""
        if self.today is None:
            return "unknown" if self.limit is None else f"unknown, of {self.limit:,} calls a day"
        extra = f", and {self.extra:,} extra" if self.extra else ""
        return f"{self.today:,} of {self.limit:,} calls left today{extra}"


def quota(user: Any, today: date) -> Quota:
    """Return what is left, from the answer of ``/user``.

    ``apiRequests`` is the count of the last day with a call, so it applies only if ``apiRequestsDate`` is today.
    """
    if not isinstance(user, Mapping):
        return Quota(None, None)
    limit, used = whole(user.get("dailyRateLimit")), whole(user.get("apiRequests"))
    if limit is None or used is None:
        return Quota(limit, None)
    spent = used if str(user.get("apiRequestsDate")) == today.isoformat() else 0
    return Quota(limit, max(0, limit - spent), whole(user.get("extraLimit")) or 0)
