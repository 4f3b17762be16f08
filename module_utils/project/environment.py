"""Rebuild ``venv`` in a root if it is not as asked: build next to it, check, exchange."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
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
    python = venv.interpreter(run, required)
    reasons = venv.outdated(folder, VENV, required, python) or venv.broken(folder, VENV, required, run)
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
        yield from proofs.programs(folder)
        yield proofs.packages(folder, required.packages)

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
    from ansible.module_utils.project.build import UV, BuildTools, build, unpack

    owner = Owner(root)
    means = BuildTools(owner.run, partial(find_uv, owner, tools, python["base"]), owner.pip_settings())
    if sent:
        with empty.make("wheels") as into:
            unpack(sent, into)
        required = replace(required, index_urls=[into.path])
        means = replace(means, uv=lambda _: f"{into.path}/{UV}")
    built = build(empty, f"{root.path}/{VENV}", required, python, means)
    for warning in built.warnings:
        warn(warning)
    names = [venv.distribution(package) for package in required.packages]
    held = ", ".join(f"{name} {built.installed.get(venv.normalised(name), '?')}" for name in names)
    index = "the control node's wheels" if sent else built.index
    return f"🐍 Python {built.version}, built by {built.tool} from {index}: {held}"
