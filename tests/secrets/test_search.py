"""Tests of the search: it finds planted secrets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.secrets.play import CHANNELS, Host
from tests.secrets.search import FORMS, forms, hits
from tests.secrets.watch import Watch

pytestmark = pytest.mark.safety


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_every_secret_is_found_in_every_channel(secrets: dict[str, str], form: str) -> None:
    for name, secret in secrets.items():
        for text in forms(secret)[form]:
            for channel in CHANNELS:
                found = hits({channel: f"ahead {text}behind"}, {name: secret})
                assert f"{channel}: {name} ({form})" in found


def test_a_secret_beside_its_user_is_found_in_base64(secrets: dict[str, str]) -> None:
    import base64

    for user in ("u", "us", "user", "buyer"):
        text = base64.b64encode(f"{user}:{secrets['url']}!".encode()).decode()
        assert hits({"log": text}, secrets) == ["log: url (base64)"]


def test_a_folded_secret_is_found(secrets: dict[str, str]) -> None:
    assert hits({"stdout": secrets["key"].replace(" ", "\n    ")}, {"key": secrets["key"]})


def test_nothing_is_found_in_harmless_text(secrets: dict[str, str]) -> None:
    assert hits({"stdout": "ok: [sandbox-host] => changed=false port=5432 demo trader"}, secrets) == []


def test_a_command_line_and_an_environment_are_seen(secrets: dict[str, str]) -> None:
    with Watch() as watch:
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.1)", secrets["quotes"]],
            env={"SECRET": secrets["percent"]},
            check=True,
        )
    assert hits({"table": "\n".join(watch.commands)}, {"x": secrets["quotes"]})
    assert hits({"environments": "\n".join(watch.environments)}, {"x": secrets["percent"]})


def test_a_run_that_talks_is_caught_on_its_channels(
    secrets: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A play does what this project must not: it prints, logs, stores and passes on its password."""
    playbooks = tmp_path / "playbooks"
    playbooks.mkdir()
    (playbooks / "talks.yml").write_text(
        "- hosts: localhost\n  connection: local\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.command:\n"
        "        argv: [sh, -c, 'echo \"$1\" > \"$HOME/left\"; sleep 0.1', sh, '{{ spoken }}']\n"
        "      environment: {SPOKEN: '{{ spoken }}'}\n"
        "    - ansible.builtin.debug: {msg: '{{ spoken }}'}\n"
        # Its warning goes to stderr.
        "    - ansible.builtin.debug: {msg: \"{{ lookup('file', spoken, errors='warn') }}\"}\n"
        "    - ansible.builtin.fail: {msg: '{{ spoken }}'}\n"
    )
    monkeypatch.setattr("tests.secrets.play.REPOSITORY", tmp_path)
    outcome = Host(tmp_path / "host", secrets).play("talks", spoken=secrets["quotes"])
    found = {hit.partition(":")[0] for hit in hits(outcome.channels, {"x": secrets["quotes"]})}
    assert found == set(CHANNELS)
