"""One run of a job, from checking whether there is anything to do to sending messages.

Jobs run in a sandbox and send nothing. A second unit follows each run: it has the privileges that a mail program needs,
but no vault password.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs, problems, state, tell
from ansible.module_utils.schedule.jobs import AGAIN, VAULT, Config, Job
from ansible.module_utils.schedule.problems import Trouble
from ansible.module_utils.schedule.state import Run, State


@dataclass
class Runner:
    """Runs the jobs of a configuration.

    ``play`` runs a playbook and logs to a file, and ``say`` prints a line to the journal. ``ways`` send messages, and
    ``heartbeat`` pings the watchdog; each raises ``Problem`` if it fails.
    """

    config: Config
    play: Callable[[Job, Path], Played]
    ways: Sequence[Callable[[str], None]] = ()
    heartbeat: Callable[[], None] = lambda: None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = partial(print, flush=True)

    def __post_init__(self) -> None:
        self.spare = Path(self.config.spare)
        self.state = State(Path(self.config.state), self.spare)
        self.logs = Path(self.config.state) / "logs"
        self.node = socket.gethostname()

    def run(self, name: str) -> bool:
        """Run a job once, and return whether it succeeded or had nothing to do."""
        job, began = self.config.jobs[name], self.now()
        now = datetime.fromtimestamp(began, timezone.utc)
        run = Run(f"{now:%Y%m%dT%H%M%SZ}-{name}-{os.getpid()}", name, began)
        with state.alone(self.spare / f"{name}.lock") as mine:
            if not mine:
                self._end(replace(run, outcome=state.MET, note="another run of this job is active"))
                return True
            session = None
            if job.exchange:
                done = self.state.mark(f"session {name}")
                session = jobs.newest(job, date.fromisoformat(done) if done else None, now)
                if session is None:
                    note = f"no new session of {job.exchange} since {done}: nothing to load"
                    self._end(replace(run, outcome=state.NOTHING, note=note))
                    return True
            note = f"session {session}" if session else ""
            run = replace(run, note=note, log=str(self.logs / f"{run.id}.log"))
            self.state.keep(run)
            run, found, well = self._play(job, run)
            if session and run.outcome == state.OK:
                self.state.keep_mark(f"session {name}", session.isoformat())
            self._end(run)  # before another process gets the lock and takes this run for a killed one
        self._judge(name, found, well, run.log)
        return run.outcome == state.OK

    def again(self) -> bool:
        """Run jobs again that failed or were cut off, and return whether all of them succeeded."""
        good = True
        for name, job in self.config.jobs.items():
            last = self.state.last().get(name)  # read again: its timer may have run it meanwhile
            if last is None or last.outcome == state.OK:
                continue
            waited = self.now() - (last.ended or last.began) >= job.again
            if self._note_cut(name) if last.outcome == state.RUNNING else waited:
                good &= self.run(name)
        return good

    def after(self, name: str) -> None:
        """Do the work after a run: record whether it was cut off, send messages and the heartbeat, write metrics."""
        if name != AGAIN:
            self._note_cut(name)
            self._clean()
        self._tell()
        self._beat()
        self._try(self._export)

    def _note_cut(self, name: str) -> bool:
        """Record the last run of a job as cut off if its process has ended without a result; return whether it has."""
        last = self.state.last().get(name)
        if last is None or last.outcome != state.RUNNING:
            return False
        with state.alone(self.spare / f"{name}.lock") as mine:
            if not mine:
                return False
        job = self.config.jobs[name]
        self._end(replace(last, outcome=state.CUT, note="it ended without recording a result"))
        message = (
            f"The run ended without recording a result: it reached a limit (seconds: {job.seconds}, memory:"
            f" {job.memory} in schedule_jobs), was killed, or met an error. `journalctl` of its unit says which."
        )
        self._judge(name, [Trouble(f"cut:{name}", self.node, message)], set(), last.log)
        return True

    def _end(self, run: Run) -> None:
        self.state.keep(replace(run, ended=self.now()))
        self.say(f"{run.job}: {run.outcome}{f': {run.note}' if run.note else ''}")

    def _play(self, job: Job, run: Run) -> tuple[Run, list[Trouble], set[str] | None]:
        """Run the playbook of a job; if a trouble may pass by itself, wait and retry."""
        with contextlib.suppress(OSError):  # the disk may be full
            self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        for wait in (*self.config.retries, None):
            played = self.play(job, Path(run.log))
            found, well = problems.troubles(job, played.records)
            run = problems.counted(run, played.records)
            if played.code is None:
                note = f"it did not finish within {job.seconds} s"
                message = f"The run was stopped, because {note} (seconds in schedule_jobs). See the evidence."
                found = [Trouble(f"cut:{job.name}", self.node, message)]
                return replace(run, outcome=state.CUT, note=note), found, well
            # Ansible skips a play without hosts, and tags that match no task, and exits with 0.
            if run.hosts and not (played.code or found):
                if job.exchange and not run.calls:
                    note = f"{run.note} was already loaded by another scheduler or a manual run"
                    run = replace(run, note=note)
                return replace(run, outcome=state.OK), [], None
            if not found:
                message = (
                    f"ansible-playbook exited with {played.code} before it reached any host. See the evidence."
                    if played.code
                    else "ansible-playbook matched no hosts or no tasks, so nothing was done. Check the job's tags in"
                    f" schedule_jobs, reset_hosts, and the inventory: {', '.join(self.config.inventory)}."
                )
                found = [Trouble(f"failed:{job.name}", self.node, message)]
            passing = {trouble.cause for trouble in found} & problems.PASSING
            if wait is None or not passing:
                break
            self.say(f"{job.name}: {problems.title(passing.pop())}; retry in {wait} s")
            self.sleep(wait)
        note = "; ".join(dict.fromkeys(problems.title(each.cause) for each in found))
        return replace(run, outcome=state.FAILED, note=note), found, well

    def _judge(self, job: str, found: list[Trouble], well: set[str] | None, evidence: str) -> None:
        """Update the lasting problems after a run."""
        now = self.now()
        if self.state.fault:
            message = (
                f"The folder {self.config.state} cannot be written ({self.state.fault}): the disk is full or read-only,"
                " or schedule.sqlite is damaged. Free some space, or move that file away. Until then, the history is"
                " kept in memory."
            )
            found = [*found, Trouble("control", self.node, message)]
        elif well is not None:
            well = well | {"control"}
        with state.in_turn(self.spare / "problems.lock"):
            lasting = self.state.problems()
            # Drop the problems of jobs that were removed from the schedule.
            for name in {each for problem in lasting for each in problem.jobs} - set(self.config.jobs):
                lasting = problems.judge(lasting, name, [], None, now, "")
            self.state.keep_problems(problems.judge(lasting, job, found, well, now, evidence))

    def _tell(self) -> None:
        """Send messages that were not sent yet; if one cannot be sent now, a later run sends it."""
        with state.in_turn(self.spare / "problems.lock"):
            lasting = self.state.problems()
            left = []
            for problem in lasting:
                if problem.over or not problem.told:
                    message = problems.text(problem, self.config.title, self.node)
                    self.say(message)
                    sent = [self._try(partial(way, message)) for way in self.ways]
                    told = any(sent) or not sent
                    if told and problem.over:
                        continue
                    problem = replace(problem, told=told or problem.told)
                left.append(problem)
            if left != lasting:
                self.state.keep_problems(left)

    def _beat(self) -> None:
        """Send a heartbeat for each new successful run."""
        for name, run in self.state.last().items():
            job = self.config.jobs.get(name)
            if (
                not (job and job.heartbeat)
                or run.outcome != state.OK
                or self.state.mark(f"beat {name}") == run.id
            ):
                continue
            if self._try(self.heartbeat):
                self.state.keep_mark(f"beat {name}", run.id)

    def _export(self) -> None:
        if self.config.metrics:
            runs, lasting = self.state.runs(), self.state.problems()
            metrics = tell.metrics(self.config.jobs, runs, lasting, self.now())
            text = prometheus.text("project_schedule_", metrics)
            prometheus.write(self.config.metrics, text, "schedule_metrics_path")

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except (Problem, OSError) as error:
            self.say(f"⚠️  {error}")
            return False
        return True

    def _clean(self) -> None:
        """Delete history, logs and evidence older than the configured days."""
        oldest = self.now() - self.config.days * 86400.0
        self.state.forget(oldest)
        for path in (*self.logs.glob("*"), *Path(self.config.project, "reports/audit").glob("*")):
            with contextlib.suppress(OSError):  # another run may have deleted it
                if path.stat().st_mtime < oldest:
                    path.unlink() if path.is_file() else shutil.rmtree(path)


# --- playbooks -------------------------------------------------------------------------------------------

# Seconds between SIGTERM and SIGKILL.
GRACE = 30.0


@dataclass
class Played:
    """The exit code of a playbook, None after the time limit, and the records of ``callback_plugins/report.py``."""

    code: int | None
    records: list[dict[str, Any]]


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
    # Removing the schedule deletes this file, even if this process was killed.
    with tempfile.NamedTemporaryFile(prefix="results-", dir=config.spare) as results:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": f"{config.project}/ansible.cfg",
            "ANSIBLE_CALLBACKS_ENABLED": "report",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": f"{config.state}/ansible",
            "SCHEDULE_RESULTS": results.name,
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
        records = []
        for line in results:
            # A killed play may leave an incomplete last line.
            with contextlib.suppress(ValueError):
                records.append(json.loads(line))
        return Played(code, records)


def _follow(process: subprocess.Popen[bytes], log: Path, seconds: float) -> int | None:
    """Copy the output until the process ends or the time is up."""
    assert process.stdout is not None
    deadline = time.monotonic() + seconds
    os.set_blocking(process.stdout.fileno(), False)
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        piece = process.stdout.read()
        if piece:
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            # The log's disk may be full; the journal has the output, too.
            with contextlib.suppress(OSError), log.open("ab") as file:
                file.write(piece)
        if ended:
            return process.returncode
        time.sleep(0.2)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Terminate the play and all its processes, then kill them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE)
