"""Ranges of days, the timestamp of a day's bar, and the current time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timezone


def midnight(day: date) -> datetime:
    """Return the timestamp of a day's bar: midnight UTC, whatever the server's time zone."""
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(timezone.utc)


@dataclass(frozen=True)
class Range:
    """A range of days, both ends included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """Return the number of days."""
        return (self.last - self.first).days + 1

    def covers(self, other: Range) -> bool:
        """Whether every day of ``other`` is in this range."""
        return self.first <= other.first and other.last <= self.last

    def touches(self, other: Range) -> bool:
        """Whether the two overlap or are adjacent."""
        return (other.first - self.last).days <= 1 and (self.first - other.last).days <= 1

    def hull(self, other: Range) -> Range:
        """Return the smallest range that contains both."""
        return Range(min(self.first, other.first), max(self.last, other.last))


def one_day(day: date) -> Range:
    """Return the range of a single day."""
    return Range(day, day)
