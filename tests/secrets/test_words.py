"""Secrets whose text occurs in the output anyway: no output may depend on them.

Two runs that differ only in the secret must have the same output. This shows that the secret is not in it, and that
masking did not change text that only looks like the secret.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from tests.engines import Database
from tests.secrets.conftest import Searched, full
from tests.secrets.play import FIGURES, Outcome

pytestmark = pytest.mark.safety
SAID = ("stdout", "stderr", "log", "junit", "system log")
# Text that differs between any two runs.
VARYING = (
    (r"\d{8}T\d{6}Z(-\d+)?", "RUN"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d([,.]\d+)?", "TIME"),
    (r"ansible-(tmp|local)-[\w.-]+", "TEMPORARY"),
    (r"\btmp\w{8}\b", "TEMPORARY"),
    (r"\bp=\d+", "PID"),
    (r'time="[\d.]+"', "SECONDS"),
    (r"latency_ms\W+[\d.]+", "MILLISECONDS"),
    (r"disk_free_mib\W+[\d.]+|[\d,]+ MiB are free", "FREE"),
)


def normal(outcome: Outcome) -> list[str]:
    """Return the lines of a run, with varying text replaced."""
    text = html.unescape("\n".join(f"{channel}:\n{outcome.channels[channel]}" for channel in SAID))
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text.splitlines()


def difference(one: list[str], other: list[str]) -> list[str]:
    """Return the lines that only one of two runs has."""
    return [line for line in difflib.ndiff(one, other) if line[0] in "+-"]


@pytest.fixture
def said(reset: Searched, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Return a function that runs with a password and a token, and returns the lines of the output."""
    monkeypatch.setattr(reset.host, "system_log", False)  # as ansible.cfg has it

    def run(password: str, token: str, **more: Any) -> list[str]:
        variables = {
            **reset.give(password), "eodhd_api_token": token, "project_quarantine_keep": 50, **more
        }  # fmt: skip
        (reset.host.root / ".env").write_text("DEBUG=true\n")  # the kept file has the same size each time
        outcome = reset.host.play("reset", "--tags", "dotenv,database,health", "--diff", **variables)
        FIGURES.runs += 1
        return [f"ended with {outcome.code}", *normal(outcome)]

    return run


@pytest.fixture(scope="module")
def references() -> dict[str, list[str]]:
    """Return the output of runs whose secrets are unique words; filled by the first test."""
    return {}


def created(server: Database) -> bool:
    """Return whether an earlier test has created the database."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT FROM pg_database WHERE datname = 'market'")
        return bool(cursor.rowcount)


@pytest.mark.parametrize(
    ("password", "token"),
    [
        pytest.param("5", "demo", id="one character"),
        pytest.param("trader", "true", id="the user's name", marks=full),
    ],
)
def test_a_run_says_the_same_whatever_the_secret(
    said: Callable[..., list[str]],
    references: dict[str, list[str]],
    postgres_server: Database,
    password: str,
    token: str,
) -> None:
    if not references:
        if not created(postgres_server):
            said("Zw9-first", "Zw9-first-token")
        references["success"] = said("Zw9-word", "Zw9-token")
        assert references["success"][0] == "ended with 0"
    assert difference(references["success"], said(password, token)) == []


def test_a_failed_run_says_the_same_whatever_the_secret(said: Callable[..., list[str]]) -> None:
    """Ansible rejects the port before the module's own work, while its masking is still on."""
    failed = said("5", "demo", postgres_port="54x2")
    assert "54x2" in "".join(failed)
    assert difference(failed, said("Zw9-word", "Zw9-token", postgres_port="54x2")) == []
