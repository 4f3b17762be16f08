"""The audit of one host: every check runs, whatever the one before found. It only reads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Callable

from ansible.module_utils.audit import files, runs
from ansible.module_utils.audit.model import Judgement, judged
from ansible.module_utils.database.server import Server
from ansible.module_utils.project import guards, machine, settings
from ansible.module_utils.project.guards import DOTENV, STATE
from ansible.module_utils.project.owner import Owner
from ansible.module_utils.project.quarantine import Quarantine
from ansible.module_utils.project.root import Directory
from ansible.module_utils.project.venv import Execute
from ansible.module_utils.reporting import Problem


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
        with guards.open_root(params["root"], machine.facts(params["root"])) as root:
            yield judged("Root", "project root", "a folder of its own", "opened", True, "")
            runner = run(root) if run else Owner(root).run
            packages, minimum = params["packages"], params["python_minimum"]
            masked = Server(**params["connection"]).masked_url()
            for group, name, look in (
                ("Root", "artifacts", lambda: files.artifacts(root, params["artifacts"])),
                ("Root", "protected", lambda: files.protected(root, params["protected"])),
                ("Environment", "environment", lambda: files.environment(root, packages, minimum, runner)),
                ("Settings", DOTENV, lambda: files.settings(root, settings.wanted(params), masked)),
                ("Runs", STATE, lambda: _runs(audit, root, params)),
            ):
                audit.take(group, name, look)

    audit.take("Root", "project root", opened)
    return audit


def _runs(audit: Audit, root: Directory, params: dict[str, Any]) -> Iterator[Judgement]:
    guards.check_state(root)
    quarantine = Quarantine.find(root)
    with quarantine or contextlib.nullcontext():
        yield from runs.checks(quarantine)
        if quarantine is None:
            return
        audit.last_reset = runs.last_reset(quarantine)
        before = runs.dotenv_before(quarantine)
        if before is not None:
            ours = [key for values in settings.wanted(params).values() for key in values]
            yield from files.foreign(root, *before, ours)
