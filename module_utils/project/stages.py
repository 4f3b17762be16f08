"""Take stages of a reset, one after the other, as one result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Callable

from ansible.module_utils.reporting import Problem

# The option that a stage cannot do without.
NEEDED = {"preflight": "packages", "clean": "packages", "venv": "packages", "dotenv": "connection"}


def take(params: dict[str, Any], check_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Take the stages of ``params`` in order; see the module's documentation.

    A stage that cannot be taken ends it: the Problem names it as ``stage`` and holds what those before it did.
    """
    stages = params["stage"]
    for stage in stages:
        option = NEEDED.get(stage)
        if option and params.get(option) is None:
            raise Problem(
                f"The stage {stage} needs the option {option} of project_reset. Nothing was touched."
            )
    done: dict[str, Any] = {"changed": False}
    for stage in stages:
        try:
            done = _joined(done, _one(stage, params, done, check_mode, warn))
        except Problem as problem:
            raise Problem(str(problem), **_joined(done, {**problem.details, "stage": stage})) from problem
    return done


def _one(
    stage: str,
    params: dict[str, Any],
    done: Mapping[str, Any],
    check_mode: bool,
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """Take one stage; the target compiles what is imported at every call, so only what the stage needs."""
    if stage == "preflight":
        from ansible.module_utils.project import preflight

        return preflight.work(params, warn)
    if stage == "clean":
        from ansible.module_utils.project import clean

        return clean.work(params, check_mode, warn)
    if stage == "venv":
        from ansible.module_utils.project import environment

        return environment.work(params, check_mode, warn)
    if stage == "dotenv":
        from ansible.module_utils.project import settings

        return settings.work(params, check_mode)
    if stage == "verify":
        # Where no run is open nothing had to be done: each stage has just looked at what would be proven here.
        if check_mode or not done.get("unfinished", True):
            return {}
        from ansible.module_utils.project import verify

        keys = [name for names in done.get("keys", {}).values() for name in names]
        packages = params["packages"] if "venv" in params["stage"] else None
        return verify.work({**params, "packages": packages, "keys": keys}, check_mode)
    from ansible.module_utils.project import restore

    return restore.work(params, check_mode)


def _joined(done: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of several stages: the last word on each thing, and every difference and report."""
    joined = {**done, **result, "changed": done["changed"] or bool(result.get("changed"))}
    if not result.get("run") and done.get("run"):
        joined.update(run=done["run"], kept=done["kept"])
    if result.get("report") and done.get("report"):
        joined["report"] = f"{done['report']}\n{result['report']}"
    diff = result.get("diff")
    joined["diff"] = [*done.get("diff", ()), *([diff] if diff else ())]
    return joined
