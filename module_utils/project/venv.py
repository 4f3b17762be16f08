"""Rebuild the environment ``venv`` of a root if it is not as asked: build next to it, check, exchange."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Callable

from ansible.module_utils.project import guards
from ansible.module_utils.project import probe as program
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory, Execute, Owner
from ansible.module_utils.project.stages import Proof, Stage, difference
from ansible.module_utils.reporting import Problem

RECORD = ".reset.json"  # in the venv: which packages were asked for and installed when it was built


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


def interpreter(run: Execute, wanted: str, minimum: str) -> dict[str, Any]:
    """Return ``version`` and ``base``, the path, of the interpreter to build with; raises Problem."""
    answer = probe(run, wanted, None)
    if answer is None:
        raise Problem(
            f"project_python {wanted!r} does not run on this host. Install it, or set project_python to another."
        )
    if numbers(answer["version"]) < numbers(minimum):
        raise Problem(
            f"project_python {wanted!r} is Python {answer['version']}, below project_python_minimum"
            f" {minimum}. Set project_python to a newer one. Nothing was touched."
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


def record(root: Directory) -> dict[str, Any] | None:
    """Return the record that a build left in the environment; None if there is none."""
    try:
        with root.enter(VENV) as folder:
            found = json.loads(folder.read(RECORD) or b"null")
    except (ValueError, OSError):
        return None
    return found if isinstance(found, dict) else None


def outdated(root: Directory, asked: Sequence[str], wanted: str, version: str, rebuild: bool) -> list[str]:
    """Return why the environment must be rebuilt, as far as its files show; ``version`` is that of ``wanted``."""
    found = root.stat(VENV)
    if found is None:
        return ["it is missing"]
    if not stat.S_ISDIR(found.st_mode):
        return ["it is not a folder"]
    built = record(root)
    if built is None:
        return ["it was not built by this project"]
    reasons = []
    if built.get("asked") != list(asked):
        reasons.append("other packages are asked for")
    if built.get("python") != version:
        reasons.append(f"it is Python {built.get('python')}, {wanted} is {version}")
    if rebuild:
        reasons.append("project_rebuild is set")
    return reasons


def broken(root: Directory, asked: Sequence[str], run: Execute) -> list[str]:
    """Ask the environment's own interpreter; return why it must be rebuilt, empty if it is as asked."""
    answer = probe(run, os.path.join(root.path, VENV, "bin", "python"), asked)
    if answer is None:
        return ["its python does not run"]
    with root.enter(VENV) as folder, folder.enter("bin") as scripts:
        missing = [script for script in ("activate", "pip") if scripts.stat(script) is None]
    reasons = [f"bin/{script} is missing" for script in missing]
    reasons += [f"{package} {why}" for package, why in answer["failed"].items()]
    held = (record(root) or {}).get("installed", {})
    changed = sorted(dict(set(held.items()) ^ set(answer["installed"].items())))
    if changed and not reasons:
        reasons.append(f"its packages were changed by hand: {', '.join(changed)}")
    return reasons


def programs(folder: Directory) -> Iterator[Proof]:
    """Check that the environment's programs exist."""
    for script in ("activate", "pip", "python"):
        exists = os.path.exists(os.path.join(folder.path, VENV, "bin", script))  # not a dangling link
        yield Proof(f"{VENV}/bin/{script}", "there", "there" if exists else "missing")


def packages(folder: Directory, asked: Sequence[str]) -> Proof:
    """Check that the environment was built for the packages that are asked for."""
    found = (record(folder) or {}).get("asked") or []
    return Proof(f"{VENV} built and proven for", ", ".join(asked), ", ".join(found))


def plan(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Decide whether the environment must be built, and check the guards if so; raises Problem."""
    folder, run, wanted, asked = root.folder, Owner(root.folder).run, params["python"], params["packages"]
    for package in asked:
        distribution(package)  # raises Problem if no tool may get it
    python = interpreter(run, wanted, params["python_minimum"])
    reasons = outdated(folder, asked, wanted, python["version"], params["rebuild"])
    reasons = reasons or broken(folder, asked, run)
    if reasons:
        if folder.stat(VENV):
            guards.check_file_systems(folder, [VENV], root.facts.mounts)
            for use in guards.check_in_use(folder, [VENV], root.facts, params["allow_in_use"]):
                warn(use)
        guards.check_space(folder, params["space_mb"] << 20, root.facts)
    path, after = f"{folder.path}/{VENV}", f"Python {python['version']}: {', '.join(asked)}\n"
    result = {
        "changed": bool(reasons),
        "interpreter": f"{path}/bin/python",
        "platform": python.get("platform") if reasons else None,
        "diff": difference(
            [f"{reason}\n" for reason in reasons] or [after], [after], path, f"{path}, rebuilt"
        ),
    }

    def apply(quarantine: Quarantine, manifest: Manifest) -> Manifest:
        # Imported here: a host whose environment is as asked does not need it.
        from ansible.module_utils.project.build import rebuild

        name = manifest.name
        with (
            quarantine.state.make("tools") as tools,
            quarantine.state.enter(BUILD) as builds,
            builds.make(name) as empty,
        ):
            try:
                result["report"] = rebuild(folder, empty, tools, python, params, warn)
                return quarantine.displace(manifest, [VENV], put=empty)
            finally:
                builds.remove(name)

    def promised() -> Iterator[Proof]:
        yield from programs(folder)
        yield packages(folder, asked)

    return Stage(result, apply, promised)
