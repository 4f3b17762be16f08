"""Each proof finds a broken promise about the files of a root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible.module_utils.project import proofs
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A root as a reset leaves it."""
    root = tmp_path / "project"
    (root / "venv/bin").mkdir(parents=True)
    for script in ("activate", "pip", "python"):
        (root / "venv/bin" / script).touch()
    (root / "venv/.reset.json").write_text(json.dumps({"asked": ["redis"]}))
    (root / ".env").write_text("A=1\nB=2\n")
    (root / ".env").chmod(0o600)
    return root


def failures(root: Path) -> list[str]:
    with Directory.open(str(root)) as folder:
        looked = [
            *proofs.gone(folder, ["lib64", "venv"]),
            *proofs.programs(folder),
            proofs.packages(folder, ["redis"]),
            *proofs.keys(folder, ["A", "B"]),
        ]
        return [proof.name for proof in looked if not proof.ok]


def test_every_promise_is_kept(finished: Path) -> None:
    assert failures(finished) == []


def test_artifact_that_stayed_is_found_even_as_a_dangling_link(finished: Path) -> None:
    (finished / "lib64").symlink_to("gone")
    assert failures(finished) == ["artifact lib64"]


@pytest.mark.parametrize("script", ["activate", "pip", "python"])
def test_missing_program_is_found(finished: Path, script: str) -> None:
    (finished / "venv/bin" / script).unlink()
    assert failures(finished) == [f"venv/bin/{script}"]


def test_dangling_python_is_found(finished: Path) -> None:
    (finished / "venv/bin/python").unlink()
    (finished / "venv/bin/python").symlink_to("/gone/python")
    assert failures(finished) == ["venv/bin/python"]


@pytest.mark.parametrize("record", ['{"asked": []}', "[]", "{", "null"])
def test_environment_for_other_packages_is_found(finished: Path, record: str) -> None:
    (finished / "venv/.reset.json").write_text(record)
    assert failures(finished) == ["venv built and proven for"]


def test_open_mode_is_found(finished: Path) -> None:
    (finished / ".env").chmod(0o644)
    assert failures(finished) == [".env mode"]


@pytest.mark.parametrize("text", ["A=1\n", "A=1\nB=2\nA=3\n"])
def test_missing_or_repeated_key_is_found(finished: Path, text: str) -> None:
    (finished / ".env").write_text(text)
    assert failures(finished) == [".env keys"]


def test_broken_promise_fails_with_its_name(finished: Path) -> None:
    (finished / "lib").mkdir()
    with (
        Directory.open(str(finished)) as folder,
        pytest.raises(Problem, match="artifact lib: expected gone, found directory, 0 files"),
    ):
        proofs.proven(folder.path, proofs.gone(folder, ["lib"]))
