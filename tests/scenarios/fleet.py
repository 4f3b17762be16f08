"""What became of every host of the fleet: hurt in the middle of a reset, fixed, and reset again.

Run by the scenario ``fleet`` (molecule/fleet/verify.yml) after the trial (tests/fleet/trial.py).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet.trial import HOSTS, OLD, PLAYBOOKS, SUDO, TRIAL

FOUND: dict[str, Any] = json.loads(TRIAL.read_text())
KINDS: dict[str, Any] = FOUND["kinds"]
VERDICTS = {
    "hub": "✅ healthy, nothing to do",
    "ordinary": "✅ healthy, changed",
    "cut": "❌ unreachable at",
    "stopped": "❌ unreachable at",
    "paused": "❌ unreachable at",
    "full": "❌ failed at venv",
    "wrong": "❌ failed at health",
    "old": "❌ failed at venv",
    "later": "⏸️  not begun",
}
REASONS = {
    "cut": "Failed to connect to the host via ssh",
    "stopped": "Failed to connect to the host via ssh",
    "paused": "Failed to connect to the host via ssh",
    "full": "No space left on device",
    "wrong": "refuses the password of user postgres. Check postgres_password",
    "old": "below project_python_minimum 3.99",
    "later": "more than 10 percent (reset_max_failed)",
}
PROTECTED = ("./src/", "./scripts/", "./docs/", "./.git/")
# What a host that was not let through must still look like.
UNTOUCHED = ["old", "later"]


def line(run: str, host: str) -> str:
    """The host's line of the summary, and the reason below it."""
    summary = FOUND[run]["output"].split("📋", 1)[1]
    found = re.search(rf"^   {host} +.*(\n {{10}}.*)?", summary, re.MULTILINE)
    assert found, summary
    return found[0]


def content(run: str, host: str, part: str) -> list[str]:
    """Digests of all versions of a file: the one in place and those that are kept."""
    files = FOUND[run]["files"][host]
    return [digest for name, digest in files.items() if name == f"./{part}" or name.endswith(f"/kept/{part}")]


def test_every_host_has_its_verdict() -> None:
    assert set(VERDICTS) == set(HOSTS)


@pytest.mark.parametrize("host", HOSTS)
def test_verdict(host: str) -> None:
    assert VERDICTS[host] in line("hurt", host)


@pytest.mark.parametrize("host", REASONS)
def test_reason(host: str) -> None:
    assert REASONS[host] in line("hurt", host)


@pytest.mark.parametrize("host", ["full", "wrong", "ordinary"])
def test_what_was_moved_and_how_to_undo_it_is_said(host: str) -> None:
    assert re.search(rf"moved \d+ files, .*; undo: --limit {host} -e restore_run=\w+", line("hurt", host))


@pytest.mark.parametrize("host", ["cut", "stopped", "paused"])
def test_host_that_was_cut_off_ends_healthy_and_keeps_what_was_moved(host: str) -> None:
    """It went on alone, or the next reset did; either way one run holds all of it."""
    assert "healthy" in line("healed", host)
    runs = {name.partition("/kept/")[0] for name in FOUND["healed"]["files"][host] if "/kept/" in name}
    assert len(runs) == 1


def test_run_with_failures_is_a_failed_one() -> None:
    assert FOUND["hurt"]["rc"] != 0


@pytest.mark.parametrize("host", UNTOUCHED)
def test_host_that_was_stopped_ahead_is_untouched(host: str) -> None:
    assert FOUND["hurt"]["files"][host] == FOUND["before"][host]


def test_database_was_created_for_the_hub_alone() -> None:
    created = [
        re.search(r"database \| Create.*?(?=\nTASK|\nPLAY)", play, re.DOTALL)
        for play in FOUND["healed"]["output"].split("\nPLAY [")
    ]
    asked = [re.findall(r"^(?:ok|changed): \[(\w+)\]", found[0], re.MULTILINE) for found in created if found]
    assert [host for hosts in asked for host in hosts] == ["hub"]


def test_second_run_went_well() -> None:
    assert FOUND["healed"]["rc"] == 0, FOUND["healed"]["output"][-3000:]


@pytest.mark.parametrize("host", HOSTS)
def test_every_host_is_healthy_in_the_end(host: str) -> None:
    assert "✅ healthy" in line("healed", host)


@pytest.mark.parametrize("host", ["hub", "ordinary"])
def test_host_that_was_done_is_left_alone(host: str) -> None:
    assert "nothing to do" in line("healed", host)
    assert FOUND["healed"]["files"][host] == FOUND["hurt"]["files"][host]


@pytest.mark.parametrize("host", HOSTS)
def test_no_byte_is_lost(host: str) -> None:
    before = FOUND["before"][host]
    assert len(before) > 40
    lost = [name for name, digest in before.items() if digest not in content("healed", host, name[2:])]
    assert lost == []


@pytest.mark.parametrize("host", HOSTS)
def test_protected_paths_are_as_they_were(host: str) -> None:
    def protected(files: dict[str, str]) -> dict[str, str]:
        return {name: digest for name, digest in files.items() if name.startswith(PROTECTED)}

    assert protected(FOUND["before"][host])
    assert protected(FOUND["healed"]["files"][host]) == protected(FOUND["before"][host])


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_playbook_goes_through_on_other_kinds_of_hosts(name: str) -> None:
    assert KINDS[name]["rc"] == 0, KINDS[name]["output"][-3000:]


def test_debian_11_is_built_for_its_own_python() -> None:
    assert re.search(rf"\[{OLD}\](?:\n.*)?\n🐍 Python 3\.9\.", KINDS["first"]["output"])


@pytest.mark.parametrize("host", SUDO)
def test_second_reset_of_another_kind_has_nothing_to_do(host: str) -> None:
    summary = KINDS["again"]["output"].split("📋", 1)[1]
    assert re.search(rf"^   {host} +✅ healthy, nothing to do", summary, re.MULTILINE), summary


def test_bars_were_fetched_for_another_kind() -> None:
    assert "🎉 SUCCESS: Database populated" in KINDS["backfill"]["output"]


@pytest.mark.parametrize("host", SUDO)
def test_what_a_login_with_sudo_left_belongs_to_the_owner(host: str) -> None:
    assert KINDS["foreign"][host].split() == []


@pytest.mark.parametrize("host", SUDO)
def test_restore_brings_another_kind_back(host: str) -> None:
    before, restored = FOUND["before"][host], KINDS["files"][host]
    assert {name: restored.get(name) for name in before} == before


def test_no_password_is_in_an_output() -> None:
    outputs = [FOUND[run]["output"] for run in ("alone", "hurt", "healed")]
    outputs += [KINDS[name]["output"] for name in PLAYBOOKS]
    assert [word for word in FOUND["secrets"] if any(word in output for output in outputs)] == []
