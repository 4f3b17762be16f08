"""A job that fails and recovers: no secret is in its output, history, logs, metrics or messages."""

from __future__ import annotations

import json
import sys
from urllib.parse import quote

import pytest
from ansible.module_utils.schedule import jobs
from ansible.module_utils.schedule.jobs import Config

from tests.secrets.conftest import Searched
from tests.secrets.play import FIGURES, REPOSITORY

pytestmark = pytest.mark.safety
GIVEN = {"health": {"playbook": "reset", "tags": ["health"], "at": "*-*-* 05:30:00", "heartbeat": True}}


def test_a_job_that_fails_and_recovers(reset: Searched, secrets: dict[str, str]) -> None:
    """Units contain no secret; tests/scenarios/schedule.py searches those of a real systemd."""
    host = reset.host
    folder, credentials, inventory = (
        host.temporary / "schedule", host.folder / "credentials", host.folder / "hosts.json",
    )  # fmt: skip
    (folder / "spare").mkdir(parents=True)
    credentials.mkdir(mode=0o700)
    for name in ("webhook", "heartbeat"):  # nobody listens, so failures are reported too
        (credentials / name).write_text(f"http://127.0.0.1:9/{quote(secrets['url'], safe='')}")
    (credentials / "vault.default").write_text(secrets["key"])
    config = Config(
        str(REPOSITORY), [str(inventory)], jobs.parse(GIVEN, []), str(folder), str(folder / "spare"), retries=[],
        metrics=str(folder / "schedule.prom"), command=["tee", "-a", str(folder / "told")],
    )  # fmt: skip
    (folder / "schedule.json").write_text(config.text())
    assert reset("reset", "--tags", "dotenv,database", password="quotes").code == 0
    good = host.values(
        **reset.values("quotes"), ansible_connection="local", ansible_python_interpreter=sys.executable,
        health_token=False, health_redis=False, health_disk_warn=0, health_disk_fail=0,
    )  # fmt: skip
    said = []
    for settings in ({**good, "health_tables": ["none"]}, good):
        inventory.write_text(json.dumps({"all": {"hosts": {"hub": settings}}}))
        done = host.run(
            ["tools/run_job.py", str(folder / "schedule.json"), "health"],
            CREDENTIALS_DIRECTORY=str(credentials),
        )
        assert FIGURES.leaks(done, secrets, frozenset({"index"})) == []
        said.append(done.said)
    assert "The webhook of schedule_webhook_url is not reachable" in said[0]
    assert "The URL of schedule_heartbeat_url is not reachable" in said[1]
    assert (folder / "told").read_text().count("market data: ") == 2
    assert "project_schedule_last_ok" in (folder / "schedule.prom").read_text()
