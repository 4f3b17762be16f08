"""The module postgres_schema, called as Ansible calls it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import postgres_schema
import pytest
from ansible.module_utils.testing import patch_module_args

if TYPE_CHECKING:
    from tests.engines import Database


def call(database: Database, capsys: pytest.CaptureFixture[str], **options: Any) -> dict[str, Any]:
    with patch_module_args({"connection": vars(database), **options}), pytest.raises(SystemExit):
        postgres_schema.main()
    output = capsys.readouterr().out
    assert database.password not in output
    result: dict[str, Any] = json.loads(output)
    return result


def test_it_creates_what_is_missing_and_says_so(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(database, capsys)["changed"]
    assert not call(database, capsys)["changed"]


def test_without_the_venv_its_own_python_serves(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(database, capsys, interpreter="/nowhere/bin/python", _ansible_check_mode=True)
    assert result["tables"] == {"assets": "created", "market_data": "created"}


@pytest.fixture
def no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    util = SimpleNamespace(find_spec=lambda name: None)
    monkeypatch.setattr(postgres_schema, "importlib", SimpleNamespace(util=util))


@pytest.mark.usefixtures("no_driver")
def test_without_any_driver_check_mode_says_when_it_will_look(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(database, capsys, interpreter="/nowhere/bin/python", _ansible_check_mode=True)
    assert "Database and tables were not checked" in result["skipped_because"]
    assert not result["changed"]


@pytest.mark.usefixtures("no_driver")
def test_without_any_driver_it_names_the_stage_that_brings_one(
    database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    result = call(database, capsys, interpreter="/nowhere/bin/python")
    assert result["failed"]
    assert "--tags venv" in result["msg"]
