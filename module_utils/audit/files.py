"""The promises about the files of a root: artifacts, protected names, the environment, ``.env``."""

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
    """None of ``names`` is in the root, but for the environment."""
    for proof in proofs.gone(root, names):
        yield _root(proof.name, proof.expected, proof.found, proof.ok, f"Run `{_RESET} --tags clean`.")


def protected(root: Directory, names: Sequence[str]) -> Iterator[Judgement]:
    """Each of ``names`` is there."""
    for name in names:
        there = os.path.lexists(os.path.join(root.path, name))
        advice = f"Bring {name} back from your repository, or fix project_protected."
        yield _root(f"protected {name}", "there", "there" if there else "missing", there, advice)


def environment(root: Directory, packages: Sequence[str], minimum: str, run: Execute) -> Iterator[Judgement]:
    """The environment's programs work, and every package imports; asked of the environment itself.

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

    # As the reset proves it, but without leaving compiled files behind.
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
    """``.env`` holds the keys that a reset owns, with the values asked for, which are never shown."""
    write = f"Write it with `{_RESET} --tags dotenv`."
    wanted = {key: value for values in sections.values() for key, value in values.items()}
    for proof in proofs.keys(root, list(wanted)):
        yield _settings(proof.name, proof.expected, proof.found, proof.ok, write)

    text = (root.read(DOTENV) or b"").decode("utf-8", "surrogateescape").lstrip("\ufeff")
    line = f"DB_URL={dotenv.encode(wanted['DB_URL'])}"
    there = line in text.splitlines()
    found = "stands there" if there else "no such line"
    yield _settings(f"{DOTENV} DB_URL", f"the line DB_URL={masked_url}", found, there, write)

    values = _values(text)
    other = [key for key, value in wanted.items() if values.get(key) != value]
    found = f"missing or of another value: {', '.join(other)}" if other else f"{len(wanted)} keys as asked"
    yield _settings(f"{DOTENV} values", f"{len(wanted)} keys as asked", found, not other, write)

    astray = managed.astray(text, sections)
    expected = ", ".join(sections)
    found = f"not under its heading: {', '.join(astray)}" if astray else "each key under its own"
    yield _settings(f"{DOTENV} headings", expected, found, not astray, write)


def foreign(root: Directory, before: bytes, path: str, ours: Sequence[str]) -> Iterator[Judgement]:
    """Every key of ``before``, the ``.env`` of before the last reset, is there still, but for ``ours``."""
    text = (root.read(DOTENV) or b"").decode("utf-8", "surrogateescape")
    old = {
        key: value
        for key, value in _values(before.decode("utf-8", "surrogateescape")).items()
        if key not in ours
    }
    now = _values(text)
    missing = [key for key in old if key not in now]
    differs = [key for key in old if key in now and now[key] != old[key]]
    expected = f"the {len(old)} keys of before the last reset"
    if missing:
        found = f"missing: {', '.join(missing)}"
    elif differs:
        found = f"of another value since: {', '.join(differs)}"
    else:
        found = f"{len(old)} of {len(old)}"
    advice = f"Compare with {path}, and put back what you miss."
    kept = not missing and not differs
    # A value may have been changed on purpose; a key that is gone breaks whoever reads it.
    yield judged(
        "Settings", f"{DOTENV} foreign keys", expected, found, kept, advice, "fail" if missing else WARN
    )


def _values(text: str) -> dict[str, Any]:
    return {s.key: dotenv.decode(s.value or "") for s in dotenv.parse(text) if s.key}
