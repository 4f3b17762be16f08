"""The container engine of this machine and the image of a host: Debian with Python and sshd, made here once."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

# A host as it comes: an SSH server, a system Python, an account for the project, another one that may be given sudo;
# no compiler, no index, no uv.
PACKAGES = ["python3", "python3-venv", "ca-certificates", "openssh-server", "iproute2", "sudo"]
PREPARE = """\
useradd --create-home --uid 1000 --shell /bin/bash trader
useradd --create-home --uid 1001 --shell /bin/bash ops
rm -rf /var/cache/apt/archives /var/lib/apt/lists /usr/share/doc /usr/share/man /usr/share/locale
mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial /run/sshd
ssh-keygen -A
"""


@dataclass(frozen=True)
class Recipe:
    """What an image of Debian is made of: packages, and a script that runs in it at the end."""

    name: str
    packages: list[str]
    prepare: str
    suite: str = "bookworm"

    @property
    def image(self) -> str:
        """Its name; another one for whatever else is in it."""
        content = "\n".join([self.suite, *self.packages, self.prepare])
        return f"{self.name}:{hashlib.sha256(content.encode()).hexdigest()[:12]}"


HOST = Recipe("ansible-reset-host", PACKAGES, PREPARE)
# Debian 11: the oldest Python that a host may have, 3.9.
OLD_HOST = Recipe("ansible-reset-old-host", PACKAGES, PREPARE, "bullseye")
# Left out, an engine passes on limits that a machine in a container of its own may not set.
LIMITS = ["--pids-limit=-1", "--ulimit=nofile=1024:1024", "--ulimit=nproc=4000:4000"]


class Missing(Exception):
    """What containers need and this machine does not have; the text says what to install."""


class Engine:
    """podman, or docker."""

    def __init__(self) -> None:
        self.program = next((name for name in self._known() if _works([name, "info"])), "")
        if not self.program:
            raise Missing(
                "no container engine works here (as root on Debian: apt-get install --no-install-recommends podman"
                " runc netavark aardvark-dns iptables debootstrap openssh-client)"
            )
        for tool in ("ssh", "ssh-keygen"):
            if not shutil.which(tool):
                raise Missing(f"{tool} is missing (Debian: apt-get install openssh-client)")

    @staticmethod
    def _known() -> list[str]:
        """Hosts need addresses that this machine can reach: an ordinary user's podman gives them none."""
        return ["podman", "docker"] if os.geteuid() == 0 else ["docker"]

    def __call__(self, *arguments: str, given: bytes = b"", seconds: float = 60, check: bool = True) -> str:
        """Run a command of the engine; its output. RuntimeError where it fails and ``check`` is set."""
        return (
            self.raw(*arguments, given=given, seconds=seconds, check=check).decode(errors="replace").strip()
        )

    def raw(self, *arguments: str, given: bytes = b"", seconds: float = 60, check: bool = True) -> bytes:
        """The same, as bytes."""
        done = subprocess.run(
            [self.program, *arguments], input=given, capture_output=True, timeout=seconds, check=False
        )
        if check and done.returncode:
            words = " ".join(arguments)[:200]
            raise RuntimeError(f"{self.program} {words}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout

    def image(self, recipe: Recipe = HOST) -> str:
        """The image of a host, made on the first call and kept by the engine."""
        if not self(*["images", "--quiet"], recipe.image):
            self._make(recipe)
        return recipe.image

    def _make(self, recipe: Recipe) -> None:
        """By debootstrap where it is installed and may run, out of the registry of the engine otherwise."""
        if not (shutil.which("debootstrap") and os.geteuid() == 0):
            steps = (
                f"apt-get update && apt-get install -y --no-install-recommends {' '.join(recipe.packages)}"
            )
            text = f"FROM debian:{recipe.suite}\nRUN {steps}\n" + "".join(
                f"RUN {line}\n" for line in recipe.prepare.splitlines()
            )
            self("build", "--tag", recipe.image, "-", given=text.encode(), seconds=300)
            return
        with tempfile.TemporaryDirectory(prefix="fleet-image-") as folder:
            root = Path(folder) / "root"
            options = ["--variant=minbase", f"--include={','.join(recipe.packages)}"]
            run(["debootstrap", *options, recipe.suite, str(root), *mirror()], seconds=300)
            run(["chroot", str(root), "sh", "-ec", recipe.prepare], seconds=60)
            packed = Path(folder) / "root.tar"
            run(["tar", "-C", str(root), "-cf", str(packed), "."], seconds=60)
            self("import", str(packed), recipe.image, seconds=120)


def mirror() -> list[str]:
    """Where this machine gets Debian from, so that an image comes from there too; else debootstrap's own choice."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)", "Created-By: Packages"],
        capture_output=True, text=True, timeout=30, check=False,
    ).stdout  # fmt: skip
    for line in listed.splitlines():
        address, *where = line.split()
        if where == ["bookworm", "main"]:
            return [address]
    return []


def run(argv: list[str], seconds: float) -> str:
    """Run a program of this machine; RuntimeError with its last words where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv[0]} failed: {(done.stderr or done.stdout)[-600:]}")
    return done.stdout


def _works(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=30, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
