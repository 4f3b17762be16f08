"""What of a playbook's results the scheduler gets to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace as Named

import pytest

sys.path.append(str(Path(__file__).resolve().parents[3] / "callback_plugins"))

import results


@pytest.mark.parametrize(
    ("action", "recorded"),
    [
        ("project_reset", True),
        ("ansible.builtin.assert", False),
        ("ansible.builtin.validate_argument_spec", False),
    ],
)
def test_a_check_of_arguments_that_passes_is_no_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, recorded: bool
) -> None:
    monkeypatch.setenv(results.VARIABLE, str(tmp_path / "results"))
    task = Named(action=action, get_name=lambda: "a task")
    result = Named(result={"changed": False}, host=Named(get_name=lambda: "hub"), task=task)
    callback = results.CallbackModule()
    callback.v2_runner_on_ok(result)
    assert (tmp_path / "results").exists() == recorded
    callback.v2_runner_on_failed(result)
    assert json.loads((tmp_path / "results").read_text().splitlines()[-1])["state"] == "failed"
