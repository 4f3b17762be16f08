"""Move the artifacts of a root into quarantine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Callable

from ansible.module_utils.project import guards, proofs
from ansible.module_utils.project.guards import VENV
from ansible.module_utils.project.opening import OpenRoot
from ansible.module_utils.project.owner import Owner
from ansible.module_utils.project.root import described, listed
from ansible.module_utils.project.stages import Stage
from ansible.module_utils.project.venv import Execute


def plan(root: OpenRoot, params: dict[str, Any], warn: Callable[[str], None]) -> Stage:
    """Check the guards for what would move; raises Problem."""
    folder = root.folder
    # The venv stays in use until the stage venv exchanges it for a working one.
    wanted = [name for name in dict.fromkeys(params["artifacts"]) if name != VENV]
    found = {name: item for name in wanted if (item := folder.item(name)) is not None}
    names = list(found)
    guards.check_file_systems(folder, names, root.facts.mounts)
    for use in guards.check_in_use(folder, names, root.facts, params["allow_in_use"]):
        warn(use)
    tracked = _git_tracks(Owner(folder).run, names)
    lines = [
        f"{name}  {described(item)}{f', {tracked[name]} tracked by git' if name in tracked else ''}\n"
        for name, item in found.items()
    ]
    result = {
        "changed": bool(found),
        "moved": [
            {"name": name, **listed(item), "tracked": tracked.get(name, 0)} for name, item in found.items()
        ],
        "notes": [_git_note(tracked)] if tracked else [],
        "diff": {
            "before": "".join(lines),
            "after": "",
            "before_header": params["root"],
            "after_header": "moved to quarantine",
        },
    }
    return Stage(
        result,
        apply=lambda quarantine, run: quarantine.displace(run, names),
        proofs=lambda: proofs.gone(folder, names),
    )


def _git_tracks(run: Execute, names: Sequence[str]) -> dict[str, int]:
    """Return how many files git tracks below each name in the root; empty without git or a repository."""
    if not names:
        return {}
    elsewhere = dict.fromkeys(("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"))
    command = ["git", "--literal-pathspecs", "ls-files", "-z", "--", *names]
    code, out, _ = run(command, env=elsewhere, seconds=10.0)
    return dict(Counter(path.partition("/")[0] for path in out.split("\0") if path)) if code == 0 else {}


def _git_note(tracked: dict[str, int]) -> str:
    each = ", ".join(f"{count} in {name}" for name, count in tracked.items())
    return (
        f"git tracks {sum(tracked.values())} of the files that leave the root ({each}), so `git status` will be dirty."
        " Remove what you want to keep from project_artifacts, commit the deletion, or bring the files back with"
        " playbooks/restore.yml."
    )
