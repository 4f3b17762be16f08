"""Tags select stages of a reset, alone and together, and skipped stages do not run."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.estate import Estate
from tests.faults.wheels import Index, index

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    with index(tmp_path_factory.mktemp("wheels")) as server:
        yield server


@pytest.fixture
def estate(tmp_path: Path, wheels: Index) -> Estate:
    made = Estate(tmp_path / "project", wheels)
    made.pollute()
    return made


def play(estate: Estate, name: str, *options: str) -> str:
    """Run a playbook on this root; return its output."""
    params = estate.params
    variables: dict[str, Any] = {
        "project_root": str(estate.root), "project_protected": params["protected"], "project_space_mb": 1,
        "project_packages": params["packages"], "project_index_urls": params["index_urls"],
        "postgres_password": "invented", "postgres_port": 5432,  # no sandbox is asked for it
    }  # fmt: skip
    done = subprocess.run(
        ["ansible-playbook", f"playbooks/{name}.yml", "-e", json.dumps(variables), *options],
        cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changed(estate: Estate, before: dict[str, Any]) -> set[str]:
    """Return the stages whose changes are visible in the root."""
    return {
        stage
        for stage, shows in {
            "clean": not (estate.root / "bin").exists(),
            "venv": (estate.root / "venv").exists(),
            "dotenv": estate.picture()[".env"] != before[".env"],
        }.items()
        if shows
    }


@pytest.mark.parametrize(
    ("options", "stages"),
    [
        (["--tags", "clean"], {"clean"}),
        (["--tags", "preflight,venv"], {"venv"}),
        (["--tags", "dotenv"], {"dotenv"}),
        (["--skip-tags", "venv,database,health"], {"clean", "dotenv"}),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)
def test_tags(estate: Estate, options: list[str], stages: set[str]) -> None:
    before = estate.picture()
    play(estate, "reset", *options)
    assert changed(estate, before) == stages


def test_stages_of_several_tags_are_taken_once_and_undone_together(estate: Estate) -> None:
    before = estate.picture()
    tags = ["--tags", "preflight,venv,dotenv,clean"]
    play(estate, "reset", *tags)
    assert changed(estate, before) == {"clean", "venv", "dotenv"}
    assert "changed=0" in play(estate, "reset", *tags)
    play(estate, "restore")
    assert estate.picture() == before
