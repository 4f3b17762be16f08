"""A reset of 1, 4 and 8 hosts over SSH, a module call on them, and ways to send wheels to a host."""

from __future__ import annotations

import functools
import http.server
import os
import resource
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPOSITORY))

from tests.bench import timing

SIZES = (1, 4, 8)
ROUNDS = 2
CALLS = 5
PACKAGES = ["pandas", "sqlalchemy", "psycopg2-binary", "requests", "redis", "python-dotenv"]
PORT = 18080


def main() -> str:
    """Measure if containers work here, and return the section for docs/benchmarks.md."""
    command = ["tools/fleet.sh", sys.executable, "-m", "tests.bench.fleet"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=1500)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    _, mark, section = done.stdout.partition("## Fleet\n")
    return (
        mark + section if mark else f"## Fleet\n\nNot run: {done.stdout.partition('skipped: ')[2].strip()}\n"
    )


def measure() -> str:
    """Measure, and return the section; must run inside tools/fleet.sh."""
    from tests.fleet.hosts import Fleet

    cold: dict[int, list[float]] = {}
    warm: dict[int, list[float]] = {}
    control: dict[int, list[float]] = {}
    hosts: dict[int, list[float]] = {}
    again: dict[int, list[float]] = {}
    pings: dict[int, float] = {}
    ways: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="bench-kit-") as folder:
        kit(folder)  # caches the packages
    for size in SIZES:
        for number in range(ROUNDS):
            fleet = Fleet("ansible-reset-bench", [f"host{n}" for n in range(size)])
            try:
                fleet.up()
                inventory = fleet.inventory({host: {"project_packages": PACKAGES} for host in fleet.hosts})
                used, there = processor(), processor_of_hosts(fleet)
                cold.setdefault(size, []).append(play(inventory, "playbooks/reset.yml"))
                control.setdefault(size, []).append(processor() - used)
                hosts.setdefault(size, []).append(processor_of_hosts(fleet) - there)
                used = processor()
                warm.setdefault(size, []).append(play(inventory, "playbooks/reset.yml"))
                again.setdefault(size, []).append(processor() - used)
                if number == ROUNDS - 1:
                    pings[size] = ping(fleet, inventory)
                    if size == SIZES[-1]:
                        ways = wheels(fleet)
            finally:
                fleet.down()
    return section(cold, warm, control, again, hosts, pings, ways)


def processor() -> float:
    """Return the processor time of all child processes that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def processor_of_hosts(fleet: Any) -> float:
    """Return the processor time of all containers since their start, in seconds."""
    said = [fleet("cat", "/sys/fs/cgroup/cpu.stat", host=host) for host in fleet.hosts]
    return sum(int(text.partition("usage_usec ")[2].split()[0]) for text in said) / 1e6


def play(inventory: Path, *arguments: str) -> float:
    """Run a play, which must succeed; return its seconds."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}

    def run() -> None:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), *arguments],
            cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{arguments} failed:\n{done.stdout[-4000:]}\n{done.stderr[-2000:]}")

    return timing.seconds(run)


def ping(fleet: Any, inventory: Path) -> float:
    """Return the seconds of one more module call for all hosts together: CALLS + 1 calls, less one call."""

    def calls(number: int) -> float:
        path = fleet.folder / f"ping{number}.yml"
        path.write_text(
            "- hosts: all\n  gather_facts: false\n  tasks:\n" + "    - ansible.builtin.ping:\n" * number
        )
        return play(inventory, str(path))

    calls(1)
    return (calls(CALLS + 1) - calls(1)) / CALLS


def kit(folder: str) -> Path:
    """Make the kit of wheels for the hosts, as the control node does."""
    from ansible.module_utils.project import wheels as kits

    target = kits.Target("3.11.2", "cpython", os.uname().machine, "glibc 2.36")
    return Path(kits.kit(target, PACKAGES, [""], folder))


def wheels(fleet: Any) -> dict[str, float]:
    """Return the seconds until all hosts have installed a kit, by each way to send it."""
    packed = kit(str(fleet.folder / "kit"))
    unpacked = fleet.folder / "wheels"
    with tarfile.open(packed) as archive:
        archive.extractall(unpacked, filter="data")
    key, known, control = fleet.folder / "key", fleet.folder / "known_hosts", fleet.folder / "cp"
    options = [
        "-i", str(key), "-o", f"UserKnownHostsFile={known}", "-o", "ControlMaster=auto", "-o", "ControlPersist=60s",
        "-o", f"ControlPath={control}/bench-%h", "-o", "LogLevel=ERROR",
    ]  # fmt: skip
    uv, clean = "chmod +x ~/uv; cd; ~/uv venv -q ~/v", "rm -rf ~/v ~/k ~/.cache/uv; mkdir ~/k"
    install = f"~/uv pip install -q --offline --python ~/v/bin/python {' '.join(PACKAGES)} --find-links"

    def ssh(address: str, script: str, given: Path | None = None) -> None:
        with (given or Path(os.devnull)).open("rb") as stdin:
            subprocess.run(
                ["ssh", *options, f"trader@{address}", script], stdin=stdin, check=True, timeout=120
            )

    def forward(address: str, request: str) -> None:
        way = f"127.0.0.1:{PORT}:127.0.0.1:{PORT}"
        command = ["ssh", *options, "-O", request, "-R", way, f"trader@{address}"]
        subprocess.run(command, check=True, capture_output=True, timeout=20)

    def copied(address: str) -> None:
        ssh(address, f"{clean}; tar -C ~/k -x; {uv}; {install} ~/k", packed)

    def tunnelled(address: str) -> None:
        forward(address, "forward")
        online = install.replace("--offline", "--no-index")
        ssh(address, f"{clean}; {uv}; {online} http://127.0.0.1:{PORT}/")
        forward(address, "cancel")

    def served(address: str) -> None:
        online = install.replace("--offline", "--no-index")
        ssh(address, f"{clean}; {uv}; {online} http://$(echo $SSH_CONNECTION | cut -d' ' -f1):{PORT}/")

    def everywhere(way: Callable[[str], None]) -> None:
        with ThreadPoolExecutor(len(addresses)) as pool:
            list(pool.map(way, addresses))

    addresses = list(fleet.addresses.values())
    handler = functools.partial(_Quiet, directory=str(unpacked))
    found: dict[str, list[float]] = {}
    with http.server.ThreadingHTTPServer(("", PORT), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for address in addresses:
            ssh(address, "cat > ~/uv", unpacked / "uv")
        named: dict[str, Callable[[str], None]] = {
            "copied as one archive": copied,
            "served through the SSH connection": tunnelled,
            "served at the control node's address": served,
        }
        for _ in range(ROUNDS):
            for name, way in named.items():
                found.setdefault(name, []).append(timing.seconds(functools.partial(everywhere, way)))
        server.shutdown()
    return {name: statistics.fmean(seconds) for name, seconds in found.items()}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def section(
    cold: dict[int, list[float]],
    warm: dict[int, list[float]],
    control: dict[int, list[float]],
    control_again: dict[int, list[float]],
    hosts: dict[int, list[float]],
    pings: dict[int, float],
    ways: dict[str, float],
) -> str:
    """Return the figures as Markdown."""
    first, again, used, used_again, there = (
        {size: statistics.fmean(seconds) for size, seconds in found.items()}
        for found in (cold, warm, control, control_again, hosts)
    )
    cores = os.cpu_count() or 1
    rows = "".join(
        f"| {size} | {first[size]:.1f} s | {first[size] / first[1]:.2f} | {used[size]:.1f} s | {there[size]:.1f} s"
        f" | {(used[size] + there[size]) / (cores * first[size]):.0%} | {again[size]:.1f} s"
        f" | {again[size] / again[1]:.2f} | {pings[size]:.2f} s | {pings[size] / size:.2f} s |\n"
        for size in SIZES
    )
    most = SIZES[-1]
    floor = (used[most] + there[most]) / cores
    fewer = SIZES[-2]  # not one host, so that both sizes include the work that each run does once
    more, more_again = ((found[most] - found[fewer]) / (most - fewer) for found in (used, used_again))
    sent = "".join(f"| {name} | {seconds:.1f} s |\n" for name, seconds in ways.items())
    return (
        "## Fleet\n\n"
        "The hosts are containers on this machine and share its cores with the control node. They are reached by SSH"
        " with\npipelining, and get the wheels from the control node, whose cache is warm."
        f" Means of {ROUNDS}. The first host runs alone.\n\n"
        "| Hosts | cold reset | times one host | processor time: control node | hosts | share of all cores"
        " | second reset | times one host | one more module call, all hosts | for each host |\n"
        f"|---|---|---|---|---|---|---|---|---|---|\n{rows}\n"
        f"Aim: a module call takes at most 0.6 s a host. {most} hosts and the control node need"
        f" {used[most] + there[most]:.0f} s of processor time,\n"
        f"so {cores} cores need at least {floor:.0f} s, {floor / first[1]:.1f} times one host."
        " Hosts with their own cores do not have this limit.\n"
        f"One more host costs the control node {more:.1f} s of processor time in a cold reset,"
        f" and {more_again:.1f} s in a second one.\n\n"
        "### Wheels\n\n"
        f"Time until {SIZES[-1]} hosts have installed the packages from one kit. Means of {ROUNDS}.\n\n"
        f"| | |\n|---|---|\n{sent}"
    )


if __name__ == "__main__":
    print(measure())
