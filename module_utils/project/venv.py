"""Rebuild the environment ``venv`` of a root if it is not as asked: build next to it, check, exchange."""

from __future__ import annotations

import json
import os
import pkgutil
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable

from ansible.module_utils.project import guards
from ansible.module_utils.project import probe as program
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory, Execute, Owner
from ansible.module_utils.project.stages import Proof, Stage
from ansible.module_utils.reporting import Problem

RECORD = ".reset.json"  # in the venv: which packages were asked for and installed when it was built


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


def programs(folder: Directory) -> Iterator[Proof]:
    """Check that the environment's programs exist."""
    for script in ("activate", "pip", "python"):
        exists = os.path.exists(os.path.join(folder.path, VENV, "bin", script))  # not a dangling link
        yield Proof(f"{VENV}/bin/{script}", "there", "there" if exists else "missing", exists)


def packages(folder: Directory, asked: Sequence[str]) -> Proof:
    """Check that the environment was built for the packages that are asked for."""
    found = (record(folder, VENV) or {}).get("asked") or []
    return Proof(f"{VENV} built and proven for", ", ".join(asked), ", ".join(found), found == list(asked))


def plan(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Decide whether the environment must be built, and check the guards if so; raises Problem."""
    required = Requirements(
        params["python"],
        params["python_minimum"],
        params["packages"],
        params["index_urls"] or [""],
        params["rebuild"],
    )
    folder, run = root.folder, Owner(root.folder).run
    python = interpreter(run, required)
    reasons = outdated(folder, VENV, required, python) or broken(folder, VENV, required, run)
    if reasons:
        if folder.stat(VENV):
            guards.check_file_systems(folder, [VENV], root.facts.mounts)
            for use in guards.check_in_use(folder, [VENV], root.facts, params["allow_in_use"]):
                warn(use)
        guards.check_space(folder, params["space_mb"] << 20, root.facts)
    after = f"Python {python['version']}: {', '.join(required.packages)}\n"
    result = {
        "changed": bool(reasons),
        "interpreter": f"{folder.path}/{VENV}/bin/python",
        "platform": python.get("platform") if reasons else None,
        "diff": {
            "before": "".join(f"{reason}\n" for reason in reasons) or after,
            "after": after,
            "before_header": f"{folder.path}/{VENV}",
            "after_header": f"{folder.path}/{VENV}, rebuilt",
        },
    }

    def apply(quarantine: Quarantine, manifest: Manifest) -> Manifest:
        name = manifest.name
        with (
            quarantine.state.make("tools") as tools,
            quarantine.state.enter(BUILD) as builds,
            builds.make(name) as empty,
        ):
            try:
                result["report"] = _built(folder, empty, tools, required, python, params.get("kit"), warn)
                return quarantine.displace(manifest, [VENV], put=empty)
            finally:
                builds.remove(name)

    def promised() -> Iterator[Proof]:
        yield from programs(folder)
        yield packages(folder, required.packages)

    return Stage(result, apply, promised)


def _built(
    root: Directory,
    empty: Directory,
    tools: Directory,
    required: Requirements,
    python: dict[str, Any],
    sent: str | None,
    warn: Callable[[str], None],
) -> str:
    """Build and check an environment in ``empty``, with the control node's wheels if they were ``sent``."""
    # Imported here: a host whose environment is as asked does not need it.
    from ansible.module_utils.project import indexes
    from ansible.module_utils.project.build import UV, BuildTools, build, find_uv, unpack

    owner = Owner(root)
    settings = indexes.pip_settings(indexes.pip_files(owner.home, os.environ), os.environ)
    means = BuildTools(owner.run, partial(find_uv, owner, tools, python["base"]), settings)
    if sent:
        with empty.make("wheels") as into:
            unpack(sent, into)
        required = replace(required, index_urls=[into.path])
        means = replace(means, uv=lambda _: f"{into.path}/{UV}")
    built = build(empty, f"{root.path}/{VENV}", required, python, means)
    for warning in built.warnings:
        warn(warning)
    names = [distribution(package) for package in required.packages]
    held = ", ".join(f"{name} {built.installed.get(normalised(name), '?')}" for name in names)
    index = "the control node's wheels" if sent else built.index
    return f"🐍 Python {built.version}, built by {built.tool} from {index}: {held}"
