"""The promises of a reset about the files of a root, each looked at again."""

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
    """One promise, what was expected and what was found."""

    name: str
    expected: str
    found: str
    ok: bool


def proven(path: str, proofs: Iterable[Proof]) -> list[dict[str, Any]]:
    """The proofs of a stage of the root at ``path``, for a result; raises Problem if one fails."""
    looked = list(proofs)
    failed = [f"{each.name}: expected {each.expected}, found {each.found}" for each in looked if not each.ok]
    found = [asdict(each) for each in looked]
    if failed:
        raise Problem(
            f"The reset of {path} did not leave what it promises: {'; '.join(failed)}."
            " Run it again; `ansible-playbook playbooks/restore.yml` brings back what was there before.",
            proofs=found,
        )
    return found


def gone(folder: Directory, artifacts: Sequence[str]) -> Iterator[Proof]:
    """None of ``artifacts`` is in a root, ``venv`` aside."""
    for name in artifacts:
        if name != VENV:
            item = folder.item(name)
            yield Proof(f"artifact {name}", "gone", described(item) if item else "gone", item is None)


def programs(folder: Directory) -> Iterator[Proof]:
    """The environment's programs are there."""
    for script in ("activate", "pip", "python"):
        there = os.path.exists(os.path.join(folder.path, VENV, "bin", script))  # not a dangling link
        yield Proof(f"{VENV}/bin/{script}", "there", "there" if there else "missing", there)


def packages(folder: Directory, asked: Sequence[str]) -> Proof:
    """The environment was proven for the packages that are asked for."""
    found = (venv.record(folder, VENV) or {}).get("asked") or []
    return Proof(f"{VENV} built and proven for", ", ".join(asked), ", ".join(found), found == list(asked))


def keys(folder: Directory, names: Sequence[str]) -> Iterator[Proof]:
    """``.env`` is private and holds each key once."""
    found = folder.stat(DOTENV)
    mode = f"{stat.S_IMODE(found.st_mode):04o}" if found else "missing"
    yield Proof(f"{DOTENV} mode", f"{DOTENV_MODE:04o}", mode, mode == f"{DOTENV_MODE:04o}")
    text = (folder.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    seen = [statement.key for statement in dotenv.parse(text)]
    wrong = [name for name in names if seen.count(name) != 1]
    said = f"not once: {', '.join(wrong)}" if wrong else "each once"
    yield Proof(f"{DOTENV} keys", "each once", said, not wrong)
