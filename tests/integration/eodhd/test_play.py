"""The users' command with the stand-in service: report, progress, rc, and no secret anywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def play(market: Any, tmp_path: Path) -> Any:
    def run(*arguments: str, **variables: Any) -> subprocess.CompletedProcess[str]:
        server, request = market.server, market.request()
        values = {
            "ansible_remote_tmp": str(tmp_path / "tmp"),
            "postgres_host": server.host,
            "postgres_port": server.port,
            "postgres_user": server.user,
            "postgres_password": server.password,
            "postgres_db": server.database,
            "eodhd_api_token": request.token,
            "eodhd_base_url": request.base_url,
            "project_root": str(tmp_path / "none"),
            "project_interpreter": sys.executable,
            **variables,
        }
        given = tmp_path / "variables.json"  # -vvvv prints the command line
        given.write_text(json.dumps(values))
        done = subprocess.run(
            [
                Path(sys.executable).parent / "ansible-playbook",
                "playbooks/backfill.yml",
                "-e",
                f"@{given}",
                *arguments,
            ],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for secret in (
            request.token,
            quote(request.token, safe=""),
            server.password,
            quote(server.password, safe=""),
        ):
            assert secret not in done.stdout + done.stderr
        return done

    return run


def test_the_default_command_populates_and_then_changes_nothing(market: Any, play: Any) -> None:
    plan = play("--check", "--diff")
    assert plan.returncode == 0, plan.stdout + plan.stderr
    assert "calls: 1" in plan.stdout
    assert market.query("SELECT count(*) FROM market_data") == [(0,)]
    first = play("-vvv")
    assert first.returncode == 0, first.stdout + first.stderr
    assert re.search(
        r"market_data: (\d+) rows \(was 0\) → \+\1\n   assets: 1 row \(was 0\) → \+1", first.stdout
    )
    assert "🎉 SUCCESS: Database populated" in first.stdout
    second = play()
    assert second.returncode == 0
    assert "changed=0" in second.stdout


def test_progress_is_shown_during_the_play_and_a_missing_symbol_fails_it(
    market: Any, play: Any, tmp_path: Path
) -> None:
    market.standin.control(latency=0.4)
    names = tmp_path / "symbols.txt"
    names.write_text(
        "# the sandbox's\n" + "".join(f"SYM{number:05d}\n" for number in range(30)) + "NOPE.US\n"
    )
    done = play(backfill_symbols=str(names), backfill_concurrency=2)
    assert done.returncode == 2
    lines = re.findall(r"\[sandbox-host\] (\d+) of 31 symbols.* requests/s, .* left", done.stdout)
    assert lines, done.stdout
    assert "NOPE.US: unknown" in done.stdout
    assert "SUCCESS" not in done.stdout
    assert market.query("SELECT count(DISTINCT symbol) FROM market_data") == [(30,)]


def test_a_service_that_echoes_the_token_does_not_leak_it(market: Any, play: Any) -> None:
    """The symbols are text, as from ``-e``."""
    market.standin.control(
        answers={"AAPL.US": ["free"], "MSFT.US": ["page"], "VTI.US": ["reset"]}, sticky=True
    )
    done = play("-vvvv", backfill_symbols="AAPL.US,MSFT,VTI.US", eodhd_base_url=market.standin.url)
    assert done.returncode == 2
    asked = market.query("SELECT DISTINCT symbol FROM backfill_outcome ORDER BY 1")
    assert asked == [("AAPL.US",), ("MSFT.US",), ("VTI.US",)]
    dump = json.dumps(
        market.query("SELECT r::text FROM backfill_run r UNION ALL SELECT o::text FROM backfill_outcome o")
    )
    assert market.request().token not in dump
