"""An inventory's settings win in the order of Ansible; every playbook runs from one in ../audit/test_rights.py."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.integration.settings.conftest import LOCAL, SECRETS, Place


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
    assert roots(told(place, "--limit", "named", "-e", given)) == {"named": "/no/extra"}


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


def test_the_batch_and_the_choice_of_hosts_of_an_inventory_hold(place: Place) -> None:
    output = fleet(place, reset_batch=1, reset_hosts="trading")
    assert output.count("PLAY [Reset the project]") == 3
    assert looked_at(output) == {"host-0", "host-1", "host-2"}


def test_the_share_of_failures_of_an_inventory_holds(place: Place) -> None:
    output = fleet(place, "host-0", reset_batch=2, reset_max_failed=20)
    assert "Failed so far: host-0, which is more than 20 percent" in output
    assert looked_at(output) == {"host-1", "other"}
