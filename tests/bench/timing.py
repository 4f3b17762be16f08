"""How long something takes, and several things side by side."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any


def seconds(work: Callable[[], Any]) -> float:
    """How long it takes; what others have left for the disk to write is written before."""
    os.sync()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def medians(rounds: int, *works: Callable[[], Any]) -> tuple[float, ...]:
    """Median seconds of each; in turn, so that a slow minute of the machine meets all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return tuple(statistics.median(found) for found in zip(*times))
