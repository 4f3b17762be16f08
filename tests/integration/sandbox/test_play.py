"""The commands that users type: the sandbox comes up, stays as it is, and goes without a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.sandbox import postgres

ROOT = Path(__file__).resolve().parents[3]


class Play:
    """Runs the sandbox's playbook on a folder and a port of its own."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        self.port = postgres.free_port()

    def __call__(self, *arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        values = {
            "sandbox_dir": str(self.folder),
            "sandbox_port": self.port,
            # Ansible takes the home from the user database, where it may not exist.
            "ansible_remote_tmp": str(self.home / "tmp"),
            **variables,
        }
        playbook = Path(sys.executable).parent / "ansible-playbook"
        return subprocess.run(
            [playbook, "playbooks/sandbox.yml", "-e", json.dumps(values), *arguments],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,  # a server that held on to our output would never let it end
            check=False,
        )

    def changes(self, *arguments: str, **variables: Any) -> int:
        done = self(*arguments, **variables)
        found = re.search(r"changed=(\d+)", done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
        assert found
        return int(found[1])


@pytest.fixture
def play(tmp_path: Path) -> Iterator[Play]:
    made = Play(tmp_path / "sandbox", tmp_path)
    yield made
    postgres.Cluster(made.folder / "postgres").remove()


def test_up_twice_and_down(play: Play) -> None:
    assert play.changes("--check") == 1
    assert not play.folder.exists()

    assert play.changes() == 1
    # The defaults of group_vars/, as the reset will use them.
    url = f"postgresql://postgres:password@localhost:{play.port}/postgres"
    with closing(psycopg2.connect(url)):
        pass
    assert play.changes() == 0

    assert play.changes(sandbox_state="absent") == 1
    assert not play.folder.exists()
    postgres.require_free_port(play.port)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Play]]:
    """Two sandboxes that came up at once and chose their ports."""
    home = tmp_path_factory.mktemp("pair")
    plays = [Play(home / name, home) for name in ("one", "other")]
    for play in plays:
        play.port = 0
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda play: play.changes(), plays))
        yield plays
    finally:
        for play in plays:
            postgres.Cluster(play.folder / "postgres").remove()


def test_two_sandboxes_at_once_choose_their_ports(pair: list[Play]) -> None:
    one, other = ((play.folder / "postgres/port").read_text() for play in pair)
    assert one != other


def test_a_changed_password_is_explained_and_not_shown(pair: list[Play]) -> None:
    done = pair[0]("-vvv", postgres_password="n3w-one")
    assert done.returncode != 0
    assert "make sandbox-stop" in done.stdout
    assert "n3w-one" not in done.stdout + done.stderr


def test_a_root_that_is_not_the_sandboxs_is_refused(play: Play) -> None:
    done = play(project_root="/opt/mt5-crs")
    assert done.returncode != 0
    assert "project_root" in done.stdout
    assert not play.folder.exists()
