"""Take the stages of a reset as one piece of work: plan all of them, then apply them in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from ansible.module_utils.project.opening import OpenRoot, opened, reported
from ansible.module_utils.project.proofs import Proof
from ansible.module_utils.project.quarantine import Manifest, Quarantine, totals
from ansible.module_utils.reporting import Problem

# The option that a stage cannot do without.
NEEDED = {"preflight": "packages", "venv": "packages", "dotenv": "connection"}


@dataclass
class Stage:
    """A stage that is planned: every guard has passed, nothing has changed.

    Attributes:
        result: what it would do, for the module's result; ``apply`` completes it.
        apply: does it, recorded under a run; returns the run that goes on from there. Raises Problem or OSError.
        proofs: what it promises, looked at when all stages have been applied.
    """

    result: dict[str, Any]
    apply: Callable[[Quarantine, Manifest], Manifest] = lambda _, run: run
    proofs: Callable[[], Iterator[Proof]] = lambda: iter(())


def take(params: dict[str, Any], check_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Take the stages of ``params`` in order; see the module's documentation.

    A Problem names the stage that could not be taken as ``stage``, and tells what those before it have changed.
    """
    names = params["stages"]
    for name in names:
        option = NEEDED.get(name)
        if option and params.get(option) is None:
            raise Problem(
                f"The stage {name} needs the option {option} of project_reset. Nothing was touched."
            )
    if "restore" in names:
        if len(names) > 1:
            raise Problem("The stage restore is taken alone. Nothing was touched.")
        from ansible.module_utils.project import restore

        return restore.work(params, check_mode)
    with opened(params, check_mode) as root:
        planned = {name: _planned(name, root, params, warn) for name in names if name != "close"}
        plan = _joined([stage.result for stage in planned.values()])
        if check_mode or not (plan["changed"] or ("close" in names and root.unfinished())):
            return plan
        if (
            "venv" in names
            and plan["platform"]
            and params.get("wheels") == "always"
            and not params.get("kit")
        ):
            raise Problem(
                "The environment is to be built of the control node's wheels (project_wheels), which are not here."
                " Nothing was touched.",
                platform=plan["platform"],
            )
        return _applied(root, planned, params)


def _planned(name: str, root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Plan one stage. The target compiles at each call what is imported, so only what the stage needs."""
    try:
        if name == "preflight":
            from ansible.module_utils.project import clean, environment

            moved, built = (each.plan(root, params, warn).result for each in (clean, environment))
            told = {key: built[key] for key in ("python", "platform")}
            return Stage({"changed": False, "notes": moved["notes"], **told})
        if name == "clean":
            from ansible.module_utils.project import clean

            return clean.plan(root, params, warn)
        if name == "venv":
            from ansible.module_utils.project import environment

            return environment.plan(root, params, warn)
        from ansible.module_utils.project import settings

        return settings.plan(root, params)
    except Problem as problem:
        raise Problem(str(problem), **problem.details, stage=name) from problem


def _applied(root: OpenRoot, planned: dict[str, Stage], params: dict[str, Any]) -> dict[str, Any]:
    from ansible.module_utils.project import closing

    quarantine = root.changing()
    run = quarantine.begin("reset")
    results: list[dict[str, Any]] = []
    at = ""
    try:
        with reported(root.folder.path):
            for at, stage in planned.items():  # noqa: B007 - told below
                if stage.result["changed"]:
                    run = stage.apply(quarantine, run)
                    stage.result.update(run=run.name, kept=totals([run]))
                results.append(stage.result)
            for at, stage in planned.items():  # noqa: B007
                results.append({"proofs": closing.proven(root.folder.path, stage.proofs())})
            if "close" in params["stages"]:
                at = "close"
                results.append(closing.close(root.folder.path, quarantine, params))
    except Problem as problem:
        results.append(closing.unfinished(root.folder.path, quarantine))
        raise Problem(str(problem), **{**_joined(results), **problem.details, "stage": at}) from problem
    return _joined(results)


def _joined(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is said of several stages: the last word on each thing, and every difference, note, proof and report."""
    joined: dict[str, Any] = {"run": None, "kept": totals([])}
    for result in results:
        joined.update({key: value for key, value in result.items() if value or key not in joined})
    joined["changed"] = any(result.get("changed") for result in results)
    joined["diff"] = [result["diff"] for result in results if "diff" in result]
    joined["notes"] = list(dict.fromkeys(note for result in results for note in result.get("notes", ())))
    joined["proofs"] = [proof for result in results for proof in result.get("proofs", ())]
    joined["report"] = "\n".join(result["report"] for result in results if result.get("report"))
    return joined
