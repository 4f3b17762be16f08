from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs


def test_each_exchange_gets_a_job_of_its_own() -> None:
    found = jobs.parse(
        {"daily": {"playbook": "backfill", "at": "published", "each": "exchange"}}, ["US", "LSE"]
    )
    assert {name: job.variables for name, job in found.items()} == {
        "daily-US": {"backfill_exchange": "US"}, "daily-LSE": {"backfill_exchange": "LSE"},
    }  # fmt: skip


@pytest.mark.parametrize("off", [None, False])
def test_a_job_can_be_switched_off(off: object) -> None:
    assert jobs.parse({"audit": off}, ["US"]) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"x": {"playbook": "reset"}}, "x has no at"),
        ({"x": {"playbook": "reset", "at": "daily", "when": 1}}, "x has when"),
        ({"x": {"playbook": "reset", "at": "daily", "each": "host"}}, "only `exchange`"),
        ({"a b": {"playbook": "reset", "at": "daily"}}, "is not a valid job name"),
        ({"x": {"playbook": "reset", "at": "daily", "seconds": "1h"}}, "x has seconds: '1h'"),
        ({"again": {"playbook": "reset", "at": "daily"}}, "is not a valid job name"),
    ],
)
def test_a_wrong_job_is_refused_by_name(given: dict[str, object], said: str) -> None:
    with pytest.raises(Problem, match=said):
        jobs.parse(given, ["US"])


def test_values_may_be_texts_as_templates_and_people_write_them() -> None:
    texts = {"tags": "health,dotenv", "seconds": "900", "again": "60", "check": "no", "heartbeat": "true"}
    given = {"playbook": "reset", "at": "daily", "variables": '{"debug": true}', **texts}
    values: dict[str, Any] = {
        "tags": ["health", "dotenv"],
        "seconds": 900,
        "again": 60,
        "check": False,
        "heartbeat": True,
    }
    assert jobs.parse({"x": given}, []) == {
        "x": jobs.Job("x", "reset", "daily", variables={"debug": True}, **values)
    }


def test_a_configuration_comes_back_from_its_file(tmp_path: Path) -> None:
    given = {"health": {"playbook": "reset", "tags": ["health"], "at": "*-*-* 05:30:00"}}
    config = jobs.Config("/p", ["hosts"], jobs.parse(given, []), "/state", "/run/x")
    (tmp_path / "c").write_text(config.text())
    assert jobs.load(tmp_path / "c").text() == config.text()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"jobs": [{"name": "x", "new": 1}]}'])
def test_another_versions_configuration_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c").write_text(text)
    with pytest.raises(Problem, match="playbooks/schedule.yml"):
        jobs.load(tmp_path / "c")
