"""Check that the files of a root are as a reset promises."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible.module_utils.project import dotenv, venv
from ansible.module_utils.project.guards import DOTENV, VENV
from ansible.module_utils.project.root import Directory, described
from ansible.module_utils.reporting import Problem

DOTENV_MODE = 0o600


@dataclass(frozen=True)
class Proof:
    """The check of one promise."""

    name: str
    expected: str
    found: str
    ok: bool


def proven(path: str, proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """Return the proofs of a stage as the module's result holds them; raises Problem if one fails."""
    checked = list(proofs)
    failed = [f"{each.name}: expected {each.expected}, found {each.found}" for each in checked if not each.ok]
    results = [asdict(each) for each in checked]
    if failed:
        raise Problem(
            f"The state of {path} after the reset is not as promised: {'; '.join(failed)}."
            " Run the reset again, or bring the old state back with `ansible-playbook playbooks/restore.yml`.",
            proofs=results,
        )
    return results


def gone(folder: Directory, artifacts: Sequence[str]) -> Iterator[Proof]:
    """Check that no artifact but ``venv`` is in the root."""
    for name in artifacts:
        if name != VENV:
            item = folder.item(name)
            yield Proof(f"artifact {name}", "gone", described(item) if item else "gone", item is None)


def programs(folder: Directory) -> Iterator[Proof]:
    """Check that the environment's programs exist."""
    for script in ("activate", "pip", "python"):
        exists = os.path.exists(os.path.join(folder.path, VENV, "bin", script))  # not a dangling link
        yield Proof(f"{VENV}/bin/{script}", "there", "there" if exists else "missing", exists)


def packages(folder: Directory, asked: Sequence[str]) -> Proof:
    """Check that the environment was built for the packages that are asked for."""
    found = (venv.record(folder, VENV) or {}).get("asked") or []
    return Proof(f"{VENV} built and proven for", ", ".join(asked), ", ".join(found), found == list(asked))


def keys(folder: Directory, names: Sequence[str]) -> Iterator[Proof]:
    """Check that ``.env`` is private and holds each key once."""
    found = folder.stat(DOTENV)
    mode = f"{stat.S_IMODE(found.st_mode):04o}" if found else "missing"
    yield Proof(f"{DOTENV} mode", f"{DOTENV_MODE:04o}", mode, mode == f"{DOTENV_MODE:04o}")
    text = (folder.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    seen = [statement.key for statement in dotenv.parse(text)]
    wrong = [name for name in names if seen.count(name) != 1]
    counts = f"not once: {', '.join(wrong)}" if wrong else "each once"
    yield Proof(f"{DOTENV} keys", "each once", counts, not wrong)
