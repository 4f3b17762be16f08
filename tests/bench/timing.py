"""Measure how long work takes, alone or alternating with other work."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """Return the seconds that the work takes; earlier writes are flushed to the disk first."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def medians(rounds: int, *works: Callable[[], Any]) -> tuple[float, ...]:
    """Return the median seconds of each; the works alternate, so that a slow minute affects all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return tuple(statistics.median(found) for found in zip(*times))
