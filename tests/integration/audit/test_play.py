"""The command that users type, on hosts of every kind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.integration.audit.conftest import EXPIRED, TOKEN, Audited, Estate


def not_passed(host: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in host["checks"] if check["verdict"] != "pass"}


def test_a_failed_audit_ends_with_an_error_after_the_evidence_is_written(audited: Audited) -> None:
    assert audited.done.returncode != 0
    assert {path.name for path in audited.folder.iterdir()} == {"audit.json", "junit.xml", "index.html"}
    assert "1 failed | .env mode: expected 0600; found 0644" in " ".join(audited.done.stdout.split())


def test_every_host_is_in_the_evidence(audited: Audited) -> None:
    verdicts = {host["name"]: host["verdict"] for host in audited.document["hosts"]}
    # NONE.US has no data and VTI.US is behind: the hub is healthy with warnings.
    assert verdicts == {
        "hub": "warn", "gpu": "fail", "bare": "fail", "lax": "failed", "away": "unreachable",
    }  # fmt: skip


def test_host_as_promised_passes_everything_but_its_data(audited: Audited) -> None:
    hub = audited.host("hub")
    assert {name for name in not_passed(hub) if not name.startswith("health: ")} == set()
    groups = {check["group"] for check in hub["checks"]}
    assert groups == {"Root", "Environment", "Settings", "Runs", "Health", "Rows"}
    assert hub["counts"]["pass"] >= 25


def test_failing_and_waived_checks_are_told_apart(audited: Audited) -> None:
    found = not_passed(audited.host("gpu"))
    assert {name: verdict for name, verdict in found.items() if not name.startswith("health: ")} == {
        "artifact lib": "waived",
        ".env mode": "fail",
    }


def test_host_without_an_environment_is_audited_all_the_same(audited: Audited) -> None:
    found = not_passed(audited.host("bare"))
    for name in (
        "artifact lib64",
        "venv/bin/python",
        "package psycopg2-binary",
        ".env values",
        "health",
        "rows assets",
    ):
        assert found[name] == "fail"


def test_it_changes_nothing_on_a_host(audited: Audited) -> None:
    assert audited.before == audited.after


def test_last_reset_is_told_with_its_undo(audited: Audited) -> None:
    last = audited.host("hub")["last_reset"]
    assert {entry["name"]: entry["what"] for entry in last["entries"]} == {
        "lib": "moved away", "lib64": "moved away", "venv": "made", ".env": "replaced",
    }  # fmt: skip
    assert last["undo"].endswith(f"restore_run={last['run']}")


def test_data_of_the_shared_database_is_there_once(audited: Audited) -> None:
    (database,) = audited.document["databases"]
    assert sorted(database["hosts"]) == ["bare", "gpu", "hub"]
    lines = {line["symbol"]: line for line in database["coverage"]["worst"]}
    assert (lines["MSFT.US"]["missing"], lines["AAPL.US"]["missing"], lines["BTC-USD.CC"]["missing"]) == (
        1,
        0,
        0,
    )
    assert lines["VTI.US"]["behind"] >= 28
    assert lines["NONE.US"]["last"] is None
    assert database["ledger"][0]["state"] == "done"


def test_no_secret_is_in_the_evidence(audited: Audited) -> None:
    password = audited.estate.server.password
    for path in audited.folder.iterdir():
        text = path.read_text()
        for secret in (
            TOKEN,
            quote(TOKEN, safe=""),
            password,
            quote(password, safe=""),
            json.dumps(password),
        ):
            assert secret not in text


def test_check_mode_judges_without_writing(estate: Estate, tmp_path: Path) -> None:
    done = estate.play("audit", "--limit", "bare", "--check", audit_evidence_dir=str(tmp_path / "none"))
    assert done.returncode == 2
    assert "artifact lib64: expected " in " ".join(done.stdout.split())
    assert not (tmp_path / "none").exists()


def test_expired_waiver_is_named_and_counts_no_more(audited: Audited) -> None:
    found = {check["name"]: check for check in audited.host("bare")["checks"]}
    assert found["artifact lib64"]["verdict"] == "fail"
    assert found["waivers"]["found"] == f"artifact lib64 expired on {EXPIRED} (long ago)"


def test_waiver_without_a_reason_is_refused_and_the_host_stands_there_as_failed(audited: Audited) -> None:
    assert "Waiver 1 (lock) of audit_waivers has no reason" in audited.host("lax")["message"]
    assert "Waiver 1 (lock) of audit_waivers has no reason" in " ".join(audited.done.stdout.split())


def test_tag_of_the_reset_is_the_audit_alone_and_one_that_passes_changes_nothing(
    estate: Estate, tmp_path: Path
) -> None:
    arguments = ("--limit", "hub", "--tags", "audit")
    done = estate.play("reset", *arguments, audit_evidence_dir=str(tmp_path))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "changed=0" in done.stdout
    assert json.loads((tmp_path / "audit.json").read_text())["totals"]["hosts"] == 1
    assert "project_reset" not in done.stdout
    assert "Check the root" not in done.stdout


def test_many_hosts_cost_one_question_about_their_token(estate: Estate) -> None:
    assert estate.reset_said.count("✅ System Healthy") == 2
    assert estate.reset_requests == 1


def test_whole_reset_is_one_call(estate: Estate) -> None:
    """One for the first host and one for the rest; Molecule shows that a second reset changes nothing."""
    calls = re.findall(r"TASK \[reset : stages \| (.*)\]", estate.reset_said)
    assert calls == ["Run clean, venv, dotenv, close"] * 2
    assert "moved away" in estate.reset_said


def test_plain_reset_leaves_the_audit_out(estate: Estate) -> None:
    assert "audit :" not in estate.reset_said
    assert not (estate.folder / "none").exists()


@pytest.mark.parametrize("name", [".env DB_URL", "unfinished runs", "lock", "protected src", "venv/bin/pip"])
def test_promises_are_among_the_checks(audited: Audited, name: str) -> None:
    assert name in {check["name"] for check in audited.host("hub")["checks"]}
