"""Reports are for people at the default output; every other output stays clean, with the same text in the result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.settings.conftest import LOCAL, SECRETS, Place

TITLE = "📊 Infrastructure Health Check"


@pytest.fixture
def place(place: Place) -> Place:
    """Two hosts that were never reset."""
    place.inventory = {"all": {"hosts": {"hub": LOCAL, "gpu": LOCAL}, "vars": {
        "ansible_remote_tmp": str(place.folder / "tmp"), "project_root": str(place.folder / "none"),
        **SECRETS,
    }}}  # fmt: skip
    return place


def health(place: Place, **environment: str) -> str:
    """What a health check of the first host says; it fails, so the second one is not begun."""
    place.environment = environment
    done = place.play("reset", "--tags", "health")
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


def test_the_default_output_has_the_report_and_the_summary(place: Place) -> None:
    output = health(place)
    assert TITLE in output.splitlines()
    assert "📋 2 hosts" in output.splitlines()
    assert re.search(r"gpu +⏸️  not begun", output)


def test_another_output_has_no_line_of_ours_and_the_report_in_the_result(place: Place) -> None:
    """With a line of ours it would be no document."""
    callbacks = str(Path(__file__).parent / "callbacks")
    # In front of the project's own, whose report is enabled still.
    found: list[dict[str, Any]] = json.loads(
        health(
            place, ANSIBLE_STDOUT_CALLBACK="as_json", ANSIBLE_CALLBACK_PLUGINS=f"{callbacks}:callback_plugins"
        )
    )
    (report,) = [result["report"] for result in found if "report" in result]
    assert report.startswith(TITLE)


def test_the_plan_of_a_host_that_was_never_reset_gives_no_verdict(place: Place) -> None:
    done = place.play(
        "reset", "--tags", "health", "--check", "-e", "postgres_host=127.0.0.1", "-e", "postgres_port=9"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "System Healthy" not in done.stdout
    assert "System Unhealthy" not in done.stdout
    assert "Tables: market_data, assets" in done.stdout
    assert "PostgreSQL at 127.0.0.1:9 refuses connections." in done.stdout


def test_a_tag_that_no_task_has_is_told_and_the_scheduler_counts_no_host(place: Place) -> None:
    results = place.folder / "results"
    place.environment = {"SCHEDULE_RESULTS": str(results)}
    done = place.play("reset", "--tags", "helth")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Nothing was done: no task of the project ran." in done.stderr
    assert not results.exists()
