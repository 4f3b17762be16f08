"""Bring ``venv`` in a root to what is asked: look, build beside, prove, exchange."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any, Callable

from ansible.module_utils.project import guards, venv
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.owner import Owner, find_uv
from ansible.module_utils.project.quarantine import BUILD, Run, totals
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.session import Session, opened
from ansible.module_utils.reporting import Problem


def work(params: dict[str, Any], check_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Plan, and unless in check mode apply; see the module's documentation for ``params``."""
    wanted = venv.Wanted(
        params["python"],
        params["python_minimum"],
        params["packages"],
        params["index_urls"] or [""],
        params["rebuild"],
    )
    kit = params.get("kit")
    with opened(params) as session:
        root, owner = session.root, Owner(session.root)
        python = venv.interpreter(owner.run, wanted)
        reasons = venv.outdated(root, VENV, wanted, python) or venv.broken(root, VENV, wanted, owner.run)
        result: dict[str, Any] = {
            "changed": bool(reasons),
            "reasons": reasons,
            "python": python["version"],
            "interpreter": f"{root.path}/{VENV}/bin/python",
            "run": None,
            "kept": totals([]),
            "unfinished": session.unfinished(),
            "diff": _diff(root.path, wanted, python["version"], reasons),
        }
        if not reasons:
            return result
        if root.stat(VENV):
            guards.check_file_systems(root, [VENV], session.facts.mounts)
            for use in guards.check_in_use(root, [VENV], session.facts, params["allow_in_use"]):
                warn(use)
        guards.check_space(root, params["space_mb"] << 20, session.facts.free_bytes)
        if not check_mode:
            if params.get("wheels") == "always" and not kit:
                raise Problem(
                    "The wheels for this host come from the control node, as project_wheels asks, and are not here"
                    " yet.",
                    wanting=venv.target(python),
                )
            built, run = _build(session, owner, wanted, python, kit)
            for warning in built.warnings:
                warn(warning)
            result.update(
                run=run.name,
                unfinished=True,
                kept=totals([run]),
                tool=built.tool,
                index=built.index,
                python=built.version,
                packages=built.installed,
                imported=built.imported,
                report=_report(built, wanted),
            )
        return result


def _build(
    session: Session, owner: Owner, wanted: venv.Wanted, python: dict[str, Any], kit: str | None
) -> tuple[venv.Built, Run]:
    final = f"{session.root.path}/{VENV}"
    with session.changing() as quarantine:
        run = quarantine.begin("reset", session.holder)
        tools = quarantine.state.make("tools")
        with tools, quarantine.state.enter(BUILD) as builds, builds.make(run.name) as folder:

            def uv(index: Any) -> str | None:
                return (
                    f"{taken}/uv" if taken else find_uv(owner.run, owner.home, tools, python["base"], index)
                )

            taken = ready = ""
            try:
                if kit:
                    from ansible.module_utils.project import bytecode

                    taken = _take(kit, folder)
                    wanted = replace(wanted, index_urls=[taken])
                    ready = f"{taken}/{bytecode.MEMBER}"
                    ready = ready if os.path.exists(ready) else ""
                built = venv.build(
                    folder, final, wanted, python, owner.run, uv, owner.pip_settings, bytecode=ready
                )
                if kit:
                    built.index = "the control node's wheels"
                    built.imported = "" if ready else bytecode.imported(venv.packages(folder, python))
                run = quarantine.displace(run, [VENV], put=folder)
            finally:
                builds.remove(folder.path.rpartition("/")[2])
    return built, run


def _take(kit: str, folder: Directory) -> str:
    """Unpack the control node's wheels beside the build, which removes them with it."""
    from ansible.module_utils.project import wheels

    with folder.make("wheels") as into:
        wheels.unpack(kit, into)
        return into.path


def _diff(path: str, wanted: venv.Wanted, version: str, reasons: list[str]) -> dict[str, str]:
    after = f"Python {version}: {', '.join(wanted.packages)}\n"
    return {
        "before": "".join(f"{reason}\n" for reason in reasons) if reasons else after,
        "after": after,
        "before_header": f"{path}/{VENV}",
        "after_header": f"{path}/{VENV}, built anew",
    }


def _report(built: venv.Built, wanted: venv.Wanted) -> str:
    installed = {name.lower(): version for name, version in built.installed.items()}
    names = [venv.distribution(package) for package in wanted.packages]
    held = ", ".join(f"{name} {installed.get(venv.normalised(name), '?')}" for name in names)
    return f"🐍 Python {built.version}, built by {built.tool} from {built.index}: {held}"
