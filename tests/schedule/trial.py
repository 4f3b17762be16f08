"""From nothing to timers, a day of runs, a failed one, its message and its end, removal; what happened, as JSON."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from typing import Any

from tests.fleet.engine import run
from tests.fleet.hosts import REPOSITORY, wait_for
from tests.schedule.machine import PROJECT, PYTHON, Machine, records

TRIAL = REPOSITORY / ".cache/schedule/trial.json"
STANDIN, RECEIVER, INDEX, DATABASE = 8861, 8862, 8863, 25437
TOLD, COMMANDED = "/srv/told.jsonl", "/srv/commanded.txt"
METRICS = "/srv/metrics/schedule.prom"
INVENTORY = f"{PROJECT}/inventory/production.yml"
SECRETS = {
    "vault": "Vault-word-4711",
    "webhook": "Webhook-word-4712",
    "heartbeat": "Heartbeat-word-4713",
    "database": "Database-word-4714",
    "token": "Token-word-4715",
    "second": "Second-word-4716",
}
# Where a schedule may have left something: all that is not the kernel's, the container's or another program's.
LOOKED_AT = "/etc /var/lib /run /srv /home /usr/local /opt /tmp /var/tmp"
NAME = "market-data"
STATE = f"/var/lib/{NAME}"


class Trial:
    """The steps, in their order; each adds to ``found``."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.found: dict[str, Any] = {"secrets": SECRETS}

    def run(self) -> dict[str, Any]:
        """All of it."""
        for step in (
            self.lay_out, self.schedule, self.wait_for_a_timer, self.live_through_a_day, self.lose_the_token,
            self.kill_a_run, self.meet, self.search, self.measure, self.remove, self.serve_another, self.be_a_user,
        ):  # fmt: skip
            begun = time.monotonic()
            step()
            print(f"{step.__name__}: {time.monotonic() - begun:.1f} s", flush=True)
        return self.found

    def lay_out(self) -> None:
        """A healthy host: the sandbox's root and PostgreSQL, reset once; the stand-in, and somebody to tell."""
        machine = self.machine
        machine("mkdir", "-p", f"{PROJECT}/group_vars/trading", "/srv/metrics")
        hub = {"ansible_connection": "local", "ansible_host": "127.0.0.1", "ansible_user": "trader"}
        hosts = {"all": {"children": {"trading": {"hosts": {"hub": hub}}}}}
        machine("tee", INVENTORY, given=json.dumps(hosts).encode())
        values = {
            "ansible_python_interpreter": PYTHON, "project_root": f"{PROJECT}/.sandbox/mt5-crs",
            "project_interpreter": PYTHON, "project_packages": [], "project_space_mb": 1,
            "project_index_urls": [f"http://127.0.0.1:{INDEX}/simple"], "postgres_port": DATABASE,
            "postgres_password": "{{ vault_postgres_password }}", "eodhd_api_token": "{{ vault_eodhd_api_token }}",
            "eodhd_base_url": f"http://127.0.0.1:{STANDIN}/api", "health_redis": False, "health_disk_warn": 0,
            "health_disk_fail": 0, "reset_hosts": "trading", "schedule_mail": ["keeper@localhost"],
            "schedule_command": ["tee", "-a", COMMANDED], "schedule_metrics_path": METRICS, "schedule_delay": 0,
            "schedule_retries": [], "schedule_writable": [f"{PROJECT}/.sandbox/mt5-crs", COMMANDED],
            # One of the jobs goes the way to other hosts.
            "schedule_changes": {"drift": {"variables": {"ansible_connection": "ssh"}}},
        }  # fmt: skip
        machine("tee", "group_vars/trading/main.yml", given=json.dumps(values).encode())
        hidden = {
            "vault_postgres_password": SECRETS["database"], "vault_eodhd_api_token": SECRETS["token"],
            "vault_schedule_webhook_url": f"http://127.0.0.1:{RECEIVER}/hook/{SECRETS['webhook']}",
            "vault_schedule_heartbeat_url": f"http://127.0.0.1:{RECEIVER}/beat/{SECRETS['heartbeat']}",
        }  # fmt: skip
        machine("sh", "-c", "umask 077; cat > /run/vault-password", given=SECRETS["vault"].encode())
        machine(
            "sh", "-c",
            f"{PYTHON} -m ansible vault encrypt --vault-password-file /run/vault-password --output"
            f" {PROJECT}/group_vars/trading/vault.yml -",
            given=json.dumps(hidden).encode(),
        )  # fmt: skip
        machine(
            "sh",
            "-c",
            f"touch {TOLD} {COMMANDED}; chown -R trader: {PROJECT} /srv/metrics {TOLD} {COMMANDED}",
        )
        machine("sh", "-c", "mkdir -m 700 ~/.ssh; ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519; cd ~/.ssh;"
                " cp id_ed25519.pub authorized_keys;"
                " echo 127.0.0.1 $(cat /etc/ssh/ssh_host_ed25519_key.pub) > known_hosts", user="trader")  # fmt: skip
        # What runs as this user must not end with a session of theirs, and a first one leaves traces of its own.
        machine("loginctl", "enable-linger", "trader")
        machine("systemctl", "start", "ssh")
        machine("ssh", "127.0.0.1", "true", user="trader")
        # The mail program delivers to the users of the machine.
        machine("sh", "-c", "echo localhost > /etc/mailname; mkdir -p /var/mail; touch /var/mail/keeper;"
                " chown keeper:mail /var/mail/keeper; chmod 660 /var/mail/keeper")  # fmt: skip
        self._server("standin", f"-m standin --port {STANDIN}", PYTHONPATH=f"{PROJECT}/tests")
        # Debian's own wheel of pip is all that an environment without packages needs.
        machine("sh", "-c", "mkdir -p /srv/simple/pip; cp /usr/share/python-wheels/pip-*.whl /srv/simple/pip")
        self._server("wheels", f"-m http.server {INDEX} --bind 127.0.0.1 --directory /srv")
        self._server("receiver", f"{PROJECT}/tests/schedule/receiver.py {RECEIVER} {TOLD}")
        self._control(token=SECRETS["token"])
        options = ["-e", f"sandbox_port={DATABASE}", "-e", f"postgres_password={SECRETS['database']}"]
        machine.play("sandbox", *options, user="trader", seconds=300)
        machine("sh", "-c", "cp /run/vault-password /home/trader/.vault; chown trader: /home/trader/.vault")
        play = ["-i", INVENTORY, "--vault-password-file", "/home/trader/.vault"]
        machine.play("reset", *play, user="trader", seconds=300)
        machine("rm", "/home/trader/.vault")
        self.found["before"] = self._files()

    def schedule(self) -> None:
        """The plan, the schedule, and a second time."""
        play = ["-i", INVENTORY, "--vault-password-file", "/run/vault-password"]
        often = json.dumps({"schedule_changes": {"health": {"at": "*-*-* *:*:0/20"}}})
        # Twelve seconds from an order to the file are not the point here: the timer fires at most every 20.
        self.found["plan"] = self.machine.play("schedule", *play, "--check", "--diff")
        self.found["files_of_plan"] = self._files()
        self.found["first"] = self.machine.play("schedule", *play, "-e", often)
        self.found["second"] = self.machine.play("schedule", *play, "-e", often)

    def wait_for_a_timer(self) -> None:
        """One that fires by itself; then as it is by default."""
        wait_for("a run by a timer", lambda: self._runs("health", "ok"), 90)
        self.found["fired"] = self._runs("health", "ok")
        play = ["-i", INVENTORY, "--vault-password-file", "/run/vault-password"]
        self.found["third"] = self.machine.play("schedule", *play)
        self.found["timers"] = self.machine("systemctl", "list-timers", "--all", "--no-pager")
        self.found["verified"] = self.machine(
            "sh", "-c", f"systemd-analyze verify /etc/systemd/system/{NAME}-*.timer 2>&1", check=False
        )

    def live_through_a_day(self) -> None:
        """Every job once, the daily one once more."""
        for job in ("daily-US", "actions-US", "health", "drift", "audit", "daily-US", "actions-US"):
            self._start(job)
        self.found["day"] = self._runs()
        self.found["told_in_the_day"] = self._told()

    def lose_the_token(self) -> None:
        """A failed run, a second one, and the recovery: what is told, and when."""
        beats = [self._beats()]
        self._control(token="another")
        self.found["failed_at"] = time.time()
        self._start("health")
        self.found["failed_unit"] = self.machine("systemctl", "is-failed", f"{NAME}-health", check=False)
        self._start("health")
        self.found["told_while_it_lasts"] = self._told()
        waited = self.found["told_while_it_lasts"][0]["at"] - self.found["failed_at"]
        print(
            f"a failure was told {waited:.1f} s after a check of it began; a check begins every 86400 s",
            flush=True,
        )
        beats.append(self._beats())
        self._control(token=SECRETS["token"])
        self._start("health")
        self.found["told_after_it"] = self._told()
        self.found["beats"] = [*beats, self._beats()]
        self.found["mail"] = self.machine("cat", "/var/mail/keeper")
        self.found["commanded"] = self.machine("cat", COMMANDED)
        self.found["metrics"] = self.machine("cat", METRICS)

    def kill_a_run(self) -> None:
        """One that is killed from outside is noted, told and repeated."""
        self._control(latency=20)
        self.machine("systemctl", "start", f"{NAME}-health")
        wait_for("a run at work", lambda: self._runs("health", "running"), 30)
        self.machine("systemctl", "kill", "--signal=KILL", f"{NAME}-health")
        wait_for("the note of the kill", lambda: self._runs("health", "cut"), 30)
        self._control(latency=0)
        wait_for("its message", lambda: "does not finish" in json.dumps(self._told()), 30)
        self._start("health")
        self.found["told_of_the_kill"] = self._told()[len(self.found["told_after_it"]) :]

    def meet(self) -> None:
        """Two runs of a job at once: one works, the other says so and ends well."""
        self._control(latency=5)
        self.machine("systemctl", "start", f"{NAME}-health")
        wait_for("a run at work", lambda: self._runs("health", "running"), 30)
        self.found["met"] = self._by_hand("health")
        wait_for("its end", lambda: not self._runs("health", "running"), 60)
        self._control(latency=0)

    def search(self) -> None:
        """All that the schedule wrote and said, to be searched for secrets."""
        self.found["journal"] = self.machine("journalctl", "--no-pager", "--output=cat", f"--unit={NAME}*")
        self.found["written"] = self.machine(
            "sh", "-c", f"find /etc/systemd/system/{NAME}* {STATE} /etc/{NAME} /run/{NAME} {METRICS} {COMMANDED}"
            " -type f | xargs cat | tr -c '[:print:]\\n' ' '",
        )  # fmt: skip
        self.found["modes"] = self.machine("find", f"/etc/{NAME}", STATE, "-printf", "%m %u %p\\n")
        self.found["history"] = self._runs()

    def measure(self) -> None:
        """What systemd thinks of a job's rights."""
        said = self.machine(
            "systemd-analyze", "security", "--no-pager", f"{NAME}-daily-US.service", check=False
        )
        self.found["exposure"] = float(re.findall(r"exposure level.*?: ([\d.]+)", said)[-1])

    def remove(self) -> None:
        """No trace."""
        play = [
            "-i",
            INVENTORY,
            "--vault-password-file",
            "/run/vault-password",
            "-e",
            "schedule_state=absent",
        ]
        self.found["removal_plan"] = self.machine.play("schedule", *play, "--check", "--diff")
        self.found["removed"] = self.machine.play("schedule", *play)
        self.found["removed_again"] = self.machine.play("schedule", *play)
        self.found["after"] = self._files()
        self.found["units_after"] = self.machine("systemctl", "list-units", "--all", "--no-pager", f"{NAME}*")

    def serve_another(self) -> None:
        """The machine of a group ``scheduler``, by SSH from here; jobs that use sudo; two vault passwords."""
        machine, folder = self.machine, TRIAL.parent / "elsewhere"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "key")], seconds=10)
        machine("sh", "-c", "umask 077; mkdir -p /root/.ssh; cat > /root/.ssh/authorized_keys",
                given=(folder / "key.pub").read_bytes())  # fmt: skip
        address = machine.address()
        known = machine("cat", "/etc/ssh/ssh_host_ed25519_key.pub")
        (folder / "known").write_text(f"{address} {known}\n")
        options = [f"--vault-id={name}@{folder}/{name}" for name in ("default", "second")]
        for name, word in (("default", SECRETS["vault"]), ("second", SECRETS["second"])):
            (folder / name).write_text(word)
        # A file that only the second password opens.
        machine("sh", "-c", "umask 077; cat > /run/second", given=SECRETS["second"].encode())
        encrypt = f"{PYTHON} -m ansible vault encrypt --vault-id second@/run/second --output"
        machine("sh", "-c", f"{encrypt} {PROJECT}/group_vars/trading/second.yml -; rm /run/second;"
                f" chown trader: {PROJECT}/group_vars/trading/second.yml", given=b"opened: true")  # fmt: skip
        values = {
            "reset_hosts": "trading", "schedule_project": PROJECT, "schedule_inventory": [INVENTORY],
            "schedule_sudo": True, "schedule_changes": {"health": {"variables": {"ansible_become": True}}},
            "schedule_retries": [],
        }  # fmt: skip
        scheduler = {
            "ansible_host": address, "ansible_user": "root", "ansible_ssh_private_key_file": str(folder / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder}/known -o ControlMaster=no",
        }  # fmt: skip
        groups = {
            "trading": {"hosts": {"hub": values}}, "scheduler": {"hosts": {"watch": scheduler}},
        }  # fmt: skip
        (folder / "hosts.json").write_text(json.dumps({"all": {"children": groups}}))

        def play(*more: str) -> str:
            command = [
                sys.executable,
                "-m",
                "ansible",
                "playbook",
                "-i",
                str(folder / "hosts.json"),
                *options,
                *more,
            ]
            return run([*command, "playbooks/schedule.yml"], seconds=120)

        self.found["elsewhere"] = [play(), play()]
        self.found["elsewhere_kept"] = machine("ls", f"/etc/{NAME}/credentials")
        self._start("health")
        self.found["elsewhere_runs"] = self._runs("health")
        self.found["elsewhere_rights"] = machine("journalctl", "--no-pager", "--output=cat", "_COMM=sudo")
        self.found["elsewhere"].append(play("-e", "schedule_state=absent"))
        self.found["elsewhere_left"] = machine("find", "/etc", "/var/lib", "/run", "-name", f"*{NAME}*")
        machine("rm", "-r", f"{PROJECT}/group_vars/trading/second.yml", "/root/.ssh")
        shutil.rmtree(folder)

    def be_a_user(self) -> None:
        """Units of a user, without root, by the commands that the README has for it."""
        machine = self.machine
        wait_for("the user's systemd", lambda: machine("systemctl", "--user", "show", "--property=Version",
                 user="trader", check=False), 30)  # fmt: skip
        group, word = "production/group_vars/trading", SECRETS["vault"].encode() + b"\n"
        user: dict[str, Any] = {"user": "trader", "seconds": 120}
        # A host that was reset, as the section before left it: its inventory, and a vault without an address.
        machine("sh", "-c", f"mkdir -p ~/{group}; cp {INVENTORY} ~/production/hosts.yml;"
                f" cp {PROJECT}/group_vars/trading/*.yml ~/{group}/", **user)  # fmt: skip
        opened = machine("sh", "-c", f"ansible-vault view ~/{group}/vault.yml", given=word, **user)
        vault = json.loads(opened[opened.index("{") :])
        url = vault.pop("vault_schedule_webhook_url")
        machine("sh", "-c", "umask 077; cat > ~/opened", given=json.dumps(vault).encode(), **user)
        machine(
            "sh", "-c", f"ansible-vault encrypt --output ~/{group}/vault.yml ~/opened", given=word * 2, **user
        )
        vault["vault_schedule_webhook_url"] = url
        machine("sh", "-c", "cat > ~/opened", given=json.dumps(vault).encode(), **user)
        machine(
            "sh", "-c", "printf '#!/bin/sh\\ncp ~/opened \"$1\"\\n' > ~/editor; chmod +x ~/editor", **user
        )
        section = (REPOSITORY / "README.md").read_text().partition("## On a schedule")[2].partition("## ")[0]
        self.found["typed"] = [
            machine("sh", "-c", f"export EDITOR=~/editor; {line}", given=word, **user)
            for line in section.partition("```sh\n")[2].partition("```")[0].splitlines()
        ]
        machine("sh", "-c", "rm ~/opened ~/editor", user="trader")
        again = section.partition("```sh\n")[2].partition("```")[0].splitlines()[-1]
        self.found["user_again"] = machine("sh", "-c", again, given=word, **user)
        self.found["user_told"] = machine("ls", f"/home/trader/.config/{NAME}/credentials")
        machine("systemctl", "--user", "start", "--wait", f"{NAME}-health", user="trader", check=False)
        self.found["user_run"] = machine(
            "journalctl", "--no-pager", "--output=cat", f"_SYSTEMD_USER_UNIT={NAME}-health.service"
        )
        self.found["user_modes"] = machine("find", f"/home/trader/.config/{NAME}", "-printf", "%m %u %p\\n")
        self.found["user_removed"] = machine(
            "sh", "-c", f"{again} -e schedule_state=absent", given=word, **user
        )
        self.found["user_left"] = machine("find", "/home/trader", "/run/user/1000", "-name", f"*{NAME}*")

    def _server(self, name: str, arguments: str, **environment: str) -> None:
        options = [f"--setenv={key}={value}" for key, value in environment.items()]
        self.machine("systemd-run", f"--unit={name}", "--uid=trader", *options, PYTHON, *arguments.split())

    def _control(self, **change: object) -> None:
        script = (
            "import sys, urllib.request as r;"
            f"r.urlopen('http://127.0.0.1:{STANDIN}/_control', sys.stdin.buffer.read(), timeout=10)"
        )
        wait_for("the stand-in", lambda: self._listens(STANDIN), 20)
        self.machine("python3", "-c", script, given=json.dumps(change).encode())

    def _listens(self, port: int) -> bool:
        script = f"import socket; socket.create_connection(('127.0.0.1', {port}), 1); print(1)"
        return bool(self.machine("python3", "-c", script, check=False))

    def _start(self, job: str) -> None:
        """A run by hand, to its end."""
        self.machine("systemctl", "start", "--wait", f"{NAME}-{job}", check=False, seconds=240)
        # What follows a run follows by itself; here we wait for it.
        self.machine("systemctl", "start", "--wait", f"{NAME}-after@{job}", check=False, seconds=60)

    def _by_hand(self, job: str) -> str:
        command = [PYTHON, f"{PROJECT}/tools/run_job.py", f"/etc/{NAME}/schedule.json", job]
        return self.machine(*command, user="trader", check=False)

    def _runs(self, job: str = "", outcome: str = "") -> list[dict[str, Any]]:
        script = (
            "import sqlite3, json, os;"
            f"place = '/run/{NAME}/schedule.sqlite' if os.path.exists('/run/{NAME}/schedule.sqlite')"
            f" else '{STATE}/schedule.sqlite';"
            # Reading must not create it.
            "c = sqlite3.connect(f'file:{place}?mode=ro', uri=True); c.row_factory = sqlite3.Row;"
            "print(json.dumps([dict(r) for r in c.execute('SELECT * FROM runs ORDER BY began, id')]))"
        )
        said = self.machine("python3", "-c", script, check=False)
        found: list[dict[str, Any]] = json.loads(said) if said.startswith("[") else []
        return [
            run
            for run in found
            if (not job or run["job"] == job) and (not outcome or run["outcome"] == outcome)
        ]

    def _told(self) -> list[dict[str, Any]]:
        return [each for each in records(self.machine("cat", TOLD)) if each["text"]]

    def _beats(self) -> int:
        return sum("/beat/" in each["path"] for each in records(self.machine("cat", TOLD)))

    def _files(self) -> list[str]:
        """Names of all files, without what runs by itself changes."""
        said = self.machine(
            "sh",
            "-c",
            f"find {LOOKED_AT} -xdev -not -path '*/__pycache__*' -not -path '*/.cache/*' 2>/dev/null | sort",
        )
        return said.splitlines()


def main() -> None:
    """Run the trial and leave what happened in ``TRIAL``."""
    machine = Machine()
    machine.down()
    try:
        machine.up()
        trial = Trial(machine)
        trial.run()
    except RuntimeError:
        print(machine("journalctl", "--no-pager", "--output=cat", f"--unit={NAME}*", check=False)[-6000:])
        raise
    finally:
        machine.down()
        TRIAL.parent.mkdir(parents=True, exist_ok=True)
        TRIAL.write_text(json.dumps(trial.found))


if __name__ == "__main__":
    main()
