"""SIGKILL of the whole process group, at points of a reset and of a restore.

``FAULTS=full`` tries every point, ``make safety`` some of them, and ``make test`` one of each operation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.conftest import FIGURES
from tests.faults.estate import RESET, Estate, Outcome
from tests.faults.wheels import Index

FULL = os.environ.get("FAULTS") == "full"
WANTED = pytest.mark.parametrize("wanted", [1, pytest.param(6, marks=pytest.mark.safety)])


def spread(whole: Outcome, wanted: int) -> list[int]:
    """Return the points to try: one after the middle move, about ``wanted`` of them, or all if ``FULL``."""
    assert whole.problem is None
    assert whole.points > 30
    middle = whole.moves[len(whole.moves) // 2]
    if wanted == 1:
        return [middle + 1]
    if FULL:
        return list(range(whole.points))
    others = {round(index * (whole.points - 1) / (wanted - 1)) for index in range(wanted)}
    moves = [whole.moves[0], middle, whole.moves[-1]]
    return sorted(others | set(moves) | {move + 1 for move in moves if move + 1 < whole.points})


def with_old_environment(estate: Estate) -> None:
    """Make a polluted root whose environment works and will be replaced."""
    estate.pollute()
    assert estate.run(RESET).problem is None
    estate.pollute()
    estate.params["rebuild"] = True


def without_environment(estate: Estate) -> None:
    estate.pollute()


def reset_done(estate: Estate) -> None:
    with_old_environment(estate)
    assert estate.run(RESET).problem is None
    estate.params["rebuild"] = False


def problems_of_reset(estate: Estate, had_environment: bool, kill_at: int | None, **job: float) -> list[str]:
    """Kill a reset, and run it again twice; return what is wrong."""
    protected, treasure, old = estate.protected(), estate.treasure(), estate.old_dotenv
    outcome = estate.run(RESET, kill_at, **job)
    wrong = _held(estate, protected, treasure, had_environment)
    if outcome.killed and (estate.root / ".env").read_bytes() != old and not _new_dotenv(estate):
        wrong.append(".env is neither the old nor the new one")
    following = estate.run(RESET)
    if following.problem:
        wrong.append(f"the next run stops: {following.problem}")
    estate.params["rebuild"] = False
    again = estate.run(RESET)
    if again.changed or again.problem:
        wrong.append(f"the run after the next is not quiet: {again}")
    wrong += _held(estate, protected, treasure, True)
    if not _new_dotenv(estate):
        wrong.append(".env is not the new one in the end")
    return wrong


def _held(estate: Estate, protected: object, treasure: object, environment: bool) -> list[str]:
    wrong = []
    if estate.protected() != protected:
        wrong.append("protected paths differ")
    lost = estate.lost(treasure)  # type: ignore[arg-type]
    FIGURES["lost"] += lost
    if lost:
        wrong.append(f"{lost} bytes lost or doubled")
    if (environment or os.path.lexists(estate.root / "venv")) and not estate.works():
        wrong.append("the environment does not work")
    return wrong


def _new_dotenv(estate: Estate) -> bool:
    content = (estate.root / ".env").read_bytes()
    return content.startswith(b"# theirs\nAI_PROVIDER=kept\n") and b"DEBUG=false\n" in content


def problems_of_restore(estate: Estate, before: dict[str, tuple[int, bytes]], kill_at: int) -> list[str]:
    """Kill a restore of the last reset, and finish it by another one; return what is wrong."""
    protected, treasure = estate.protected(), estate.treasure()
    estate.run(["restore"], kill_at)
    wrong = _held(estate, protected, treasure, True)
    if not estate.closed("restore"):
        following = estate.run(["restore"])
        if following.problem:
            wrong.append(f"the next restore stops: {following.problem}")
    if estate.picture() != before:
        wrong.append("the tree is not the one before the reset")
    again = estate.run(["restore"])
    while again.changed and not again.problem:
        again = estate.run(["restore"])  # the resets before that one
    if again.problem:
        wrong.append(f"an earlier reset does not come back: {again.problem}")
    return wrong


def try_all(
    folder: Path, wheels: Index, points: Iterable[int], case: Callable[[Estate, int], list[str]]
) -> dict[int, list[str]]:
    """Try each point on an estate of its own, at least two at a time; return what is wrong."""

    def one(point: int) -> tuple[int, list[str]]:
        estate = Estate(folder / f"point{point}" / "project", wheels, folder)
        try:
            return point, case(estate, point)
        finally:
            shutil.rmtree(folder / f"point{point}", ignore_errors=True)

    with ThreadPoolExecutor(max(2, os.cpu_count() or 1)) as pool:
        results = dict(pool.map(one, points))
    FIGURES["points"] += len(results)
    FIGURES["survived"] += sum(not wrong for wrong in results.values())
    return {point: wrong for point, wrong in results.items() if wrong}


@WANTED
@pytest.mark.timeout(3000)
def test_killed_reset_loses_nothing_without_an_old_environment(
    tmp_path: Path, wheels: Index, estate: Estate, wanted: int
) -> None:
    points = spread(estate.run(RESET), wanted)

    def case(hurt: Estate, point: int) -> list[str]:
        without_environment(hurt)
        return problems_of_reset(hurt, False, point)

    assert try_all(tmp_path, wheels, points, case) == {}


@WANTED
@pytest.mark.timeout(3000)
def test_killed_reset_loses_nothing_with_an_old_environment(
    tmp_path: Path, wheels: Index, estate: Estate, wanted: int
) -> None:
    with_old_environment(estate)
    points = spread(estate.run(RESET), wanted)

    def case(hurt: Estate, point: int) -> list[str]:
        with_old_environment(hurt)
        return problems_of_reset(hurt, True, point)

    assert try_all(tmp_path, wheels, points, case) == {}


@pytest.mark.safety
@pytest.mark.timeout(3000)
def test_reset_killed_while_it_builds_loses_nothing(tmp_path: Path, wheels: Index) -> None:
    """The kill comes between two points, while the programs that build run."""

    def case(hurt: Estate, point: int) -> list[str]:
        with_old_environment(hurt)
        return problems_of_reset(hurt, True, None, kill_after=0.15 + 0.02 * point)

    assert try_all(tmp_path, wheels, range(0, 40, 1 if FULL else 8), case) == {}


@WANTED
@pytest.mark.timeout(3000)
def test_killed_restore_loses_nothing(tmp_path: Path, wheels: Index, estate: Estate, wanted: int) -> None:
    reset_done(estate)
    points = spread(estate.run(["restore"]), wanted)

    def case(hurt: Estate, point: int) -> list[str]:
        with_old_environment(hurt)
        before = hurt.picture()
        assert hurt.run(RESET).problem is None
        return problems_of_restore(hurt, before, point)

    assert try_all(tmp_path, wheels, points, case) == {}
