"""A control node in a container: systemd, this project, a sandbox host, the stand-in, and who is told."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.fleet.engine import LIMITS, Engine, Recipe, run
from tests.fleet.hosts import REPOSITORY, wait_for

FLEET = "ansible-reset-fleet"  # so that tools/fleet.sh ends it, whatever happens
NAME = f"{FLEET}-scheduler"
PROJECT, SITE = "/srv/market-data", "/srv/site"
PYTHON = f"{PROJECT}/.venv/bin/python"
RECIPE = Recipe(
    "ansible-reset-scheduler",
    # A mail program that takes mail for users of the machine; systemd with user sessions; Debian's own Python.
    ["python3", "python3-venv", "ca-certificates", "tzdata", "systemd", "systemd-sysv", "dbus", "dbus-user-session",
     "libpam-systemd", "dma", "procps", "git", "openssh-server", "sudo"],
    """\
useradd --create-home --uid 1000 --shell /bin/bash trader
useradd --create-home --uid 1001 --shell /bin/bash keeper
echo 'trader ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/trader
rm -rf /var/cache/apt/archives /var/lib/apt/lists /usr/share/doc /usr/share/man /usr/share/locale
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial
""",
)  # fmt: skip


class Machine:
    """The container; everything in it belongs to ``trader`` but what root has to do."""

    def __init__(self) -> None:
        self.engine = Engine()

    def up(self) -> None:
        """Start it and lay out the project with its environment."""
        image = self.engine.image(RECIPE)
        site = site_packages()
        self.engine(
            "run", "--detach", *LIMITS, "--systemd=always", f"--label=fleet={FLEET}", f"--name={NAME}",
            f"--volume={site}:{SITE}:ro", image, "/sbin/init",
        )  # fmt: skip
        wait_for("systemd", lambda: self.state() in ("running", "degraded"), 60)
        self("mkdir", "-p", PROJECT, at="/")
        self("tar", "-C", PROJECT, "-x", "--no-same-owner", given=packed_project())
        script = (
            f"python3 -m venv --without-pip {PROJECT}/.venv"
            f" && echo {SITE} > {PROJECT}/.venv/lib/python3.11/site-packages/site.pth"
            f" && for name in playbook vault; do printf '#!/bin/sh\\nexec {PYTHON} -m ansible %s \"$@\"\\n' $name"
            f" > {PROJECT}/.venv/bin/ansible-$name; done; chmod +x {PROJECT}/.venv/bin/ansible-*;"
            f" chown -R trader: {PROJECT}"
        )
        self("sh", "-c", script)

    def state(self) -> str:
        """What systemd says of the machine."""
        return self.engine("exec", NAME, "systemctl", "is-system-running", check=False)

    def __call__(
        self,
        *argv: str,
        user: str = "root",
        given: bytes = b"",
        check: bool = True,
        seconds: float = 120,
        at: str = PROJECT,
    ) -> str:
        """Run a command; its output."""
        environment = ["--env=LC_ALL=C.UTF-8"]
        if user != "root":
            uid = {"trader": 1000, "keeper": 1001}[user]
            environment += [f"--env=HOME=/home/{user}", f"--env=XDG_RUNTIME_DIR=/run/user/{uid}"]
            environment.append(f"--env=PATH={PROJECT}/.venv/bin:/usr/bin:/bin")
        return self.engine(
            "exec", "--interactive", f"--user={user}", f"--workdir={at}", *environment, NAME, *argv,
            given=given, check=check, seconds=seconds,
        )  # fmt: skip

    def python(self, *arguments: str, **how: object) -> str:
        """Run the project's Python."""
        return self(PYTHON, *arguments, **how)  # type: ignore[arg-type]

    def play(self, playbook: str, *arguments: str, **how: object) -> str:
        """Run a playbook; its output. RuntimeError with it if the playbook fails."""
        command = [PYTHON, "-m", "ansible", "playbook", f"playbooks/{playbook}.yml", *arguments]
        said = self("sh", "-c", '"$@" 2>&1; echo "rc=$?"', "sh", *command, **how)  # type: ignore[arg-type]
        if not said.endswith("rc=0"):
            raise RuntimeError(f"{playbook}.yml: {said[-3000:]}")
        return said

    def address(self) -> str:
        """Where this machine reaches it."""
        networks = json.loads(self.engine("inspect", NAME))[0]["NetworkSettings"]
        return str(networks["IPAddress"] or next(iter(networks["Networks"].values()))["IPAddress"])

    def down(self) -> None:
        """End and remove it."""
        self.engine("rm", "--force", "--volumes", NAME, check=False)


def site_packages() -> Path:
    """The controller's packages for the Python of the image, installed on this machine once."""
    lock = REPOSITORY / "requirements/controller.txt"
    folder = REPOSITORY / ".cache/schedule-site"
    mark = folder / "lock.txt"
    if not (mark.exists() and mark.read_text() == lock.read_text()):
        shutil.rmtree(folder, ignore_errors=True)
        uv = Path(sys.executable).with_name("uv")
        run(
            [str(uv), "pip", "install", "--quiet", "--target", str(folder), "--python-version", "3.11",
             "--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:", "-r", str(lock)],
            seconds=300,
        )  # fmt: skip
        mark.write_text(lock.read_text())
    return folder


def packed_project() -> bytes:
    """What git knows of this clone, with its changes, as an archive."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name in filter(None, names.split("\0")):
            if (REPOSITORY / name).exists() or (REPOSITORY / name).is_symlink():
                archive.add(REPOSITORY / name, name)
    return packed.getvalue()


def records(text: str) -> list[dict[str, Any]]:
    """Lines of JSON."""
    return [json.loads(line) for line in text.splitlines() if line.strip()]
