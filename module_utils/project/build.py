"""Build an environment beside the one in place, and prove it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.project import indexes
from ansible.module_utils.project.root import NEW, Directory
from ansible.module_utils.project.venv import RECORD, STEP_SECONDS, Execute, Requirements, probe
from ansible.module_utils.reporting import Problem

UV = "uv"  # the program, among the wheels that the control node sends


@dataclass(frozen=True)
class Means:
    """What a build works with."""

    run: Execute
    # Gives the path of uv, fetched with an index's environment if the host has none; None: use pip.
    uv: Callable[[Mapping[str, str | None]], str | None]
    pip_settings: Mapping[str, str]  # see ``indexes.pip_settings``
    fetch: Callable[..., bytes] = indexes.fetch


@dataclass(frozen=True)
class Built:
    """How a build went."""

    tool: str  # ``uv`` or ``pip``
    index: str  # the one that served it, without credentials
    warnings: list[str]  # each index that was passed over, and why
    version: str  # what the new interpreter says it is
    installed: dict[str, str]  # name to version of all that it holds


def build(
    folder: Directory, final: str, required: Requirements, python: Mapping[str, Any], means: Means
) -> Built:
    """Build and prove an environment as ``folder``/venv, ready to be called at ``final``; raises Problem.

    ``folder`` is empty and belongs to the build; ``python`` is the answer of ``venv.interpreter``.
    """
    tool, index, warnings = _filled(folder, required, python, means)
    answer = _proven(os.path.join(folder.path, "venv", "bin", "python"), required, means.run)
    version, installed = answer["version"], answer["installed"]
    with folder.enter("venv") as venv:
        _settle(venv, final)
        record = {"asked": list(required.packages), "python": version, "installed": installed}
        venv.write_new(RECORD, json.dumps(record, indent=1, sort_keys=True).encode() + b"\n", 0o644)
    return Built(tool, index, warnings, version, installed)


def _filled(
    folder: Directory, required: Requirements, python: Mapping[str, Any], means: Means
) -> tuple[str, str, list[str]]:
    """Make the environment and install from the first index that has everything."""
    passed_over: list[str] = []
    for url in required.index_urls:
        environ = indexes.environment(url, means.pip_settings, os.environ)
        why = indexes.refusal(url, means.fetch, environ.get("PIP_CERT"))
        if why is None:
            tool, why = _installed(folder, required, python["base"], means, environ)
        if why is None:
            return tool, indexes.masked(url), [f"Package index passed over, {one}" for one in passed_over]
        passed_over.append(indexes.told(url, why, required.index_urls))
    raise Problem(
        "The new venv could not be built; the one in place, if any, still serves. Tried in the order of"
        f" project_index_urls: {'; '.join(passed_over)}. Fix project_index_urls or project_packages.",
        platform=python.get("platform"),
    )


def _installed(
    folder: Directory, required: Requirements, python: str, means: Means, environ: Mapping[str, str | None]
) -> tuple[str, str | None]:
    """The tool that installed from one index, and why it could not, or None."""
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
        # Proxies, certificates and passwords that pip knows of are not always known to uv. One that stalls, stalls.
        if why is None or "Failed to fetch" not in why or "timed out" in why:
            return "uv", why
    commands = [[python, "-m", "venv", path]]
    if required.packages:  # pip refuses to install nothing
        commands.append([target, "-m", "pip", "install", "--quiet", "--", *required.packages])
    folder.remove("venv")
    return "pip", failure(means.run, commands, environ)


def failure(
    run: Execute, commands: Sequence[Sequence[str]], environ: Mapping[str, str | None], text: str = ""
) -> str | None:
    """Run commands of uv or pip in order, each with ``text`` as its input; why the first one failed, or None."""
    for command in commands:
        code, out, err = run(command, env=environ, text=text, seconds=STEP_SECONDS)
        if code:
            lines = [line.strip() for line in (err or out).splitlines() if line.strip()]
            return " / ".join(lines[-4:]) or f"{os.path.basename(command[0])} ended with {code}"
    return None


def _proven(interpreter: str, required: Requirements, run: Execute) -> dict[str, Any]:
    answer = probe(run, interpreter, required.packages)
    if answer is None or answer["failed"]:
        failures = answer["failed"] if answer else {"its python": "does not run"}
        failed = "; ".join(f"{name} {why}" for name, why in failures.items())
        raise Problem(
            f"The new venv was built and is not sound: {failed}. The one in place, if any, still serves."
            " Fix project_packages (pin a version that works) or project_python."
        )
    return answer


def _settle(venv: Directory, final: str) -> None:
    """Make the scripts name the place where the environment will stand instead of where it was built."""
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
    """Take a kit in on the host: the flat files of an archive that came over SSH, given to the owner.

    It is taken from the end and shortened on the way, if the user may do that: a host needs no room for it twice.
    """
    with tarfile.open(path) as archive:
        for member in reversed(archive.getmembers()):
            content = archive.extractfile(member)
            if content is None or "/" in member.name:
                raise Problem(f"The wheels from the control node hold {member.name!r}, which is no wheel.")
            fd = os.open(member.name, NEW, 0o700 if member.name == UV else 0o600, dir_fd=into.fd)
            into.give(fd)
            with open(fd, "wb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            with contextlib.suppress(OSError):
                os.truncate(path, member.offset)
