"""A controller's job: ansible-runner runs the playbook, and its events hold the report that people read elsewhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.integration.settings.conftest import LOCAL, ROOT, SECRETS, Place


def test_the_events_of_a_job_hold_the_report(place: Place, tmp_path: Path) -> None:
    place.inventory = {"all": {"hosts": {"hub": LOCAL}, "vars": {
        "ansible_remote_tmp": str(tmp_path / "tmp"), "project_root": str(tmp_path / "none"), **SECRETS,
    }}}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "ansible_runner", "run", tmp_path / "job", "--playbook", "playbooks/reset.yml",
         "--project-dir", ROOT, "--inventory", place.write(), "--cmdline=--tags health", "--json", "--ident", "one"],
        cwd=tmp_path, env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "HOME": str(tmp_path),
                           "LC_ALL": "C.UTF-8"},
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    events: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    reports = [
        found for event in events if (found := event.get("event_data", {}).get("res", {}).get("report"))
    ]
    assert len(reports) == 1
    assert reports[0].startswith("📊 Infrastructure Health Check")
    # What a runner shows of the output is Ansible's alone.
    assert not any(event["stdout"].startswith("📊") for event in events)
