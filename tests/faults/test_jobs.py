"""Jobs of a controller in containers: the first is killed, and the next, with another host name, continues."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.estate import Estate
from tests.faults.wheels import Index

REPOSITORY = Path(__file__).resolve().parents[2]
# Its own host name, and its own processes, which end with it.
CONTAINER = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"]
AS_HOST = ["sh", "-c", 'hostname "$0" && exec "$@"']

pytestmark = [
    pytest.mark.safety,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for containers"),
]


def job(estate: Estate, folder: Path, name: str, index_url: str) -> subprocess.Popen[str]:
    """Start the reset under ansible-runner in a container of this host name."""
    settings = {
        "ansible_connection": "local", "ansible_python_interpreter": sys.executable,
        "ansible_remote_tmp": str(folder / "tmp"), "postgres_password": "p", "vault_eodhd_api_token": "demo",
        "project_root": str(estate.root), "project_protected": ["src", "docs"], "project_packages": ["sound"],
        "project_space_mb": 1, "project_index_urls": [index_url],
    }  # fmt: skip
    inventory = folder / f"{name}.json"
    inventory.write_text(json.dumps({"all": {"hosts": {"hub": settings}}}))
    run: list[str | Path] = [
        sys.executable, "-m", "ansible_runner", "run", folder / name, "--project-dir", REPOSITORY,
        "--playbook", "playbooks/reset.yml", "--inventory", inventory,
        "--cmdline=--tags preflight,clean,venv,dotenv",
    ]  # fmt: skip
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    return subprocess.Popen(
        [*CONTAINER, *AS_HOST, name, *run], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )


def test_a_job_carries_on_where_the_killed_one_stopped(estate: Estate, wheels: Index, tmp_path: Path) -> None:
    if subprocess.run([*CONTAINER, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this kernel or container gives no namespaces")
    treasure = estate.treasure()
    with job(estate, tmp_path, "job-1", wheels.url("stalls")) as first:
        deadline = time.monotonic() + 60
        while not list(estate.root.glob(".reset/build/*/venv")) and time.monotonic() < deadline:
            time.sleep(0.05)
        first.kill()
    assert first.returncode < 0, "it ended by itself"
    with job(estate, tmp_path, "job-2", wheels.url()) as second:
        output, _ = second.communicate(timeout=120)
    assert second.returncode == 0, output
    assert estate.works()
    assert estate.lost(treasure) == 0
