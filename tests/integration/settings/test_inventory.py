"""Any inventory, anywhere: every playbook runs from one that stands alone, and its settings win in Ansible's order."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from standin.process import StandIn

from tests.engines import Database
from tests.integration.settings.conftest import LOCAL, SECRETS, Place


@pytest.fixture
def equipped(place: Place, postgres_server: Database) -> Iterator[Place]:
    """One host with a legacy project, a server without the database, and the stand-in for EODHD."""
    root = place.folder / "project"
    for name in ("src", "bin"):
        (root / name).mkdir(parents=True)
    database = replace(postgres_server, database=f"settings_{uuid.uuid4().hex[:8]}")
    with StandIn() as standin:
        standin.control(token="demo")
        place.inventory = {"all": {"children": {"trading": {"hosts": {"hub": LOCAL}, "vars": {
            "ansible_remote_tmp": str(place.folder / "tmp"),
            "postgres_host": database.host, "postgres_port": database.port, "postgres_user": database.user,
            "vault_postgres_password": database.password, "vault_eodhd_api_token": "demo",
            "postgres_db": database.database,
            "eodhd_base_url": standin.url,
            "project_root": str(root), "project_protected": ["src"], "project_index_urls": [""],
            "project_packages": ["psycopg2-binary", "python-dotenv", "requests"], "project_space_mb": 1,
            "health_redis": False, "health_stale_fail": 0, "health_disk_warn": 0, "health_disk_fail": 0,
            "audit_evidence_dir": str(place.folder / "audit"),
        }}}}}  # fmt: skip
        yield place
    postgres_server.run(f'DROP DATABASE IF EXISTS "{database.database}" WITH (FORCE)')


@pytest.mark.timeout(300)
def test_every_playbook_runs_from_an_inventory_elsewhere(equipped: Place) -> None:
    for playbook, arguments, said in (
        ("reset", (), "✅ System Healthy"),
        ("reset", ("--tags", "health"), "✅ System Healthy"),
        ("backfill", (), "🎉 SUCCESS: Database populated"),
        ("audit", (), "hub"),
        ("restore", (), "bin"),
    ):
        done = equipped.play(playbook, *arguments)
        assert done.returncode == 0, f"{playbook} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        assert said in done.stdout
    assert (equipped.folder / "project/bin").is_dir()
    assert json.loads((equipped.folder / "audit/audit.json").read_text())["hosts"][0]["name"] == "hub"


def test_an_executable_inventory_is_as_good(equipped: Place) -> None:
    done = equipped.play("reset", form="executable")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✅ System Healthy" in done.stdout


def told(place: Place, *arguments: str | Path) -> str:
    """What a reset says that finds no root: the name of the root that it was given."""
    done = place.play("reset", "--tags", "preflight", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


def test_the_default_is_the_weakest(place: Place) -> None:
    place.inventory = {
        "all": {"vars": {**SECRETS, "project_protected": ["no-such-path"]}, "hosts": {"hub": LOCAL}}
    }
    assert "/opt/mt5-crs" in told(place)


def test_a_setting_wins_by_its_level(place: Place) -> None:
    """From the weakest to the strongest, each added to those before."""
    vault = {**SECRETS, "ansible_remote_tmp": str(place.folder / "tmp")}
    everybody = {"vars": {**vault, "project_root": "/no/all"}}
    group: dict[str, Any] = {"hosts": {"hub": dict(LOCAL)}}
    place.inventory = {"all": {**everybody, "children": {"trading": group}}}
    assert "/no/all" in told(place)

    group["vars"] = {"project_root": "/no/group"}
    assert "/no/group" in told(place)

    (place.folder / "group_vars").mkdir()
    (place.folder / "group_vars/trading.yml").write_text("project_root: /no/folder\n")
    assert "/no/folder" in told(place)

    group["hosts"]["hub"]["project_root"] = "/no/host"
    assert "/no/host" in told(place)

    given = json.dumps({"project_root": "/no/extra", "project_protected": ["src"], "project_packages": []})
    assert "/no/extra" in told(place, "-e", given)


def fleet(place: Place, *away: str, **settings: object) -> str:
    """The plan of a health check of three hosts of a group and another; ``away`` are out of reach."""
    hosts = {
        name: {"ansible_host": "127.0.0.1", "ansible_port": 9} if name in away else LOCAL
        for name in ("host-0", "host-1", "host-2")
    }
    everybody = {**SECRETS, "project_root": "/no/such", "ansible_remote_tmp": str(place.folder / "tmp")}
    group = {"hosts": hosts, "vars": settings}
    place.inventory = {"all": {"vars": everybody, "hosts": {"other": LOCAL}, "children": {"trading": group}}}
    return place.play("reset", "--tags", "health", "--check").stdout


def looked_at(output: str) -> set[str]:
    """Hosts whose health was looked at."""
    return set(re.findall(r"^   (\S+) +📝", output, re.MULTILINE))


def test_the_batch_of_an_inventory_holds(place: Place) -> None:
    output = fleet(place, reset_batch=2)
    assert output.count("PLAY [Reset the project]") == 3
    assert looked_at(output) == {"host-0", "host-1", "host-2", "other"}


def test_the_share_of_failures_of_an_inventory_holds(place: Place) -> None:
    output = fleet(place, "host-0", reset_batch=2, reset_max_failed=20)
    assert "Failed so far: host-0, more than the 20 percent" in output
    assert looked_at(output) == {"host-1", "other"}


def test_the_plays_run_on_the_hosts_of_the_inventorys_choice(place: Place) -> None:
    assert looked_at(fleet(place, reset_hosts="trading")) == {"host-0", "host-1", "host-2"}
