"""Progress for people during a run: plain lines in a file every few seconds, without secrets."""

from __future__ import annotations

import time
from typing import Callable

from ansible.module_utils.eodhd.run.totals import Totals

INTERVAL = 3.0


def line(totals: Totals, seconds: float) -> str:
    """Return a progress line: what was done in these seconds, and the time left."""
    rate = totals.requests / seconds if seconds > 0 else 0.0
    asked = totals.done - totals.fresh
    left = totals.symbols - totals.done
    ahead = duration(left * seconds / asked) if asked > 0 else "unknown"
    trouble = len(totals.not_loaded)
    return (
        f"{totals.done:,} of {totals.symbols:,} symbols"
        f"{f' ({trouble:,} not loaded)' if trouble else ''}, {totals.downloaded:,} rows,"
        f" {totals.calls:,} calls, {rate:.1f} requests/s, {ahead} left"
    )


def duration(seconds: float) -> str:
    """Return a duration as text: ``45 s``, ``2 min 05 s``, ``1 h 30 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """Appends a line to a file, for another process, every few seconds of ``clock``; without a path, to none."""

    def __init__(self, path: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._started = clock()
        self._next = self._started + INTERVAL

    def tick(self, totals: Totals) -> None:
        """Write a line if it is time for one."""
        now = self._clock()
        if self._path is None or now < self._next:
            return
        self._next = now + INTERVAL
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line(totals, now - self._started) + "\n")
