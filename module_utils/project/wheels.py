"""Fetch wheels on the control node, for hosts that no package index serves.

A kit is one archive with uv and the wheels of all requirements, resolved for the Python and the system of the host
and checked against the hashes of the index. The host needs nothing else. ``build.unpack`` unpacks it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from ansible.module_utils.project import build, indexes
from ansible.module_utils.project.build import UV
from ansible.module_utils.project.root import Directory, Owner
from ansible.module_utils.reporting import Problem

# The platforms that uv resolves for, by minor version of glibc 2.
_UV_PLATFORMS = (40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17)


@dataclass(frozen=True)
class Target:
    """The Python and the system that wheels must fit, as ``probe.py`` reports them."""

    python: str  # ``3.11.2``
    implementation: str  # ``cpython``
    machine: str  # ``x86_64``
    libc: str  # ``glibc 2.36``; empty if it is not glibc

    @property
    def glibc(self) -> int:
        """Return the minor version of glibc 2; raises Problem if kits do not support the system."""
        found = re.fullmatch(r"glibc 2\.(\d+)", self.libc)
        known = self.implementation == "cpython" and self.machine in ("x86_64", "aarch64")
        if not known or not found or int(found[1]) < _UV_PLATFORMS[-1]:
            raise Problem(
                f"The control node cannot fetch wheels for {self.implementation} {self.python} on {self.machine} with"
                f" {self.libc or 'a libc that is not glibc'}. Give the host an index in project_index_urls."
            )
        return int(found[1])

    def uv_platform(self) -> str:
        """Return uv's name of this system, or of the next older one that uv knows."""
        return f"{self.machine}-manylinux_2_{next(n for n in _UV_PLATFORMS if n <= self.glibc)}"

    def pip_options(self) -> list[str]:
        """Return the options that make pip download wheels for this Python and system, the best match first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, 4, -1)]
        options = ["--implementation", "cp", "--python-version", self.python]
        for name in [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]:
            options += ["--platform", name]
        return options


def kit(target: Target, packages: Sequence[str], index_urls: Sequence[str], folder: str) -> str:
    """Return the path of the kit for a target; the first caller fetches it, the others wait. Raises Problem.

    ``index_urls`` are tried in order; an empty text is the control node's own index. ``folder`` keeps the kits of
    this run. It is private, and created if it is missing.
    """
    asked = json.dumps([asdict(target), list(packages), list(index_urls)])
    path = os.path.join(folder, hashlib.sha256(asked.encode()).hexdigest()[:16])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with open(f"{path}.txt", "a+", encoding="utf-8") as answer:
        fcntl.flock(answer, fcntl.LOCK_EX)
        answer.seek(0)
        found = answer.read()
        if not found:
            try:
                found = _fetch(target, packages, index_urls, path)
            except Problem as problem:
                found = str(problem)  # for the callers that wait, too
            answer.write(found)
    if found != f"{path}.tar":
        raise Problem(found)
    return found


def _fetch(target: Target, packages: Sequence[str], index_urls: Sequence[str], folder: str) -> str:
    """Fetch the wheels from the first index that has all of them; return the path of the archive."""
    uv = shutil.which("uv", path=f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ.get('PATH', '')}")
    if not uv:
        raise Problem(
            "The control node has no uv to fetch wheels with. Run `make setup`, and use its .venv/bin."
        )

    def fetch(environ: Mapping[str, str | None]) -> str | None:
        shutil.rmtree(folder, ignore_errors=True)
        os.mkdir(folder, 0o700)
        wanted = "\n".join(["pip", UV, *packages]) + "\n"
        return build.failure(owner.run, _commands(target, folder, uv), environ, wanted)

    with Directory.open(os.path.dirname(folder)) as here:
        owner = Owner(here)
    settings = indexes.pip_settings(owner.home, os.environ)
    url, skipped = indexes.first(index_urls or [""], settings, indexes.fetch, fetch)
    if url is not None:
        return _packed(folder)
    raise Problem(
        f"The control node could not fetch wheels for Python {target.python} on {target.machine} either. Indexes tried,"
        f" in the order of project_index_urls: {'; '.join(skipped)}. Fix project_index_urls or project_packages."
    )


def _commands(target: Target, folder: str, uv: str) -> list[list[str]]:
    """Return the command of uv that resolves, and that of pip that downloads.

    uv cannot download wheels, and pip resolves dependencies for its own Python only.
    """
    lock = os.path.join(folder, "lock.txt")
    wheels_only = ["--quiet", "--only-binary", ":all:"]
    resolve = [
        uv, "pip", "compile", *wheels_only, "--generate-hashes", "--no-header", "--no-annotate", "--output-file", lock,
        "--python-version", target.python, "--python-platform", target.uv_platform(), "-",
    ]  # fmt: skip
    fetch = [
        sys.executable, "-m", "pip", "download", *wheels_only, "--no-deps", "--require-hashes", "--requirement", lock,
        "--dest", folder, *target.pip_options(),
    ]  # fmt: skip
    return [resolve, fetch]


def _packed(folder: str) -> str:
    """Pack the wheels into one archive, with the program uv instead of its wheel; return the archive's path."""
    wheels = sorted(name for name in os.listdir(folder) if name.endswith(".whl"))
    path = f"{folder}.tar"
    with tarfile.open(path, "w") as archive:
        for name in wheels:
            if not name.startswith(f"{UV}-"):
                archive.add(os.path.join(folder, name), name)
                continue
            with zipfile.ZipFile(os.path.join(folder, name)) as wheel:
                program = next(
                    entry for entry in wheel.infolist() if entry.filename.endswith(f"/scripts/{UV}")
                )
                entry = tarfile.TarInfo(UV)
                entry.size = program.file_size
                with wheel.open(program) as content:
                    archive.addfile(entry, content)
    shutil.rmtree(folder)
    return path
