"""Decide whether the current virtual environment is as asked."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.project import probe as program
from ansible.module_utils.project.root import Directory
from ansible.module_utils.reporting import Problem

RECORD = ".reset.json"  # in the venv: which packages were asked for and installed when it was built
STEP_SECONDS = 900.0  # the timeout of each command of a build

# Runs a program as the owner of the root; see ``owner.Owner.run``.
Execute = Callable[..., tuple[int, str, str]]


@dataclass(frozen=True)
class Requirements:
    """What is asked of an environment."""

    python: str  # the interpreter to build with, as the user names it
    minimum: str  # the oldest version allowed, ``3.9``
    packages: Sequence[str]  # requirements, as pip reads them
    index_urls: Sequence[str] = ("",)  # in order; an empty text is the host's own index
    rebuild: bool = False  # even if nothing is wrong

    def __post_init__(self) -> None:
        """Raise Problem for a requirement that no tool may get."""
        for package in self.packages:
            distribution(package)


def distribution(requirement: str) -> str:
    """Return the distribution of a requirement: ``uvicorn`` of ``uvicorn[standard]>=0.30; python_version>'3'``."""
    name = re.split(r"[\[<>=!~;@ (]", requirement.strip())[0]
    if re.search(r"://.*@", requirement):
        # They would be on a command line, and in the environment's record.
        raise Problem(
            f"project_packages holds credentials for {name}. Put them into project_index_urls, and only the"
            " package's name into project_packages."
        )
    if not name or name.startswith(("-", ".", "/")):
        raise Problem(
            f"project_packages holds {requirement!r}, but each requirement must begin with a package's name."
        )
    return name


def normalised(name: str) -> str:
    """Return a distribution's name as the probe writes it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def probe(run: Execute, python: str, packages: Sequence[str] | None) -> dict[str, Any] | None:
    """Run ``probe.py`` with an interpreter, and return its answer; None if it does not run."""
    names = None if packages is None else [distribution(package) for package in packages]
    source = (pkgutil.get_data(program.__name__.rpartition(".")[0], "probe.py") or b"").decode()
    code, out, _ = run([python, "-I", "-c", source], text=json.dumps(names))
    try:
        answer = json.loads(out.rsplit("\n", 2)[-2]) if code == 0 else None
    except (ValueError, IndexError):
        return None
    return answer if isinstance(answer, dict) else None


def interpreter(run: Execute, wanted: Requirements) -> dict[str, Any]:
    """Return ``version`` and ``base``, the path, of the interpreter to build with; raises Problem."""
    answer = probe(run, wanted.python, None)
    if answer is None:
        raise Problem(
            f"project_python {wanted.python!r} does not run on this host. Install it, or set project_python to another."
        )
    if numbers(answer["version"]) < numbers(wanted.minimum):
        raise Problem(
            f"project_python {wanted.python!r} is Python {answer['version']}, below project_python_minimum"
            f" {wanted.minimum}. Set project_python to a newer one. Nothing was touched."
        )
    return answer


def numbers(version: str) -> list[int]:
    """Return the parts of a version as numbers, for a comparison; raises Problem if it is not a version."""
    try:
        return [int(part) for part in version.split(".")]
    except ValueError:
        raise Problem(
            f"project_python_minimum {version!r} is not a version. Set it to one, such as 3.9."
        ) from None


def record(root: Directory, name: str) -> dict[str, Any] | None:
    """Return the record that a build left in the environment ``name``; None if there is none."""
    try:
        with root.enter(name) as folder:
            found = json.loads(folder.read(RECORD) or b"null")
    except (ValueError, OSError):
        return None
    return found if isinstance(found, dict) else None


def outdated(root: Directory, name: str, wanted: Requirements, python: Mapping[str, Any]) -> list[str]:
    """Return why the environment ``name`` must be rebuilt, as far as its files show; empty if they do not."""
    found = root.stat(name)
    if found is None:
        return ["it is missing"]
    if not stat.S_ISDIR(found.st_mode):
        return ["it is not a folder"]
    built = record(root, name)
    if built is None:
        return ["it was not built by this project"]
    reasons = []
    if built.get("asked") != list(wanted.packages):
        reasons.append("other packages are asked for")
    if built.get("python") != python["version"]:
        reasons.append(f"it is Python {built.get('python')}, {wanted.python} is {python['version']}")
    if wanted.rebuild:
        reasons.append("project_rebuild is set")
    return reasons


def broken(root: Directory, name: str, wanted: Requirements, run: Execute) -> list[str]:
    """Ask the environment's own interpreter; return why it must be rebuilt, empty if it is as asked."""
    answer = probe(run, os.path.join(root.path, name, "bin", "python"), wanted.packages)
    if answer is None:
        return ["its python does not run"]
    with root.enter(name) as folder, folder.enter("bin") as scripts:
        missing = [script for script in ("activate", "pip") if scripts.stat(script) is None]
    reasons = [f"bin/{script} is missing" for script in missing]
    reasons += [f"{package} {why}" for package, why in answer["failed"].items()]
    held = (record(root, name) or {}).get("installed", {})
    changed = sorted(dict(set(held.items()) ^ set(answer["installed"].items())))
    if changed and not reasons:
        reasons.append(f"its packages were changed by hand: {', '.join(changed)}")
    return reasons
