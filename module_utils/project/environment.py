"""Bring ``venv`` in a root to what is asked: look, build beside, prove, exchange."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Callable

from ansible.module_utils.project import guards, proofs, venv
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.owner import Owner, find_uv
from ansible.module_utils.project.proofs import Proof
from ansible.module_utils.project.quarantine import BUILD, Manifest, Quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.project.venv import Requirements


@dataclass
class Environment:
    """The environment as asked.

    Attributes:
        python: the answer of the interpreter to build with.
        kit: archive of the control node's wheels; empty without them.
        warn: is told of each index that was passed over.
        result: of the stage, completed by a build.
    """

    folder: Directory
    required: Requirements
    python: dict[str, Any]
    kit: str
    warn: Callable[[str], None]
    result: dict[str, Any]

    def apply(self, quarantine: Quarantine, run: Manifest) -> Manifest:
        """Build another one beside the one in place, prove it, and let the two change places."""
        beside = run.name
        with (
            quarantine.state.make("tools") as tools,
            quarantine.state.enter(BUILD) as builds,
            builds.make(beside) as folder,
        ):
            try:
                self._build(folder, tools)
                return quarantine.displace(run, [VENV], put=folder)
            finally:
                builds.remove(beside)

    def _build(self, folder: Directory, tools: Directory) -> None:
        # Here, for a host whose environment is as asked never compiles it.
        from ansible.module_utils.project.build import Means, build

        owner, required = Owner(self.folder), self.required
        means = Means(owner.run, partial(find_uv, owner, tools, self.python["base"]), owner.pip_settings())
        if self.kit:
            from ansible.module_utils.project import kit

            with folder.make("wheels") as into:
                kit.unpack(self.kit, into)
            required = replace(required, index_urls=[into.path])
            means = replace(means, uv=lambda _: f"{into.path}/{kit.UV}")
        built = build(folder, f"{self.folder.path}/{VENV}", required, self.python, means)
        for warning in built.warnings:
            self.warn(warning)
        index = "the control node's wheels" if self.kit else built.index
        self.result.update(tool=built.tool, index=index, python=built.version, packages=built.installed)
        self.result["report"] = (
            f"🐍 Python {built.version}, built by {built.tool} from {index}: {_held(built.installed, required)}"
        )

    def proofs(self) -> Iterator[Proof]:
        """That its programs are there, and that it was proven for what is asked."""
        packages = proofs.packages(self.folder, self.required.packages)
        return itertools.chain(proofs.programs(self.folder), [packages])


def plan(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Look whether an environment must be built, and pass the guards of that, or raise Problem."""
    required = Requirements(
        params["python"],
        params["python_minimum"],
        params["packages"],
        params["index_urls"] or [""],
        params["rebuild"],
    )
    folder, run = root.folder, Owner(root.folder).run
    python = venv.interpreter(run, required)
    reasons = venv.outdated(folder, VENV, required, python) or venv.broken(folder, VENV, required, run)
    if reasons:
        if folder.stat(VENV):
            guards.check_file_systems(folder, [VENV], root.facts.mounts)
            for use in guards.check_in_use(folder, [VENV], root.facts, params["allow_in_use"]):
                warn(use)
        guards.check_space(folder, params["space_mb"] << 20, root.facts.free_bytes)
    result = {
        "changed": bool(reasons),
        "reasons": reasons,
        "python": python["version"],
        "interpreter": f"{folder.path}/{VENV}/bin/python",
        "platform": python.get("platform") if reasons else None,
        "diff": _diff(folder.path, required, python["version"], reasons),
    }
    asked = Environment(folder, required, python, params.get("kit") or "", warn, result)
    return Stage(result, asked.apply, asked.proofs)


def _diff(path: str, required: Requirements, version: str, reasons: list[str]) -> dict[str, str]:
    after = f"Python {version}: {', '.join(required.packages)}\n"
    return {
        "before": "".join(f"{reason}\n" for reason in reasons) if reasons else after,
        "after": after,
        "before_header": f"{path}/{VENV}",
        "after_header": f"{path}/{VENV}, rebuilt",
    }


def _held(installed: dict[str, str], required: Requirements) -> str:
    """The packages asked for, with their versions."""
    names = [venv.distribution(package) for package in required.packages]
    return ", ".join(f"{name} {installed.get(venv.normalised(name), '?')}" for name in names)
