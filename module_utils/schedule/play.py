"""Runs a playbook as a user would, with a time limit, and collects the results of its tasks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.schedule.jobs import Config, Job
from ansible.module_utils.schedule.units import VAULT

# Seconds between SIGTERM and SIGKILL.
GRACE = 30.0


@dataclass
class Played:
    """The result of a playbook.

    Attributes:
        code: exit code; None after the time limit.
        records: written by ``callback_plugins/results.py``.
    """

    code: int | None
    records: list[dict[str, Any]] = field(default_factory=list)


def command(config: Config, job: Job, credentials: Path | None) -> list[str]:
    """Return the command of a job; it contains no secret, because everybody can read command lines."""
    argv = [sys.executable, "-m", "ansible", "playbook"]
    for source in config.inventory:
        argv += ["-i", source]
    for path in sorted(credentials.glob(f"{VAULT}*")) if credentials else ():
        argv += ["--vault-id", f"{path.name[len(VAULT) :]}@{path}"]
    if job.tags:
        argv += ["--tags", ",".join(job.tags)]
    if job.check:
        argv.append("--check")
    if job.variables:
        argv += ["-e", json.dumps(job.variables, sort_keys=True)]
    return [*argv, f"playbooks/{job.playbook}.yml"]


def play(config: Config, job: Job, credentials: Path | None, log: Path) -> Played:
    """Run a job's playbook once; its output goes to ``log`` and to stdout."""
    # Removing the schedule deletes this folder, even if this process was killed.
    spare = config.spare if os.path.isdir(config.spare) else None
    with tempfile.TemporaryDirectory(prefix="results-", dir=spare) as folder:
        results = Path(folder) / "results"
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": f"{config.project}/ansible.cfg",
            "ANSIBLE_CALLBACKS_ENABLED": "report,results",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": f"{config.state}/ansible",
            "SCHEDULE_RESULTS": str(results),
            "PYTHONUNBUFFERED": "1",
            "LC_ALL": "C.UTF-8",
        }
        process = subprocess.Popen(
            command(config, job, credentials),
            cwd=config.project, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            code = _follow(process, log, job.seconds)
        finally:
            _end(process)
        return Played(code, list(_records(results)))


def _follow(process: subprocess.Popen[bytes], log: Path, seconds: float) -> int | None:
    """Copy the output until the process ends or the time is up."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    os.set_blocking(process.stdout.fileno(), False)
    with contextlib.ExitStack() as stack:
        # Run even if the log cannot be written: the journal has the output, too.
        file = None
        with contextlib.suppress(OSError):
            file = stack.enter_context(log.open("ab"))
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            piece = process.stdout.read()
            if piece:
                sys.stdout.buffer.write(piece)
                sys.stdout.buffer.flush()
                with contextlib.suppress(OSError):
                    if file:
                        file.write(piece)
                        file.flush()
            if ended:
                return process.returncode
            time.sleep(0.2)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the play and all its processes, then kill them."""
    for number, wait in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        if process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(wait)
    if process.stdout:
        process.stdout.close()


def _records(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        # A killed play may leave an incomplete last line.
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            if isinstance(record, dict):
                yield record
