"""Run stages of a reset in a process that can be killed before any of its operations.

It calls the module's code without Ansible. Every operation that changes the disk, and every start of a program, is a
point: ``kill_at`` N kills the whole process group before point N. It reads one JSON object from standard input, and
prints one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).resolve().parent.parent.parent / "module_utils"))

# Stages import these late, when this process may have become a user who cannot read them.
from ansible.module_utils.project import (  # noqa: F401
    build,
    managed,
    restore,
    stages,
    venv,
)
from ansible.module_utils.project import root as root_module
from ansible.module_utils.reporting import Problem

CHANGING = ("rename", "mkdir", "rmdir", "unlink", "pwrite", "truncate", "fsync", "fchmod", "fchown")


class Points:
    """Counts operations and kills at one of them."""

    def __init__(self, kill_at: int | None) -> None:
        self.passed = 0
        self.moves: list[int] = []
        self.kill_at = kill_at

    def wrap(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **kwargs: Any) -> Any:
            if self.passed == self.kill_at:
                kill()
            self.passed += 1
            return real(*args, **kwargs)

        return operation

    def install(self) -> None:
        for name in CHANGING:
            setattr(os, name, self.wrap(getattr(os, name)))
        real_open = os.open
        counted_open = self.wrap(real_open)

        def opening(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
            chosen = counted_open if flags & os.O_CREAT else real_open
            return int(chosen(path, flags, *args, **kwargs))

        os.open = opening
        rename = self.wrap(root_module._renameat2)

        def moving(*args: Any) -> bool:
            self.moves.append(self.passed)
            return bool(rename(*args))

        root_module._renameat2 = moving  # type: ignore[assignment]
        subprocess.run = self.wrap(subprocess.run)


def kill() -> None:
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    job = json.load(sys.stdin)
    warnings: list[str] = []
    if job.get("uid"):
        os.setgroups([])
        os.setgid(job["uid"])
        os.setuid(job["uid"])
    points = Points(job.get("kill_at"))
    points.install()
    if job.get("kill_after") is not None:
        timer = threading.Timer(job["kill_after"], kill)
        timer.daemon = True
        timer.start()
    problem = None
    try:
        told = stages.take(job["params"], job.get("check", False), warnings.append)
    except Problem as error:
        problem, told = str(error), error.details
    print(
        json.dumps(
            {
                "changed": bool(told.get("changed")),
                "moved": [item["name"] for item in told.get("moved", ())],
                "report": told.get("report", ""),
                "problem": problem,
                "points": points.passed,
                "moves": points.moves,
                "warnings": warnings,
            }
        )
    )


if __name__ == "__main__":
    main()
