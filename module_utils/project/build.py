"""Build a new environment next to the current one, and check it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import sys
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable

from ansible.module_utils.project import indexes
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.root import NEW, Directory, Execute, Owner
from ansible.module_utils.project.venv import RECORD, distribution, normalised, probe
from ansible.module_utils.reporting import Problem

STEP_SECONDS = 900.0  # the timeout of each command of a build
UV = "uv"  # the program, among the wheels that the control node sends
# Returns the path of uv, which it installs from an index if the host has none. None means: use pip.
FindUv = Callable[[Mapping[str, "str | None"]], "str | None"]


def rebuild(
    root: Directory,
    empty: Directory,
    tools: Directory,
    python: Mapping[str, Any],
    params: dict[str, Any],
    warn: Callable[[str], None],
) -> str:
    """Build an environment for ``root`` in ``empty``, from the control node's wheels if they were sent.

    Returns a report. ``python`` is the result of ``venv.interpreter``. ``tools`` is a folder for uv. Raises Problem.
    """
    owner, packages, urls = Owner(root), params["packages"], params["index_urls"] or [""]
    uv: FindUv = partial(find_uv, owner, tools, python["base"])
    if params.get("kit"):
        with empty.make("wheels") as into:
            unpack(params["kit"], into)
        urls, uv = [into.path], lambda _: f"{into.path}/{UV}"
    build = Build(empty, packages, python, urls, indexes.pip_settings(owner.home, os.environ), owner.run, uv)
    answer = build.make(f"{root.path}/{VENV}")
    for why in build.skipped:
        warn(f"Package index skipped, {why}")
    names = [distribution(package) for package in packages]
    held = ", ".join(f"{name} {answer['installed'].get(normalised(name), '?')}" for name in names)
    index = "the control node's wheels" if params.get("kit") else build.index
    return f"🐍 Python {answer['version']}, built by {build.tool} from {index}: {held}"


@dataclass
class Build:
    """A build of ``venv`` in a folder that is empty and used by nothing else."""

    folder: Directory
    packages: Sequence[str]
    python: Mapping[str, Any]
    urls: Sequence[str]
    pip_settings: Mapping[str, str]  # see ``indexes.pip_settings``
    run: Execute
    uv: FindUv
    fetch: Callable[..., bytes] = indexes.fetch

    tool: str = ""  # what was used last: ``uv`` or ``pip``
    index: str = ""  # the index that was used, without credentials
    skipped: Sequence[str] = ()  # the indexes before it, and why

    def make(self, final: str) -> dict[str, Any]:
        """Build and check an environment that will work once it is moved to ``final``; raises Problem.

        Returns the answer of its interpreter, see ``venv.probe``.
        """
        url, self.skipped = indexes.first(self.urls, self.pip_settings, self.fetch, self._install)
        if url is None:
            advice = "Fix project_index_urls or project_packages"
            if any("No space left on device" in why for why in self.skipped):
                advice = "Free space or inodes on that file system"
            raise Problem(
                "The new venv could not be built. The current one, if any, is unchanged. Indexes tried, in the order of"
                f" project_index_urls: {'; '.join(self.skipped)}. {advice}.",
                platform=self.python.get("platform"),
            )
        self.index = indexes.masked(url)
        answer = probe(self.run, f"{self.folder.path}/{VENV}/bin/python", self.packages)
        if answer is None or answer["failed"]:
            failures = answer["failed"] if answer else {"its python": "does not run"}
            failed = "; ".join(f"{name} {why}" for name, why in failures.items())
            raise Problem(
                f"The new venv was built but does not work: {failed}. The current one, if any, is unchanged."
                " Fix project_packages (pin a version that works) or project_python."
            )
        record = {"asked": self.packages, "python": answer["version"], "installed": answer["installed"]}
        with self.folder.enter(VENV) as venv:
            _relocate(venv, final)
            venv.write_new(RECORD, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n", 0o644)
        return answer

    def _install(self, environ: Mapping[str, str | None]) -> str | None:
        """Create the environment and install the packages from one index; return the error, or None."""
        base, path = self.python["base"], f"{self.folder.path}/{VENV}"
        target = f"{path}/bin/python"
        wanted = ["--", "pip", *self.packages]  # uv adds no pip, and pip fails if it gets no name
        uv = self.uv(environ)
        if uv:
            self.tool = "uv"
            self.folder.remove(VENV)
            create = [uv, "venv", "--no-project", "--python", base, path]
            install = [uv, "pip", "install", "--python", target, *wanted]
            why = failure(self.run, [create, install], environ)
            # pip may know a proxy, certificate or password that uv does not know. It cannot help if the index stalls.
            if why is None or "Failed to fetch" not in why or "timed out" in why:
                return why
        self.tool = "pip"
        self.folder.remove(VENV)
        create = [base, "-m", "venv", path]
        install = [target, "-m", "pip", "install", "--quiet", *wanted]
        return failure(self.run, [create, install], environ)


def failure(
    run: Execute, commands: Sequence[Sequence[str]], environ: Mapping[str, str | None], text: str = ""
) -> str | None:
    """Run commands of uv or pip until one fails, each with ``text`` as its input; return the error, or None."""
    for command in commands:
        code, out, err = run(command, env=environ, text=text, seconds=STEP_SECONDS)
        if code:
            lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
            return " / ".join(lines[-4:]) or f"{os.path.basename(command[0])} ended with exit code {code}"
    return None


def _relocate(venv: Directory, final: str) -> None:
    """Replace the build path in all scripts by the final path."""
    built, final_bytes = os.fsencode(venv.path), os.fsencode(final)
    with venv.enter("bin") as scripts:
        for folder in (venv, scripts):
            for name in folder.names():
                found = folder.stat(name)
                if found is None or not stat.S_ISREG(found.st_mode):
                    continue
                content = folder.read(name) or b""
                if built in content and b"\0" not in content:
                    folder.write(name, content.replace(built, final_bytes), stat.S_IMODE(found.st_mode))


def unpack(path: str, into: Directory) -> None:
    """Unpack a kit, the archive of wheels that was sent over SSH, and give the files to the owner.

    It is unpacked from the end and truncated after each file, if the user may do so, so that the host does not need
    space for it twice.
    """
    with tarfile.open(path) as archive:
        for member in reversed(archive.getmembers()):
            content = archive.extractfile(member)
            if content is None or "/" in member.name:
                raise Problem(f"The wheels from the control node hold {member.name!r}, which is not a wheel.")
            fd = os.open(member.name, NEW, 0o700 if member.name == UV else 0o600, dir_fd=into.fd)
            into.give(fd)
            with open(fd, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            with contextlib.suppress(OSError):
                os.truncate(path, member.offset)


def find_uv(owner: Owner, tools: Directory, python: str, index: Mapping[str, str | None]) -> str | None:
    """Return the path of the host's uv, or of one that pip installs into ``tools``; None if neither works.

    ``python`` creates the environment in ``tools``. ``index`` holds pip's variables, see ``indexes.environment``.
    """
    places = [
        os.environ.get("PATH", os.defpath),
        os.path.dirname(sys.executable),
        f"{owner.home}/.local/bin",
        f"{owner.home}/.cargo/bin",
    ]
    known = shutil.which("uv", path=os.pathsep.join([*places, f"{tools.path}/bin"]))
    if known and owner.run([known, "--version"])[0] == 0:
        return known
    for command in (
        [python, "-m", "venv", "--clear", tools.path],
        [f"{tools.path}/bin/python", "-m", "pip", "install", "--quiet", "uv"],
    ):
        if owner.run(command, env=index, seconds=STEP_SECONDS)[0]:
            return None
    return f"{tools.path}/bin/uv"
