"""The commands of users: the sandbox is set up, stays as it is, and is removed without a trace."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from ansible.module_utils.sandbox import postgres

ROOT = Path(__file__).resolve().parents[3]


class Play:
    """Runs the sandbox's playbook with its own folder and port."""

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
            timeout=60,  # in case the server keeps our output open
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


def test_up_twice_not_with_another_password_and_down(play: Play) -> None:
    assert play.changes("--check") == 1
    assert not play.folder.exists()

    assert play.changes() == 1
    # The defaults of group_vars/, which the reset uses.
    url = f"postgresql://postgres:password@localhost:{play.port}/postgres"
    with closing(psycopg2.connect(url)):
        pass
    assert play.changes() == 0

    done = play("-vvv", postgres_password="n3w-one")
    assert done.returncode != 0
    assert "make sandbox-stop" in done.stdout
    assert "n3w-one" not in done.stdout + done.stderr

    assert play.changes(sandbox_state="absent") == 1
    assert not play.folder.exists()
    postgres.require_free_port(play.port)


def test_a_root_that_is_not_the_sandboxs_is_refused(play: Play) -> None:
    done = play(project_root="/opt/mt5-crs")
    assert done.returncode != 0
    assert "project_root" in done.stdout
    assert not play.folder.exists()
