"""The units as systemd itself reads them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.schedule import jobs, units

pytestmark = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")


def test_the_clone_may_lie_in_any_folder(tmp_path: Path) -> None:
    project = tmp_path / "my 100%h clone"
    python = project / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    parsed = jobs.parse({"health": {"playbook": "reset", "at": "daily"}}, [])
    config = jobs.Config(
        str(project), ["hosts"], parsed, "/var/lib/md", "/run/md", title="50% off", name="md", user="root",
        writable=["/data/all bars"],
    )  # fmt: skip
    folder = tmp_path / "units"
    folder.mkdir()
    for path, text in units.render(config, units.places("md", None, 0)).items():
        (folder / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder / "md-health.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "md-" in line]
    assert (done.returncode, told) == (0, [])
