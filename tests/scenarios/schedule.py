"""What a machine with systemd did with the schedule: tests/schedule/trial.py ran, and this judges it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.secrets.search import hits

CACHE = Path(__file__).resolve().parents[2] / ".cache"
VERDICT = CACHE / "schedule.txt"
if VERDICT.exists() and VERDICT.read_text().startswith("skipped"):
    pytest.skip(VERDICT.read_text().strip(), allow_module_level=True)
# Splits and dividends of each symbol that the daily run has registered: cheaper than by session.
ACTIONS = 2 * 56
# Not the schedule's: systemd makes the key of a machine once, evidence is the audit's, sockets of SSH are Ansible's.
NOT_OURS = re.compile(
    r"/var/lib/systemd/credential\.secret|/home/trader/\.ansible/cp|/srv/market-data/(\.sandbox|reports)(/.*)?"
)


@pytest.fixture(scope="module")
def trial() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CACHE / "schedule/trial.json").read_text())
    return found


def titles(messages: list[dict[str, Any]]) -> list[str]:
    return [message["text"].splitlines()[0] for message in messages]


def outcomes(runs: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(run["job"], run["outcome"]) for run in runs]


def changed(output: str) -> str:
    return str(re.findall(r"changed=(\d+)", output)[-1])


def test_the_plan_shows_the_units_and_writes_nothing(trial: dict[str, Any]) -> None:
    assert "+OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 16:20:00 America/New_York" in trial["plan"]
    assert "+LoadCredentialEncrypted=vault.default:" in trial["plan"]
    assert set(trial["files_of_plan"]) == set(trial["before"])


def test_a_second_time_nothing_changes(trial: dict[str, Any]) -> None:
    assert [changed(trial[name]) for name in ("first", "second", "third")] == ["1", "0", "1"]


def test_systemd_finds_nothing_wrong_with_the_units(trial: dict[str, Any]) -> None:
    assert trial["verified"] == ""


def test_a_timer_fires_by_itself(trial: dict[str, Any]) -> None:
    assert outcomes(trial["fired"])[0] == ("health", "ok")


def test_a_day_of_runs_is_good_and_nobody_hears_of_it(trial: dict[str, Any]) -> None:
    """The second run of the market has nothing to do, and asks nothing."""
    day = [(run["job"], run["outcome"], run["calls"]) for run in trial["day"] if run["job"] != "health"]
    assert day == [
        ("daily-US", "ok", 100),
        ("actions-US", "ok", ACTIONS),
        ("drift", "ok", 0),
        ("audit", "ok", 0),
        ("daily-US", "nothing", 0),
        ("actions-US", "nothing", 0),
    ]
    assert trial["told_in_the_day"] == []


def test_a_refused_token_is_one_message_and_its_end_is_one(trial: dict[str, Any]) -> None:
    assert trial["failed_unit"] == "failed"
    assert titles(trial["told_while_it_lasts"]) == ["❌ market data: EODHD refuses the token"]
    assert titles(trial["told_after_it"])[1:] == ["✅ market data: over: EODHD refuses the token"]


def test_the_message_says_what_to_do_and_where_more_is(trial: dict[str, Any]) -> None:
    text = trial["told_while_it_lasts"][0]["text"]
    for part in ("Hosts: hub", "Set eodhd_api_token", "Evidence: /var/lib/market-data/logs/"):
        assert part in text


def test_mail_and_a_command_get_the_same(trial: dict[str, Any]) -> None:
    assert trial["mail"].count("Subject: ") == 2
    assert titles(trial["told_after_it"]) == re.findall("(?:❌|✅) market data.*", trial["commanded"])


def test_a_failure_is_told_within_the_interval_of_its_check(trial: dict[str, Any]) -> None:
    """Also one that comes when a check has just ended, and the timer of the next one takes all its delay."""
    waited = trial["told_while_it_lasts"][0]["at"] - trial["failed_at"]
    interval, delay = 86400, 300
    assert (interval + delay + waited) / interval <= 1.1


def test_a_killed_run_is_told_and_so_is_its_end(trial: dict[str, Any]) -> None:
    assert titles(trial["told_of_the_kill"]) == [
        "❌ market data: the job health does not finish",
        "✅ market data: over: the job health does not finish",
    ]


def test_a_run_that_meets_another_says_so(trial: dict[str, Any]) -> None:
    assert "health: met: another run of this job is active" in trial["met"]


def test_healthy_runs_beat_and_others_do_not(trial: dict[str, Any]) -> None:
    before, while_it_lasts, after = trial["beats"]
    assert (while_it_lasts - before, after - while_it_lasts) == (0, 1)


def test_no_secret_is_anywhere(trial: dict[str, Any]) -> None:
    said = {name: text for name, text in trial.items() if isinstance(text, str)}
    # The receiver notes the address, which is the secret, beside each message.
    said["messages"] = json.dumps(
        [each["text"] for each in trial["told_after_it"] + trial["told_of_the_kill"]]
    )
    said["history"] = json.dumps(trial["history"])
    assert "OnCalendar=" in said["written"]
    assert "System Healthy" in said["journal"]
    assert hits(said, trial["secrets"]) == []


def test_what_is_kept_is_private(trial: dict[str, Any]) -> None:
    modes = dict(reversed(line.split(" ", 1)) for line in trial["modes"].splitlines())
    assert modes["root /etc/market-data/credentials/vault.default"] == "600"
    assert modes["trader /var/lib/market-data"] == "700"


def test_jobs_are_confined(trial: dict[str, Any]) -> None:
    """systemd's own scale: 10 is without any confinement, below 2 it says OK."""
    assert trial["exposure"] < 2


def test_nothing_is_left_after_its_removal(trial: dict[str, Any]) -> None:
    assert [changed(trial[name]) for name in ("removal_plan", "removed", "removed_again")] == ["1", "1", "0"]
    left = set(trial["after"]) - set(trial["before"])
    assert [path for path in sorted(left) if not NOT_OURS.fullmatch(path)] == []
    assert "0 loaded units listed" in trial["units_after"]


def test_a_machine_of_the_group_scheduler_does_it_instead(trial: dict[str, Any]) -> None:
    assert [changed(output) for output in trial["elsewhere"]] == ["1", "0", "1"]
    assert trial["elsewhere_left"] == ""


def test_jobs_get_every_vault_password_and_may_use_sudo_if_they_are_to(trial: dict[str, Any]) -> None:
    assert {"vault.default", "vault.second"} <= set(trial["elsewhere_kept"].split())
    assert outcomes(trial["elsewhere_runs"]) == [("health", "ok")]
    assert "USER=root" in trial["elsewhere_rights"]


def test_an_ordinary_user_gets_units_of_their_own_by_the_commands_of_the_readme(
    trial: dict[str, Any],
) -> None:
    edited, planned, scheduled = trial["typed"]
    assert "+OnCalendar=Mon,Tue,Wed,Thu,Fri *-*-* 16:20:00 America/New_York" in planned
    assert [changed(each) for each in (planned, scheduled, trial["user_again"], trial["user_removed"])] == [
        "1", "1", "0", "1",
    ]  # fmt: skip
    assert set(trial["user_told"].split()) == {"heartbeat", "vault.default", "webhook"}
    assert trial["user_run"].splitlines()[-1] == "health: ok"
    assert "600 trader /home/trader/.config/market-data/credentials/vault.default" in trial["user_modes"]
    assert trial["user_left"] == ""
    assert hits({"editor": edited, "plan": planned, "schedule": scheduled}, trial["secrets"]) == []
