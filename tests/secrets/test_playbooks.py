"""Every playbook, successful and failing in every way: no secret leaks.

The runs follow each other on one host, each with another password. Of these tests, ``make test`` runs only
``test_first_reset.py``.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.sandbox import postgres

from tests.engines import Database
from tests.faults.wheels import Index
from tests.secrets.conftest import HOSTILE, Searched, credentials, full
from tests.secrets.play import FIGURES, REPOSITORY, Host, Outcome
from tests.standin.process import StandIn

pytestmark = pytest.mark.safety
COVERED = {"audit", "backfill", "layout", "reset", "restore", "sandbox", "schedule"}
# Playbooks that do not run here, with the reason why they cannot leak a secret.
NOT_COVERED: dict[str, str] = {}
SETTINGS = ("--tags", "dotenv,database,health")


def test_every_playbook_is_covered() -> None:
    assert {path.stem for path in REPOSITORY.glob("playbooks/*.yml")} == COVERED | set(NOT_COVERED)


@dataclass
class Wrong:
    """A fault of a host: its settings, its ``.env``, and what the failure message says."""

    settings: Callable[[dict[str, str]], dict[str, Any]]
    said: tuple[str, ...]
    dotenv: str = ""


WRONG = {
    "password": Wrong(
        lambda secrets: {"postgres_password": secrets["old"]}, ("refuses the password of user trader",)
    ),
    "port": Wrong(lambda _: {"postgres_port": postgres.free_port()}, ("refuses connections",)),
    "dotenv": Wrong(lambda _: {}, ("an unclosed quote",), "AI_KEY='{key}\n"),
    "protected": Wrong(lambda _: {"project_protected": ["src", "gone"]}, ("gone",)),
    "lines": Wrong(
        lambda secrets: {"postgres_password": f"{secrets['old']}\n{secrets['key']}"},
        ("POSTGRES_PASSWORD has a line break", "Set postgres_password"),
    ),
    "locked": Wrong(lambda _: {}, (f"ops, pid {os.getpid()}",)),
    "password_type": Wrong(lambda secrets: {"postgres_password": {"value": secrets["index"]}}, ("password",)),
    "token_type": Wrong(lambda secrets: {"eodhd_api_token": [secrets["index"]]}, ("eodhd_api_token",)),
    "env_type": Wrong(lambda secrets: {"project_env": f"OWN {secrets['index']}"}, ("project_env",)),
}


@pytest.fixture(scope="module")
def fleet(reset: Searched, secrets: dict[str, str]) -> Outcome:
    """Reset several hosts at once: the first succeeds, each other fails in its own way."""
    host = reset.host
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts: dict[str, dict[str, Any]] = {"hub": here}
    for (name, wrong), password in zip(WRONG.items(), itertools.cycle(HOSTILE)):
        root = host.folder / "others" / name
        (root / "src").mkdir(parents=True)
        (root / ".reset").mkdir(mode=0o700)
        (root / ".env").write_text(wrong.dotenv.format(**secrets))
        host.roots.append(root)
        own = {"project_root": str(root), "project_interpreter": sys.executable}
        hosts[name] = {**here, **own, "postgres_password": secrets[password], **wrong.settings(secrets)}
    inventory = host.folder / "fleet.json"
    inventory.touch(mode=0o600)
    unasked = {"health_token": False, "health_redis": False, "health_disk_warn": 0, "health_disk_fail": 0}
    everybody = host.values(**reset.values("spaces"), **unasked)
    inventory.write_text(json.dumps({"all": {"hosts": hosts, "vars": everybody}}))
    with (host.folder / "others/locked/.reset/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(json.dumps({"user": "ops", "pid": os.getpid(), "since": "2026-11-26T05:00:00Z"}))
        lock.flush()
        return reset.search(host.playbook("reset", "-i", str(inventory), *SETTINGS, "--diff"))


def test_a_host_among_failing_ones_is_reset(fleet: Outcome) -> None:
    assert fleet.code != 0
    assert set(fleet.failures) == set(WRONG)
    assert "System Healthy" in fleet.said


def test_what_holds_secrets_is_private(fleet: Outcome, host: Host) -> None:
    held = {name: mode for name, mode in fleet.modes.items() if name.endswith(".env")}
    assert held["project/.env"] == 0o600
    assert sum(name.startswith("project/") for name in held) == 2
    assert (host.root / ".reset").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", WRONG)
def test_a_failure_is_explained(fleet: Outcome, name: str) -> None:
    for text in WRONG[name].said:
        assert text in fleet.failures[name]


def test_the_plan_of_a_whole_reset(reset: Searched) -> None:
    done = reset("reset", "--check", "--diff", project_rebuild=True)
    assert done.code == 0, done.said[-3000:]
    assert "POSTGRES_PASSWORD=*** (new)" in done.said


@full
@pytest.mark.parametrize("password", ["backslash", "url"])
def test_a_hostile_password_works_and_stays_inside(reset: Searched, password: str) -> None:
    done = reset("reset", *SETTINGS, "--diff", password=password)
    assert done.code == 0, done.said[-3000:]
    assert "System Healthy" in done.said


def test_restore_and_its_plan(reset: Searched) -> None:
    assert reset("restore", "--check", "--diff").code == 0
    done = reset("restore")
    assert done.code == 0
    assert "changed=1" in done.said


def test_restore_of_a_run_that_is_not_there(reset: Searched) -> None:
    done = reset("restore", "--diff", restore_run="20200101T000000Z")
    assert done.code != 0
    assert "There is no run" in done.said


@full
def test_incompatible_table(reset: Searched, database: Database) -> None:
    with closing(database.connect()) as connection, connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE assets (symbol integer)")
    done = reset("reset", *SETTINGS, postgres_db=database.database)
    assert done.code != 0
    assert "tables that do not fit" in done.said


@full
def test_wrong_password_in_the_health_check(reset: Searched, secrets: dict[str, str]) -> None:
    done = reset("reset", "--tags", "dotenv,health", postgres_password=secrets["old"], database_manage=False)
    assert done.code != 0
    assert "refuses the password of user trader" in done.said


@pytest.fixture(scope="module")
def service(secrets: dict[str, str]) -> Iterator[StandIn]:
    """Start a service that accepts only the token, and quotes it in its pages."""
    with StandIn() as standin:
        standin.control(
            token=secrets["token"], sticky=True, answers={"TSLA.US": ["free"], "VTI.US": ["page"]}
        )
        yield standin


def test_backfill_and_its_plan(reset: Searched, service: StandIn) -> None:
    assert reset("backfill", "--check", "--diff", eodhd_base_url=service.url).code == 0
    done = reset("backfill", eodhd_base_url=service.url)
    assert done.code == 0, done.said[-3000:]
    assert "SUCCESS: Database populated" in done.said


def test_move_to_another_layout_and_its_plan(reset: Searched) -> None:
    assert "→ partitioned" in reset("layout", "--check", postgres_layout="partitioned").said
    done = reset("layout", postgres_layout="partitioned")
    assert done.code == 0, done.said[-3000:]
    assert "every year compared" in done.said


@full
def test_backfill_of_answers_that_quote_the_token(reset: Searched, service: StandIn) -> None:
    done = reset("backfill", eodhd_base_url=service.url, backfill_symbols=["TSLA.US", "VTI.US"])
    assert done.code != 0
    assert "TSLA.US" in done.said


def test_backfill_with_a_token_that_is_refused(
    reset: Searched, service: StandIn, secrets: dict[str, str]
) -> None:
    service.control(token="another")
    try:
        done = reset("backfill", eodhd_base_url=service.url, backfill_force=True)
    finally:
        service.control(token=secrets["token"])
    assert done.code != 0
    assert "eodhd_api_token" in done.said


@full
def test_backfill_without_the_service(reset: Searched) -> None:
    done = reset("backfill", eodhd_base_url="http://127.0.0.1:9/api", backfill_force=True)
    assert done.code != 0


@contextmanager
def dotenv(host: Host, text: str) -> Iterator[None]:
    path = host.root / ".env"
    old = path.read_bytes() if path.exists() else b""
    path.write_text(text)
    try:
        yield
    finally:
        path.write_bytes(old)


@full
def test_database_url_that_libpq_does_not_take(reset: Searched, secrets: dict[str, str]) -> None:
    url = f"postgresql://trader:{secrets['percent']}@127.0.0.1/market"
    with dotenv(reset.host, f"DB_URL={url}\nstray {secrets['old']}\n"):
        done = reset("reset", "--tags", "health")
    assert done.code != 0
    assert "is not a PostgreSQL URL" in done.said


@full
def test_build_from_an_index_with_credentials(
    reset: Searched, secrets: dict[str, str], wheels: Index, tmp_path: Path
) -> None:
    done = reset(
        "reset",
        "--tags",
        "venv",
        project_root=str(other_root(tmp_path)),
        project_packages=["sound"],
        project_index_urls=[wheels.url("sound", credentials(secrets))],
    )
    assert done.code == 0, done.said[-3000:]


def other_root(folder: Path) -> Path:
    (folder / "other/src").mkdir(parents=True)
    return folder / "other"


def test_no_index_serves(reset: Searched, secrets: dict[str, str], wheels: Index) -> None:
    done = reset(
        "reset",
        "--tags",
        "venv",
        project_rebuild=True,
        project_index_urls=[
            wheels.url(mode, credentials(secrets)) for mode in ("garbage", "lacks", "refuses")
        ]
        + [f"http://buyer:{secrets['url']}@127.0.0.1:{wheels.server_port}/sound/simple"],
    )
    assert done.code != 0
    assert "could not be built" in done.said


@full
def test_index_urls_of_a_wrong_type(reset: Searched, secrets: dict[str, str]) -> None:
    urls = [{"value": f"http://u:{secrets['index']}@127.0.0.1:9/"}]
    done = reset("reset", "--tags", "venv", project_rebuild=True, project_index_urls=urls)
    assert done.code != 0
    assert "index_urls" in done.said


def test_audit_of_a_host_as_promised(reset: Searched) -> None:
    """The evidence is in a folder whose files are all searched."""
    folder = reset.host.temporary / "audit"
    made = reset("reset", *SETTINGS, password="url")
    assert made.code == 0, made.said[-3000:]
    done = reset("audit", "--diff", password="url", audit_evidence_dir=str(folder))
    assert done.code == 0, done.said[-3000:]
    assert {path.name for path in folder.iterdir()} == {"audit.json", "junit.xml", "index.html"}
    assert "Audit passed" in done.said


def test_audit_of_a_host_where_every_value_is_another(reset: Searched, secrets: dict[str, str]) -> None:
    folder = reset.host.temporary / "audit"
    lines = [f"KEY_{name.upper()}={secret}-other" for name, secret in secrets.items()]
    with dotenv(reset.host, "\n".join([*lines, f"stray {secrets['old']}", f"DB_URL={secrets['percent']}"])):
        done = reset("audit", "--diff", password="quotes", audit_evidence_dir=str(folder))
    assert done.code != 0
    assert "missing or different: DB_URL" in done.said


def test_a_schedule_as_a_plan(reset: Searched, secrets: dict[str, str]) -> None:
    """tests/scenarios/schedule.py searches what it writes and prints on a machine with systemd."""
    urls = {
        f"schedule_{name}_url": f"http://127.0.0.1:9/{secrets['url']}" for name in ("webhook", "heartbeat")
    }
    done = reset("schedule", "--check", "--diff", **urls)
    assert done.code == 0 or "systemd" in done.said


def test_sandbox_up_and_down(secrets: dict[str, str], tmp_path: Path) -> None:
    host = Host(tmp_path / "host", secrets)
    cluster = postgres.Cluster(tmp_path / "host/sandbox/postgres")
    values = {
        "sandbox_dir": str(tmp_path / "host/sandbox"),
        "sandbox_port": postgres.free_port(),
        "project_root": str(tmp_path / "host/sandbox/project"),
        "postgres_password": secrets["quotes"],
        "eodhd_api_token": secrets["token"],
    }
    try:
        for state in ("present", "absent"):
            done = host.play("sandbox", "--diff", **values, sandbox_state=state)
            assert done.code == 0, done.said[-3000:]
            assert FIGURES.leaks(done, secrets, frozenset()) == []
    finally:
        cluster.remove()
