"""The audit of one host: its root's files, its runs and its health. Every check runs, and only reads."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Callable

from ansible.module_utils.audit.model import FAIL, PASS, WARN, Judgement, judged
from ansible.module_utils.database.server import Server
from ansible.module_utils.project import dotenv, guards, managed, opening, stages, venv
from ansible.module_utils.project.guards import DOTENV, STATE, VENV
from ansible.module_utils.project.managed import Sections, wanted
from ansible.module_utils.project.quarantine import Quarantine
from ansible.module_utils.project.root import Directory, Execute, Owner, described
from ansible.module_utils.reporting import Problem
from ansible.module_utils.text import plural

_root, _environment, _settings, _runs, _rows = (
    partial(judged, group) for group in ("Root", "Environment", "Settings", "Runs", "Rows")
)
_RESET = "ansible-playbook playbooks/reset.yml"
_PREFIX = '. "$1" && exec python -I -B -c "import sys; print(sys.prefix)"'
_HEALTH = {"ok": PASS, "warn": WARN, "fail": FAIL}


@dataclass
class Audit:
    """The checks so far; an error becomes a failed check, and the audit continues."""

    checks: list[Judgement] = field(default_factory=list)
    last_reset: dict[str, Any] | None = None

    def take(self, group: str, name: str, look: Callable[[], Iterable[Judgement]]) -> None:
        """Add the checks of ``look``; an error becomes a failed check with this ``group`` and ``name``."""
        try:
            for check in look():
                self.checks.append(check)
            return
        except Problem as problem:
            why = str(problem)
        except (OSError, ValueError, KeyError) as error:
            # The error's own text may quote a path or a file's content, so it is not shown.
            why = f"cannot be read ({getattr(error, 'strerror', None) or type(error).__name__})"
        self.checks.append(judged(group, name, "can be checked", why, False, "Fix it, and audit again."))


def examine(params: dict[str, Any], run: Callable[[Directory], Execute] | None = None) -> Audit:
    """Check a root's files and runs; ``run`` returns how to start programs, by default as the root's owner."""
    audit = Audit()

    def opened() -> Iterator[Judgement]:
        with guards.open_root(params["root"], guards.facts(params["root"])) as root:
            yield _root("project root", "a folder of its own", "opened", True, "")
            runner = run(root) if run else Owner(root).run
            packages, minimum = params["packages"], params["python_minimum"]
            masked = Server(**params["connection"]).masked_url()
            audit.take("Root", "artifacts", lambda: artifacts(root, params["artifacts"]))
            audit.take("Root", "protected", lambda: protected(root, params["protected"]))
            audit.take("Environment", "environment", lambda: environment(root, packages, minimum, runner))
            audit.take("Settings", DOTENV, lambda: settings(root, wanted(params), masked))
            audit.take("Runs", STATE, lambda: recorded(root))

    def recorded(root: Directory) -> Iterator[Judgement]:
        guards.check_state(root)
        quarantine = Quarantine.find(root)
        with quarantine or contextlib.nullcontext():
            yield from runs(quarantine)
            if quarantine is None:
                return
            audit.last_reset = last_reset(quarantine)
            before = dotenv_before(quarantine)
            if before is not None:
                ours = [key for values in wanted(params).values() for key in values]
                yield from foreign(root, *before, ours)

    audit.take("Root", "project root", opened)
    return audit


# --- the root's files --------------------------------------------------------------------------------------


def artifacts(root: Directory, names: list[str]) -> Iterator[Judgement]:
    """None of ``names`` is in the root, except the environment."""
    for proof in stages.gone(root, names):
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

    proof = venv.packages(root, packages)
    yield _environment(proof.name, proof.expected, proof.found or "nothing", proof.ok, build)
    for package in packages:
        name = venv.distribution(package)
        why = answer["failed"].get(name) if answer else "no python to import it"
        has = answer["installed"].get(venv.normalised(name)) if answer else None
        yield _environment(f"package {name}", f"{package} imports", why or str(has), not why, build)


def settings(root: Directory, sections: Sections, masked_url: str) -> Iterator[Judgement]:
    """``.env`` has the keys that a reset owns, with their configured values; values are never shown."""
    write = f"Write it with `{_RESET} --tags dotenv`."
    owned = {key: value for values in sections.values() for key, value in values.items()}
    for proof in managed.proofs(root, list(owned)):
        yield _settings(proof.name, proof.expected, proof.found, proof.ok, write)

    text = _text(root.read(DOTENV)).lstrip("\ufeff")
    exists = f"DB_URL={dotenv.encode(owned['DB_URL'])}" in text.splitlines()
    found = "present" if exists else "no such line"
    yield _settings(f"{DOTENV} DB_URL", f"the line DB_URL={masked_url}", found, exists, write)

    values = _values(text)
    other = [key for key, value in owned.items() if values.get(key) != value]
    expected = f"{len(owned)} keys as configured"
    found = f"missing or different: {', '.join(other)}" if other else expected
    yield _settings(f"{DOTENV} values", expected, found, not other, write)

    astray = managed.astray(text, sections)
    found = f"not under its heading: {', '.join(astray)}" if astray else "each key under its heading"
    yield _settings(f"{DOTENV} headings", ", ".join(sections), found, not astray, write)


def foreign(root: Directory, before: bytes, path: str, ours: Sequence[str]) -> Iterator[Judgement]:
    """``.env`` still has every key that ``before``, the file replaced by the last reset, had, except ``ours``."""
    old = {key: value for key, value in _values(_text(before)).items() if key not in ours}
    now = _values(_text(root.read(DOTENV)))
    missing = [key for key in old if key not in now]
    differs = [key for key in old if key in now and now[key] != old[key]]
    if missing:
        found = f"missing: {', '.join(missing)}"
    elif differs:
        found = f"changed since: {', '.join(differs)}"
    else:
        found = f"{len(old)} of {len(old)}"
    yield _settings(
        f"{DOTENV} foreign keys",
        f"the {len(old)} keys from before the last reset",
        found,
        not missing and not differs,
        f"Compare it with {path}, and restore what you miss.",
        # A value may have been changed on purpose, but a missing key breaks its readers.
        FAIL if missing else WARN,
    )


def _text(content: bytes | None) -> str:
    return (content or b"").decode("utf-8", "surrogateescape")


def _values(text: str) -> dict[str, Any]:
    return {s.key: dotenv.decode(s.value or "") for s in dotenv.parse(text) if s.key}


# --- its runs ----------------------------------------------------------------------------------------------


def runs(quarantine: Quarantine | None) -> Iterator[Judgement]:
    """No run was interrupted, and none holds the lock; without a quarantine nothing was ever moved."""
    unfinished = ", ".join(run.name for run in quarantine.runs() if run.state == "open") if quarantine else ""
    advice = f"Run `{_RESET}` again. It continues the interrupted run."
    yield _runs("unfinished runs", "none", unfinished or "none", not unfinished, advice)
    holder = opening.holder(quarantine.state) if quarantine else None
    advice = "Wait for that run to end, and audit again."
    yield _runs("lock", "free", holder or "free", holder is None, advice)


def last_reset(quarantine: Quarantine) -> dict[str, Any] | None:
    """Return what the last reset moved and how to undo it; None if the quarantine has no reset."""
    resets = [run for run in quarantine.runs() if run.kind == "reset" and run.entries]
    if not resets:
        return None
    run = resets[-1]
    back = quarantine.kept(run)
    return {
        "run": run.name,
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.started)),
        "state": run.state,
        "entries": [
            {
                "name": entry.name,
                "what": "made" if not entry.before else "replaced" if entry.after else "moved away",
                "kept": described(entry.before) if entry.before else "",
            }
            for entry in run.entries
        ],
        "undo": f"ansible-playbook playbooks/restore.yml -e restore_run={run.name}" if back else None,
    }


def dotenv_before(quarantine: Quarantine) -> tuple[bytes, str] | None:
    """Return the ``.env`` that a reset replaced last, and its path; None if there is none."""
    for run in reversed(quarantine.runs()):
        entry = run.entry(DOTENV) if run.kind == "reset" else None
        if entry and entry.before and entry.before.kind == "file":
            with quarantine.keeping(run.name) as kept:
                content = kept.read(DOTENV)
            if content is not None:
                return content, f"{kept.path}/{DOTENV}"
    return None


# --- its health --------------------------------------------------------------------------------------------


def health(result: Mapping[str, Any], tables: Sequence[str]) -> Iterator[Judgement]:
    """Judge the result of the module ``health_check``, or Ansible's if it failed; ``tables`` must be counted."""
    again = f"Run `{_RESET} --tags health` for details."
    healthy = result.get("healthy") is True
    found = (
        "healthy" if healthy else "unhealthy" if "healthy" in result else str(result.get("msg", "no result"))
    )
    yield judged("Health", "health", "healthy", found, healthy, again)
    named: dict[str, list[Mapping[str, str]]] = {}
    for finding in result.get("checks") or ():
        named.setdefault(finding["check"], []).append(finding)
    for name, findings in named.items():
        levels = [_HEALTH.get(finding["level"], FAIL) for finding in findings]
        worst = max(levels, key=(PASS, WARN, FAIL).index)
        found = "; ".join(finding["message"] for finding, level in zip(findings, levels) if level == worst)
        # Without advice, because a finding's message already says what to do.
        yield Judgement(f"health: {name}", "Health", findings[0].get("expects") or "no problem", found, worst)

    numbers, estimated = result.get("tables") or {}, result.get("estimated") or ()
    for table in tables:
        number = numbers.get(table)
        if number is None:
            yield _rows(f"rows {table}", "rows, counted", "not counted", False, again)
            continue
        found = ("about " if table in estimated else "") + plural(number, "row")
        advice = "Fill it with `ansible-playbook playbooks/backfill.yml`."
        yield _rows(f"rows {table}", "rows, counted", found, number > 0, advice, WARN)
