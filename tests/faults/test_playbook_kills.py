"""Plays are killed with all their processes while they run; only in full mode, because each kill takes 15 s."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.conftest import FIGURES
from tests.faults.estate import Estate
from tests.faults.test_kills import FULL
from tests.faults.wheels import Index

REPOSITORY = Path(__file__).resolve().parent.parent.parent
pytestmark = [pytest.mark.safety, pytest.mark.skipif(not FULL, reason="FAULTS=full only (make faults)")]


class Plays:
    """Runs the playbooks on an estate."""

    def __init__(self, estate: Estate, folder: Path) -> None:
        self.estate = estate
        self.variables = folder / "variables.json"
        params = estate.params
        values: dict[str, Any] = {
            "project_root": str(estate.root), "project_protected": params["protected"], "project_space_mb": 1,
            "project_packages": params["packages"], "project_index_urls": params["index_urls"],
            "postgres_password": "invented", "postgres_port": 5432,  # no sandbox is asked for it
        }  # fmt: skip
        self.variables.write_text(json.dumps(values))

    def start(self, name: str) -> subprocess.Popen[str]:
        command = ["ansible-playbook", f"playbooks/{name}.yml", "-e", f"@{self.variables}"]
        tags = ["--tags", "preflight,clean,venv,dotenv"] if name == "reset" else []
        return subprocess.Popen(
            [*command, *tags], cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, name: str) -> str:
        process = self.start(name)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    def kill_after(self, name: str, seconds: float) -> None:
        process = self.start(name)
        time.sleep(seconds)
        # Workers have their own sessions, so list all descendants before the first is killed.
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in family:
            member.suspend()
        for member in family:
            member.kill()
        process.communicate(timeout=30)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", ["reset", "restore"])
def test_killed_play_loses_nothing(tmp_path: Path, wheels: Index, name: str) -> None:
    steps = 20
    for step in range(steps):
        folder = tmp_path / f"{name}{step}"
        folder.mkdir()
        estate = Estate(folder / "project", wheels)
        estate.pollute()
        plays = Plays(estate, folder)
        if name == "restore":
            plays.run("reset")
        protected, treasure = estate.protected(), estate.treasure()
        plays.kill_after(name, 0.8 + (2.5 if name == "reset" else 0.8) * step / steps)
        FIGURES["points"] += 1
        FIGURES["lost"] += estate.lost(treasure)
        assert estate.protected() == protected
        assert estate.lost(treasure) == 0
        assert not os.path.lexists(estate.root / "venv") or estate.works()
        plays.run("reset")
        assert "changed=0" in plays.run("reset")
        assert estate.works()
        assert estate.lost(treasure) == 0
        FIGURES["survived"] += 1
