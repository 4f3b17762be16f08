"""The checks of a root's files: artifacts, protected names, the environment, ``.env``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from ansible.module_utils.audit.model import WARN, Judgement, judged
from ansible.module_utils.project import dotenv, managed, proofs, venv
from ansible.module_utils.project.guards import DOTENV, VENV
from ansible.module_utils.project.managed import Sections
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.venv import Execute

_root, _environment, _settings = (partial(judged, group) for group in ("Root", "Environment", "Settings"))
_RESET = "ansible-playbook playbooks/reset.yml"
_PREFIX = '. "$1" && exec python -I -B -c "import sys; print(sys.prefix)"'


def artifacts(root: Directory, names: list[str]) -> Iterator[Judgement]:
    """None of ``names`` is in the root, except the environment."""
    for proof in proofs.gone(root, names):
        yield _root(proof.name, proof.expected, proof.found, proof.ok, f"Run `{_RESET} --tags clean`.")


def protected(root: Directory, names: Sequence[str]) -> Iterator[Judgement]:
    """Each of ``names`` exists."""
    for name in names:
        exists = os.path.lexists(os.path.join(root.path, name))
        advice = f"Restore {name} from your repository, or correct project_protected."
        yield _root(f"protected {name}", "present", "present" if exists else "missing", exists, advice)


def environment(root: Directory, packages: Sequence[str], minimum: str, run: Execute) -> Iterator[Judgement]:
    """The environment's programs work, and it imports every package.

    Nothing that ``run`` starts may write.
    """
    build = f"Build it with `{_RESET} --tags venv`."
    path = os.path.join(root.path, VENV)
    python = os.path.join(path, "bin", "python")

    code, out, _ = run(["sh", "-c", _PREFIX, "sh", os.path.join(path, "bin", "activate")])
    active = out.strip()
    found = "its python answers" if active == path else active or f"does not work (code {code})"
    yield _environment(f"{VENV}/bin/activate", "its python answers", found, active == path, build)

    code, out, _ = run([os.path.join(path, "bin", "pip"), "--version"], env={"PYTHONDONTWRITEBYTECODE": "1"})
    works = code == 0 and path in out
    found = " ".join(out.split()[:2]) if works else f"does not work (code {code})"
    yield _environment(f"{VENV}/bin/pip", "works", found, works, build)

    # The reset's own proof, but without writing compiled files.
    answer = venv.probe(lambda argv, **more: run([argv[0], "-B", *argv[1:]], **more), python, packages)
    version = answer["version"] if answer else None
    new_enough = version is not None and venv.numbers(version) >= venv.numbers(minimum)
    found = f"Python {version}" if version else "does not run"
    yield _environment(f"{VENV}/bin/python", f"Python {minimum} or newer", found, new_enough, build)

    proof = proofs.packages(root, packages)
    yield _environment(proof.name, proof.expected, proof.found or "nothing", proof.ok, build)
    for package in packages:
        name = venv.distribution(package)
        why = answer["failed"].get(name) if answer else "no python to import it"
        has = answer["installed"].get(venv.normalised(name)) if answer else None
        yield _environment(f"package {name}", f"{package} imports", why or str(has), not why, build)


def settings(root: Directory, sections: Sections, masked_url: str) -> Iterator[Judgement]:
    """``.env`` has the keys that a reset owns, with their configured values; values are never shown."""
    write = f"Write it with `{_RESET} --tags dotenv`."
    wanted = {key: value for values in sections.values() for key, value in values.items()}
    for proof in proofs.keys(root, list(wanted)):
        yield _settings(proof.name, proof.expected, proof.found, proof.ok, write)

    text = (root.read(DOTENV) or b"").decode("utf-8", "surrogateescape").lstrip("\ufeff")
    line = f"DB_URL={dotenv.encode(wanted['DB_URL'])}"
    exists = line in text.splitlines()
    found = "present" if exists else "no such line"
    yield _settings(f"{DOTENV} DB_URL", f"the line DB_URL={masked_url}", found, exists, write)

    values = _values(text)
    other = [key for key, value in wanted.items() if values.get(key) != value]
    expected = f"{len(wanted)} keys as configured"
    found = f"missing or different: {', '.join(other)}" if other else expected
    yield _settings(f"{DOTENV} values", expected, found, not other, write)

    astray = managed.astray(text, sections)
    expected = ", ".join(sections)
    found = f"not under its heading: {', '.join(astray)}" if astray else "each key under its heading"
    yield _settings(f"{DOTENV} headings", expected, found, not astray, write)


def foreign(root: Directory, before: bytes, path: str, ours: Sequence[str]) -> Iterator[Judgement]:
    """``.env`` still has every key that ``before``, the file replaced by the last reset, had, except ``ours``."""
    text = (root.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    old = {
        key: value
        for key, value in _values(before.decode("utf-8", "surrogateescape")).items()
        if key not in ours
    }
    now = _values(text)
    missing = [key for key in old if key not in now]
    differs = [key for key in old if key in now and now[key] != old[key]]
    expected = f"the {len(old)} keys from before the last reset"
    if missing:
        found = f"missing: {', '.join(missing)}"
    elif differs:
        found = f"changed since: {', '.join(differs)}"
    else:
        found = f"{len(old)} of {len(old)}"
    advice = f"Compare it with {path}, and restore what you miss."
    kept = not missing and not differs
    # A value may have been changed on purpose, but a missing key breaks its readers.
    yield judged(
        "Settings", f"{DOTENV} foreign keys", expected, found, kept, advice, "fail" if missing else WARN
    )


def _values(text: str) -> dict[str, Any]:
    return {s.key: dotenv.decode(s.value or "") for s in dotenv.parse(text) if s.key}
