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
from typing import Any, Callable

from ansible.module_utils.project import indexes
from ansible.module_utils.project.root import NEW, Directory, Execute, Owner
from ansible.module_utils.project.venv import RECORD, Requirements, probe
from ansible.module_utils.reporting import Problem

STEP_SECONDS = 900.0  # the timeout of each command of a build
UV = "uv"  # the program, among the wheels that the control node sends


@dataclass(frozen=True)
class BuildTools:
    """What a build depends on."""

    run: Execute
    # Returns the path of uv, which it installs from an index if the host has none. None means: use pip.
    uv: Callable[[Mapping[str, str | None]], str | None]
    pip_settings: Mapping[str, str]  # see ``indexes.pip_settings``
    fetch: Callable[..., bytes] = indexes.fetch


@dataclass(frozen=True)
class Built:
    """The result of a build."""

    tool: str  # ``uv`` or ``pip``
    index: str  # the index that was used, without credentials
    warnings: list[str]  # each index that was skipped, and why
    version: str  # of the new interpreter
    installed: dict[str, str]  # version of each installed package, by name


def build(
    folder: Directory, final: str, required: Requirements, python: Mapping[str, Any], means: BuildTools
) -> Built:
    """Build and check an environment in ``folder``/venv that will work once it is moved to ``final``; raises Problem.

    ``folder`` is empty and used by nothing else. ``python`` is the result of ``venv.interpreter``.
    """
    tool, index, warnings = _filled(folder, required, python, means)
    answer = _proven(os.path.join(folder.path, "venv", "bin", "python"), required, means.run)
    version, installed = answer["version"], answer["installed"]
    with folder.enter("venv") as venv:
        _relocate(venv, final)
        record = {"asked": list(required.packages), "python": version, "installed": installed}
        venv.write_new(RECORD, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n", 0o644)
    return Built(tool, index, warnings, version, installed)


def _filled(
    folder: Directory, required: Requirements, python: Mapping[str, Any], means: BuildTools
) -> tuple[str, str, list[str]]:
    """Create the environment and install the packages from the first index that has all of them."""
    skipped: list[str] = []
    for url in required.index_urls:
        environ = indexes.environment(url, means.pip_settings, os.environ)
        why = indexes.refusal(url, means.fetch, environ.get("PIP_CERT"))
        if why is None:
            tool, why = _installed(folder, required, python["base"], means, environ)
        if why is None:
            return tool, indexes.masked(url), [f"Package index skipped, {one}" for one in skipped]
        skipped.append(indexes.describe_failure(url, why, required.index_urls))
    full = any("No space left on device" in one for one in skipped)
    advice = (
        "Free space or inodes on that file system" if full else "Fix project_index_urls or project_packages"
    )
    raise Problem(
        "The new venv could not be built. The current one, if any, is unchanged. Indexes tried, in the order of"
        f" project_index_urls: {'; '.join(skipped)}. {advice}.",
        platform=python.get("platform"),
    )


def _installed(
    folder: Directory,
    required: Requirements,
    python: str,
    means: BuildTools,
    environ: Mapping[str, str | None],
) -> tuple[str, str | None]:
    """Install from one index; return the tool that was used and the error, or None."""
    path = os.path.join(folder.path, "venv")
    target = os.path.join(path, "bin", "python")
    uv = means.uv(environ)
    if uv:
        commands = [
            [uv, "venv", "--no-project", "--python", python, path],
            [uv, "pip", "install", "--python", target, "--", "pip", *required.packages],
        ]
        folder.remove("venv")
        why = failure(means.run, commands, environ)
        # pip may know a proxy, certificate or password that uv does not know. It cannot help if the index stalls.
        if why is None or "Failed to fetch" not in why or "timed out" in why:
            return "uv", why
    commands = [[python, "-m", "venv", path]]
    if required.packages:  # pip fails if it gets no requirement
        commands.append([target, "-m", "pip", "install", "--quiet", "--", *required.packages])
    folder.remove("venv")
    return "pip", failure(means.run, commands, environ)


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


def _proven(interpreter: str, required: Requirements, run: Execute) -> dict[str, Any]:
    answer = probe(run, interpreter, required.packages)
    if answer is None or answer["failed"]:
        failures = answer["failed"] if answer else {"its python": "does not run"}
        failed = "; ".join(f"{name} {why}" for name, why in failures.items())
        raise Problem(
            f"The new venv was built but does not work: {failed}. The current one, if any, is unchanged."
            " Fix project_packages (pin a version that works) or project_python."
        )
    return answer


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
