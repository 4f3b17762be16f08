"""Any inventory, anywhere: every playbook runs from one that stands alone, and its settings win in Ansible's order."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

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
    """An executable one is as good as a file: each takes its turns."""
    for playbook, arguments, form, said in (
        ("reset", (), "executable", "✅ System Healthy"),
        ("reset", ("--tags", "health"), "static", "✅ System Healthy"),
        ("backfill", (), "executable", "🎉 SUCCESS: Database populated"),
        ("audit", (), "static", "hub"),
        ("restore", (), "executable", "bin"),
    ):
        done = equipped.play(playbook, *arguments, form=form)
        assert done.returncode == 0, f"{playbook} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"
        assert said in done.stdout
    assert (equipped.folder / "project/bin").is_dir()
    assert json.loads((equipped.folder / "audit/audit.json").read_text())["hosts"][0]["name"] == "hub"


def told(place: Place, *arguments: str | Path) -> str:
    """What a restore says that finds no root: the name of the root that it was given."""
    done = place.play("restore", *arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stdout


def roots(output: str) -> dict[str, str]:
    """The root that each host was given, as its failure names it."""
    failures = re.split(r"\[(\w+)\]: FAILED", output)[1:]
    return {host: re.findall(r"/no/\w+", said)[0] for host, said in zip(failures[::2], failures[1::2])}


def test_the_default_is_the_weakest(place: Place) -> None:
    place.inventory = {
        "all": {"vars": {**SECRETS, "project_protected": ["no-such-path"]}, "hosts": {"hub": LOCAL}}
    }
    assert "/opt/mt5-crs" in told(place)


def test_a_setting_wins_by_its_level(place: Place) -> None:
    """From the weakest to the strongest: each host has what the one before has, and more."""
    group = {"project_root": "/no/group"}
    place.inventory = {"all": {
        "vars": {**SECRETS, "ansible_remote_tmp": str(place.folder / "tmp"), "project_root": "/no/all"},
        "hosts": {"plain": LOCAL},
        "children": {
            "first": {"hosts": {"grouped": LOCAL}, "vars": group},
            "second": {"hosts": {"filed": LOCAL, "named": {**LOCAL, "project_root": "/no/host"}}, "vars": group},
        },
    }}  # fmt: skip
    (place.folder / "group_vars").mkdir()
    (place.folder / "group_vars/second.yml").write_text("project_root: /no/folder\n")
    levels = {"plain": "/no/all", "grouped": "/no/group", "filed": "/no/folder", "named": "/no/host"}
    assert roots(told(place)) == levels
    given = json.dumps({"project_root": "/no/extra", "project_protected": ["src"], "project_packages": []})
    assert roots(told(place, "-e", given)) == dict.fromkeys(levels, "/no/extra")


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
