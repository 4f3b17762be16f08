"""Tests of the suite itself: if a safeguard is removed, tests must fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.test_kills import FULL

pytestmark = pytest.mark.safety
REPOSITORY = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True)
class Mutation:
    """Removes a safeguard: ``old`` in ``file`` becomes ``new``, and ``tests`` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


KILLS = "tests/faults/test_kills.py"
CONDITIONS = "tests/faults/test_conditions.py"
PROJECT = "module_utils/project/"
MUTATIONS = [
    Mutation(
        "the atomic exchange", PROJECT + "root.py",
        "return _renameat2(self, name, other, other_name, _EXCHANGE)", "return False",
        (KILLS, "-k", "reset_loses_nothing_with_an_old"),
    ),
    Mutation(
        "the manifest before the move", PROJECT + "quarantine.py",
        "        self._save(run)\n        try:\n", "        try:\n",
        (KILLS, "-k", "reset_loses_nothing_without"),
    ),
    Mutation(
        "the settling of killed runs", PROJECT + "quarantine.py",
        "            self.settle(run)\n            if run.kind", "            if run.kind",
        (KILLS, "-k", "killed_restore"),
    ),
    Mutation(
        "the lock", PROJECT + "opening.py", "how | fcntl.LOCK_NB", "fcntl.LOCK_UN",
        (CONDITIONS, "-k", "second_run_stops"),
    ),
    Mutation(
        "the plan of all stages before the first change", PROJECT + "stages.py",
        'for name in names if name != "close"}', 'for name in names[:1] if name != "close"}',
        ("tests/unit/project/test_stages.py",),
    ),
    Mutation(
        "the containment of names", PROJECT + "guards.py", 'root": "/" in name or', 'root":',
        ("tests/unit/project/test_guards.py",),
    ),
    Mutation(
        "the refusal of links", PROJECT + "root.py", "os.O_DIRECTORY | os.O_NOFOLLOW |", "os.O_DIRECTORY |",
        ("tests/unit/project/test_root.py",),
    ),
    Mutation(
        "the guard of mounts", PROJECT + "guards.py", "        if mounted:", "        if False:",
        ("tests/unit/project/test_guards.py",),
    ),
    Mutation(
        "the proof by import", PROJECT + "build.py", 'if answer is None or answer["failed"]:', "if answer is None:",
        (CONDITIONS, "-k", "does_not_import"),
    ),
    Mutation(
        "the redaction of an index", PROJECT + "indexes.py",
        'return re.split("[?#]", scheme + rest)[0]', "return url",
        ("tests/unit/project/test_build.py", "tests/unit/project/test_indexes.py"),
    ),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_safeguard_is_still_written_as_the_mutation_has_it(mutation: Mutation) -> None:
    assert (REPOSITORY / mutation.file).read_text().count(mutation.old) == 1, "fix the mutation"


@pytest.mark.skipif(not FULL, reason="FAULTS=full only (make faults)")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_suite_fails_without(mutation: Mutation, tmp_path: Path) -> None:
    for name in ("module_utils", "library", "tests", "pyproject.toml"):
        source = REPOSITORY / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    file = tmp_path / mutation.file
    text = file.read_text()
    file.write_text(text.replace(mutation.old, mutation.new))
    environment = {**os.environ, "PYTHONPATH": "", "FAULTS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", *mutation.tests], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout[-2000:]
