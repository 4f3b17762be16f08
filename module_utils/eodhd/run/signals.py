"""A signal that would end the process ends the run in order: what was received is stored first."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from ansible.module_utils.eodhd.service.client import Stop


@contextlib.contextmanager
def signals(stop: threading.Event) -> Iterator[list[int]]:
    """Turn the first signal that would end the process into ``stop``; the second one ends it."""
    caught: list[int] = []
    wanted = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.getsignal(number) for number in wanted}

    def handle(number: int, _frame: object) -> None:
        caught.append(number)
        stop.set()
        for each in wanted:
            signal.signal(each, before[each])

    for number in wanted:
        signal.signal(number, handle)
    try:
        yield caught
    finally:
        for number in wanted:
            signal.signal(number, before[number])


def stop_of(caught: list[int]) -> Stop | None:
    """Return why a run ended by these signals, if there were any."""
    if not caught:
        return None
    return Stop(
        "interrupted",
        f"The run was ended by {signal.Signals(caught[0]).name}. What was received is stored;"
        " run the same command again and the rest follows without paying twice.",
    )
