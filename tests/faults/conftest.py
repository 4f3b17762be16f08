"""Fixtures, and the figures that are printed at the end of the suite."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.estate import Estate
from tests.faults.wheels import Index, index

FIGURES = {"points": 0, "survived": 0, "lost": 0}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    """The package index, for the whole session."""
    with index(tmp_path_factory.mktemp("wheels")) as server:
        yield server


@pytest.fixture
def estate(tmp_path: Path, wheels: Index) -> Estate:
    """A polluted root without an environment."""
    made = Estate(tmp_path / "project", wheels)
    made.pollute()
    return made


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the last line of the suite."""
    if FIGURES["points"]:
        terminalreporter.write_line(
            "faults: {points} points tried, {survived} faults survived, {lost} bytes lost".format(**FIGURES)
        )
