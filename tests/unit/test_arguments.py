"""The choices that the documentation of a module names are those that exist, and the settings name the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.arguments import eodhd_backfill, health_check, postgres_schema, project_reset
from ansible.module_utils.eodhd import backfill, model

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

import reference

SETTINGS = {name: option for group in reference.groups().values() for name, option in group.items()}
BACKFILL = eodhd_backfill.ARGUMENTS


def test_each_mode_has_its_function() -> None:
    assert BACKFILL["mode"]["choices"] == list(backfill.MODES)


def test_what_is_answered_without_all_rows_can_be_accepted() -> None:
    assert set(BACKFILL["accept"]["choices"]) == model.ANSWERED - {"loaded"}


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("backfill_mode", BACKFILL["mode"]),
        ("backfill_accept", BACKFILL["accept"]),
        ("postgres_layout", postgres_schema.ARGUMENTS["layout"]),
        ("postgres_sslmode", BACKFILL["connection"]["options"]["sslmode"]),
        ("health_count", health_check.ARGUMENTS["count"]),
        ("project_wheels", project_reset.ARGUMENTS["wheels"]),
    ],
)
def test_a_setting_has_the_choices_of_its_module(name: str, option: dict[str, Any]) -> None:
    assert SETTINGS[name]["choices"] == option["choices"]
