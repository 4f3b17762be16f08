"""The trial of the fleet: what happened, as JSON.

One reset with every fault at once, fixing, and a second reset. Then every playbook on hosts of other kinds: Debian 11,
whose Python is 3.9, and logins that need sudo, with a password and without.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fleet.hosts import PASSWORD, REPOSITORY, ROOT, SUDO_PASSWORD, Fleet, wait_for
from tests.standin.process import StandIn

NAME = "ansible-reset-fleet"
# The first is the hub; it was reset before, alone. The last one's batch must not begin.
HOSTS = ["hub", "ordinary", "cut", "stopped", "paused", "full", "wrong", "old", "later"]
# Hosts of other kinds; whether sudo asks for a password there.
OLD, SUDO = "eleven", {"eleven": True, "granted": False}
PLAYBOOKS = {
    "first": ["reset"], "again": ["reset"], "health": ["reset", "--tags", "health"], "backfill": ["backfill"],
    "audit": ["audit"], "restore": ["restore"],
}  # fmt: skip
TRIAL = REPOSITORY / ".cache" / NAME / "trial.json"
PLAY_SECONDS = 120.0


@dataclass(frozen=True)
class Fault:
    """What is done to a host while it builds, and how that is fixed."""

    hurt: Callable[[Fleet], None]
    fix: Callable[[Fleet], None]


CUT_OFF = {
    "cut": Fault(lambda fleet: fleet.cut_network("cut"), lambda fleet: fleet.cut_network("cut", cut=False)),
    "stopped": Fault(lambda fleet: fleet.stop_sshd("stopped"), lambda fleet: fleet.start_sshd("stopped")),
    "paused": Fault(lambda fleet: fleet.pause("paused"), lambda fleet: fleet.pause("paused", paused=False)),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "wrong": {"postgres_password": "not the fleet's"},
    "old": {"project_python_minimum": "3.99"},
}


def fleet() -> Fleet:
    """The fleet of the trial."""
    return Fleet(NAME, [*HOSTS, *SUDO], full="full", old=[OLD], sudo=SUDO)


class Play:
    """A run of a playbook on the fleet; its output is read as it comes."""

    def __init__(self, inventory: Path, *arguments: str, playbook: str = "reset") -> None:
        self.begun = time.monotonic()
        self.log = inventory.with_suffix(".log")
        # Ten percent may fail: the batch with the faults is over that.
        options = ["-e", f"reset_batch={len(HOSTS) - 2}", "-e", "reset_max_failed=10"]
        # The settings of Molecule's own run are not this one's.
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("ANSIBLE_", "MOLECULE_"))
        }
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                ["ansible-playbook", "-i", str(inventory), f"playbooks/{playbook}.yml", *options, *arguments],
                cwd=REPOSITORY, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                start_new_session=True, env=environment,
            )  # fmt: skip

    def __enter__(self) -> Play:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def end(self) -> dict[str, Any]:
        """Wait for the end: exit code, seconds, output."""
        code = self.process.wait(timeout=PLAY_SECONDS)
        return {
            "rc": code,
            "seconds": round(time.monotonic() - self.begun, 1),
            "output": self.log.read_text(),
        }


def run(fleet: Fleet) -> dict[str, Any]:
    """The whole trial on a fleet that is up."""
    before = fleet.all_files()
    faulty, fixed = fleet.inventory(SETTINGS, "faulty.json", HOSTS), fleet.inventory({}, "fixed.json", HOSTS)
    with Play(fixed, "--limit", "hub") as play:
        alone = play.end()
    with Play(faulty) as play:
        for host, fault in CUT_OFF.items():
            # Processes of a build run: it is in the middle of it.
            wait_for(f"the build on {host}", lambda host=host: _building(fleet, host, play), PLAY_SECONDS)
            fault.hurt(fleet)
        hurt = play.end()
    for fault in CUT_OFF.values():
        fault.fix(fleet)
    hurt["files"] = fleet.all_files()
    fleet.make_room("full")
    with Play(fixed) as play:
        healed = play.end()
    healed["files"] = fleet.all_files()
    found = {"before": before, "alone": alone, "hurt": hurt, "healed": healed, "kinds": everything(fleet)}
    return {**found, "secrets": [PASSWORD, SUDO_PASSWORD, SETTINGS["wrong"]["postgres_password"]]}


def everything(fleet: Fleet) -> dict[str, Any]:
    """Every playbook on the hosts of other kinds; what each said, and the files in the end."""
    found: dict[str, Any] = {}
    with StandIn(host=fleet.gateway()) as standin:
        standin.control(token="demo")
        settings = {
            host: {
                "ansible_user": "ops", "ansible_become": True, "postgres_db": "kinds", "eodhd_base_url": standin.url,
                "audit_evidence_dir": str(fleet.folder / "audit"), "health_stale_fail": 0,
                **({"ansible_become_password": SUDO_PASSWORD} if asks else {}),
            }
            for host, asks in SUDO.items()
        }  # fmt: skip
        inventory = fleet.inventory(settings, "kinds.json", list(SUDO))
        for name, (playbook, *arguments) in PLAYBOOKS.items():
            with Play(inventory, *arguments, playbook=playbook) as play:
                found[name] = play.end()
    # Answers that were paid for are private to the user of a run.
    script = f"find {ROOT} -name .backfill -prune -o ! -user trader -print"
    found["foreign"] = {host: fleet("sh", "-c", script, host=host) for host in SUDO}
    found["files"] = {host: fleet.files(host) for host in SUDO}
    return found


def _building(fleet: Fleet, host: str, play: Play) -> bool:
    """Whether a new environment is being made in the host, or has just been."""
    if play.process.poll() is not None:
        raise RuntimeError(f"The play ended before {host} built:\n{play.log.read_text()[-2000:]}")
    places = f"{ROOT}/.reset/build/*/wheels {ROOT}/venv/.reset.json"
    return bool(fleet("sh", "-c", f"ls -d {places} 2>/dev/null || :", host=host))


def main(subject: Fleet) -> None:
    """Run the trial and leave what happened in ``TRIAL``."""
    subject.find()
    found = run(subject)
    TRIAL.write_text(json.dumps(found))
    plays = {name: found[name] for name in ("alone", "hurt", "healed")}
    plays |= {name: found["kinds"][name] for name in PLAYBOOKS}
    print("; ".join(f"{name}: {play['seconds']} s" for name, play in plays.items()))
