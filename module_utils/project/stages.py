"""Run the stages of a reset: plan all of them, then apply them in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Callable, NamedTuple

from ansible.module_utils.project import guards
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.opening import OpenRoot, opened, reported
from ansible.module_utils.project.quarantine import Entry, Manifest, Quarantine, totals
from ansible.module_utils.project.root import Directory, Execute, Owner, described, listed
from ansible.module_utils.reporting import Problem

# The option that a stage requires.
NEEDED = {"preflight": "packages", "venv": "packages", "dotenv": "connection"}


class Proof(NamedTuple):
    """The check of one promise."""

    name: str
    expected: str
    found: str

    @property
    def ok(self) -> bool:
        """Return whether the promise is kept."""
        return self.found == self.expected


@dataclass
class Stage:
    """A planned stage: its guards have passed, and nothing has changed yet."""

    # The plan, for the module's result; ``apply`` completes it.
    result: dict[str, Any]
    # Applies the plan and records it under a run; returns the run to continue with. Raises Problem or OSError.
    apply: Callable[[Quarantine, Manifest], Manifest] = lambda _, run: run
    # Checked after all stages have been applied.
    proofs: Callable[[], Iterator[Proof]] = lambda: iter(())


def difference(before: Sequence[str], after: Sequence[str], old: str, new: str) -> dict[str, str]:
    """Return lines before and after a change as Ansible's diff, with the headers ``old`` and ``new``."""
    texts = {"before": "".join(before), "after": "".join(after)}
    return {**texts, "before_header": old, "after_header": new}


def take(params: dict[str, Any], check_mode: bool, warn: Callable[[str], None]) -> dict[str, Any]:
    """Run the stages of ``params`` in order, and return the module's result; see its documentation.

    The details of a Problem name the failed ``stage``, and hold the results of the stages before it.
    """
    names = params["stages"]
    for name in names:
        option = NEEDED.get(name)
        if option and params.get(option) is None:
            raise Problem(
                f"The stage {name} needs the option {option} of project_reset. Set it. Nothing was touched."
            )
    if "restore" in names:
        if len(names) > 1:
            raise Problem("The stage restore must run alone. Remove the other stages. Nothing was touched.")
        from ansible.module_utils.project import restore

        return restore.work(params, check_mode)
    with opened(params, check_mode) as root:
        planned = {name: _planned(name, root, params, warn) for name in names if name != "close"}
        plan = _joined([stage.result for stage in planned.values()])
        unfinished = "close" in names and root.quarantine is not None and root.quarantine.open_runs()
        if check_mode or not (plan["changed"] or unfinished):
            return plan
        missing = params.get("wheels") == "always" and not params.get("kit")
        if missing and "venv" in names and plan["platform"]:
            raise Problem(
                "The environment needs the control node's wheels (project_wheels: always), but they are not here."
                " Nothing was touched.",
                platform=plan["platform"],
            )
        return _applied(root, planned, params)


def _planned(name: str, root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    # Import only what the stage needs: the target compiles the imports at each call.
    try:
        if name == "preflight":
            moved, built = (_planned(each, root, params, warn).result for each in ("clean", "venv"))
            return Stage({"changed": False, "notes": moved["notes"], "platform": built["platform"]})
        if name == "clean":
            return clean(root, params, warn)
        if name == "venv":
            from ansible.module_utils.project import venv

            return venv.plan(root, params, warn)
        from ansible.module_utils.project import managed

        return managed.plan(root, params)
    except Problem as problem:
        raise Problem(str(problem), **{**problem.details, "stage": name}) from problem


def clean(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Plan to move the artifacts into quarantine, and check the guards; raises Problem."""
    folder = root.folder
    # The venv stays in use until the stage venv exchanges it for a working one.
    wanted = [name for name in dict.fromkeys(params["artifacts"]) if name != VENV]
    found = {name: item for name in wanted if (item := folder.item(name)) is not None}
    names = list(found)
    guards.check_file_systems(folder, names, root.facts.mounts)
    for use in guards.check_in_use(folder, names, root.facts, params["allow_in_use"]):
        warn(use)
    tracked = _git_tracks(Owner(folder).run, names)
    moved, lines = [], []
    for name, item in found.items():
        moved.append({"name": name, **listed(item), "tracked": tracked.get(name, 0)})
        note = f", {tracked[name]} tracked by git" if name in tracked else ""
        lines.append(f"{name}  {described(item)}{note}\n")
    result: dict[str, Any] = {
        "changed": bool(found),
        "moved": moved,
        "notes": [],
        "diff": difference(lines, [], params["root"], "moved to quarantine"),
    }
    if tracked:
        each = ", ".join(f"{count} in {name}" for name, count in tracked.items())
        result["notes"] = [
            f"git tracks {sum(tracked.values())} of the files that leave the root ({each}), so `git status` will be"
            " dirty. Remove what you want to keep from project_artifacts, commit the deletion, or bring the files back"
            " with playbooks/restore.yml."
        ]
    return Stage(result, lambda quarantine, run: quarantine.displace(run, names), lambda: gone(folder, names))


def _git_tracks(run: Execute, names: Sequence[str]) -> dict[str, int]:
    """Return how many files git tracks below each name in the root; empty without git or a repository."""
    if not names:
        return {}
    elsewhere = dict.fromkeys(("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"))
    command = ["git", "--literal-pathspecs", "ls-files", "-z", "--", *names]
    code, out, _ = run(command, env=elsewhere, seconds=10.0)
    return dict(Counter(path.partition("/")[0] for path in out.split("\0") if path)) if code == 0 else {}


def gone(folder: Directory, artifacts: Sequence[str]) -> Iterator[Proof]:
    """Check that no artifact but ``venv`` is in the root."""
    for name in artifacts:
        if name != VENV:
            item = folder.item(name)
            yield Proof(f"artifact {name}", "gone", described(item) if item else "gone")


def _applied(root: OpenRoot, planned: dict[str, Stage], params: dict[str, Any]) -> dict[str, Any]:
    path, quarantine = root.folder.path, root.changing()
    run = quarantine.begin("reset")
    results: list[dict[str, Any]] = []
    at = ""
    try:
        with reported(path):
            for at, stage in planned.items():  # noqa: B007 - used below
                if stage.result["changed"]:
                    run = stage.apply(quarantine, run)
                    stage.result.update(run=run.name, kept=totals([run]))
                results.append(stage.result)
            for at, stage in planned.items():  # noqa: B007
                results.append({"proofs": proven(path, stage.proofs())})
            if "close" in params["stages"]:
                at = "close"
                results.append(_closed(path, quarantine, params))
    except Problem as problem:
        results.append(_unfinished(path, quarantine))
        raise Problem(str(problem), **{**_joined(results), **problem.details, "stage": at}) from problem
    return _joined(results)


def proven(path: str, proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """Return the proofs of a stage as the module's result holds them; raises Problem if one fails."""
    checked = list(proofs)
    failed = [f"{each.name}: expected {each.expected}, found {each.found}" for each in checked if not each.ok]
    results = [{**each._asdict(), "ok": each.ok} for each in checked]
    if failed:
        raise Problem(
            f"The state of {path} after the reset is not as promised: {'; '.join(failed)}."
            " Run the reset again, or bring the old state back with `ansible-playbook playbooks/restore.yml`.",
            proofs=results,
        )
    return results


def _closed(path: str, quarantine: Quarantine, params: dict[str, Any]) -> dict[str, Any]:
    """Close the open runs, and delete expired ones."""
    closed = []
    for run in quarantine.open_runs():
        quarantine.settle(run)
        quarantine.close(run)
        closed += [run] if run.entries else []
    gone = quarantine.expire(params["keep"], params["keep_days"])
    return {"changed": bool(gone), **_summary(path, closed, gone)}


def _unfinished(path: str, quarantine: Quarantine) -> dict[str, Any]:
    """Return what the open runs have changed, for the result of a failed reset."""
    runs = [run for run in quarantine.open_runs() if run.entries]
    entries = [entry for run in runs for entry in run.entries]
    moved = [{"name": each.name, **listed(each.before)} for each in entries if each.before and not each.after]
    return {"changed": bool(runs), "moved": moved, **_summary(path, runs, [])}


def _summary(path: str, runs: Sequence[Manifest], gone: Sequence[str]) -> dict[str, Any]:
    """Return what runs have moved, and how to undo them unless they are ``gone`` already."""
    lines = []
    for run in runs:
        unfinished = ", not finished: the next reset continues from here" if run.state == "open" else ""
        lines.append(f"🧹 Reset of {path}{unfinished}")
        lines += [f"   {entry.name}: {_change(entry)}" for entry in run.entries]
        if run.name in gone:
            lines.append("   Deleted at once, because of project_quarantine_keep")
        else:
            lines.append(f"   Undo: ansible-playbook playbooks/restore.yml -e restore_run={run.name}")
    last = {"run": runs[-1].name, "kept": totals(runs)} if runs else {}
    return {"report": "\n".join(lines), **last}


def _change(entry: Entry) -> str:
    if entry.before is None:
        return "made"
    return f"{'replaced, kept' if entry.after else 'moved away'}: {described(entry.before)}"


def _joined(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Merge the results of stages: all diffs, notes, proofs and reports, and the last non-empty value of other keys."""
    joined: dict[str, Any] = {"run": None, "kept": totals([])}
    for result in results:
        joined.update({key: value for key, value in result.items() if value or key not in joined})
    joined["changed"] = any(result.get("changed") for result in results)
    joined["diff"] = [result["diff"] for result in results if "diff" in result]
    joined["notes"] = list(dict.fromkeys(note for result in results for note in result.get("notes", ())))
    joined["proofs"] = [proof for result in results for proof in result.get("proofs", ())]
    joined["report"] = "\n".join(result["report"] for result in results if result.get("report"))
    return joined
