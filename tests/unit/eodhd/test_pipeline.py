"""When waiting answers are stored, and how many together."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import pytest
from ansible.module_utils.eodhd.client import Answer
from ansible.module_utils.eodhd.days import Range, utc_now
from ansible.module_utils.eodhd.model import Task
from ansible.module_utils.eodhd.pipeline import Pipeline
from ansible.module_utils.eodhd.report import Totals
from ansible.module_utils.eodhd.store.parser import Parsed
from ansible.module_utils.eodhd.store.store import Fetched, Written

DAYS = Range(date(2024, 1, 1), date(2024, 1, 31))
ROWS = 9


class Free:
    """Claims without another run."""

    def claim(self, symbols: Iterable[str]) -> set[str]:
        return set(symbols)

    def release(self, symbols: Iterable[str]) -> None:
        pass


class World:
    """A service that answers and a table that is written at the command of the test."""

    def __init__(self, symbols: str, stores: int = 1, **options: Any) -> None:
        self.answer = {symbol: threading.Event() for symbol in symbols}
        self.go_on = threading.Semaphore(0)
        self.batches: list[str] = []
        self.failing: Exception | None = None
        self.broken: Exception | None = None
        self.pipeline = Pipeline(
            self.fetch, len(symbols), [self.store] * stores, Free(), lambda symbols: {}, {}, utc_now,
            threading.Event(), Totals(symbols=len(symbols)), **options,
        )  # fmt: skip

    def fetch(self, task: Task) -> tuple[Answer, Parsed]:
        assert self.answer[task.symbol].wait(10)
        if self.failing:
            raise self.failing
        return Answer(None, 1, 1), Parsed(["a row\n"] * ROWS)

    def store(self, items: list[Fetched]) -> list[Written]:
        self.batches.append("".join(sorted(item.task.symbol for item in items)))
        assert self.go_on.acquire(timeout=10)
        if self.broken:
            raise self.broken
        return [Written(ROWS) for _ in items]

    def run(self) -> None:
        self.pipeline.run([Task(symbol, DAYS, vacant=True) for symbol in self.answer], lambda totals: None)

    def answers(self, symbols: str) -> None:
        for symbol in symbols:
            self.answer[symbol].set()

    def stored(self, wanted: Sequence[str]) -> bool:
        """Return whether exactly these batches are stored, after time for more."""
        end = time.monotonic() + 5
        while len(self.batches) < len(wanted) and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(0.1)
        return self.batches == list(wanted)


@contextmanager
def running(world: World) -> Iterator[World]:
    thread = threading.Thread(target=world.run)
    thread.start()
    try:
        yield world
    finally:
        world.answers("".join(world.answer))
        world.go_on.release(len(world.answer))
        thread.join(10)
        assert not thread.is_alive()
        assert world.pipeline.totals.inserted == ROWS * len(world.answer)


def test_an_answer_is_stored_at_once() -> None:
    with running(World("AB")) as world:
        world.answers("A")
        assert world.stored(["A"])


def test_answers_that_arrive_during_a_store_wait_for_its_end() -> None:
    with running(World("ABC")) as world:
        world.answers("A")
        assert world.stored(["A"])
        world.answers("BC")
        assert world.stored(["A"])
        world.go_on.release()
        assert world.stored(["A", "BC"])


def test_a_fifth_of_a_batch_is_stored_in_parallel() -> None:
    with running(World("ABC", 2, batch=50)) as world:
        world.answers("A")
        assert world.stored(["A"])
        world.answers("B")
        assert world.stored(["A", "B"])


@pytest.mark.parametrize("rows", [100, 10], ids=["answers in flight", "nothing once it has its size"])
def test_a_full_batch_waits_for(rows: int) -> None:
    with running(World("AB", full=True, batch=rows)) as world:
        world.answers("A")
        assert world.stored(["A"] if rows == 10 else [])
        world.answers("B")
        world.go_on.release()
        assert world.stored(["A", "B"] if rows == 10 else ["AB"])


@pytest.mark.parametrize("stop", [True, False], ids=["a signal", "an error"])
def test_received_answers_are_stored_when_the_run_ends_by(stop: bool) -> None:
    world = World("ABC")
    ended: list[Any] = []

    def run() -> None:
        try:
            world.run()
        except OSError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    world.answers("A")
    assert world.stored(["A"])
    world.answers("B")
    assert world.stored(["A"])
    if stop:
        world.pipeline.stop.set()
    else:
        world.failing = OSError("gone")
    world.answers("C")
    world.go_on.release(3)
    thread.join(10)
    assert not thread.is_alive()
    assert sorted("".join(world.batches)) == (["A", "B", "C"] if stop else ["A", "B"])
    assert len(ended) == (not stop)


def test_nothing_more_is_stored_after_a_store_failed() -> None:
    world = World("AB")
    world.broken = OSError("the database is gone")
    world.go_on.release(2)
    world.answers("A")

    def answer_after_the_first_batch() -> None:
        if world.stored(["A"]):
            world.answers("B")

    thread = threading.Thread(target=answer_after_the_first_batch)
    thread.start()
    with pytest.raises(OSError, match="the database is gone"):
        world.run()
    thread.join(10)
    assert world.batches == ["A"]
