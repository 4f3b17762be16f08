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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import jobs, problems, tell
from ansible.module_utils.schedule.jobs import AGAIN, VAULT, Config, Job
from ansible.module_utils.schedule.problems import Trouble
from ansible.module_utils.schedule.state import (
    CUT,
    FAILED,
    MET,
    NOTHING,
    OK,
    RUNNING,
    Lasting,
    Run,
    State,
    alone,
    in_turn,
)


@dataclass
class World:
    """The side effects of a run: ``play`` runs a playbook and logs to a file, ``say`` prints a line to the journal.

    ``ways`` send messages, ``heartbeat`` pings the watchdog, ``metrics`` writes for Prometheus; each raises
    ``Untold`` or ``Problem`` if it fails.
    """

    play: Callable[[Job, Path], Played]
    ways: Sequence[Callable[[str], None]] = ()
    heartbeat: Callable[[], None] = lambda: None
    metrics: Callable[[], None] = lambda: None
    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    say: Callable[[str], None] = print


class Runner:
    """Runs the jobs of a configuration; ``spare`` is a folder in memory for the locks."""

    def __init__(self, config: Config, state: State, spare: Path, world: World) -> None:
        self.config, self.state, self.spare, self.world = config, state, spare, world
        self.logs = Path(config.state) / "logs"

    def run(self, name: str) -> bool:
        """Run a job once, and return whether it succeeded or had nothing to do."""
        job = self.config.jobs[name]
        with alone(self.spare / f"{name}.lock") as mine:
            run = self._begin(job)
            if not mine:
                self._end(replace(run, outcome=MET, note="another run of this job is active"))
                return True
            now = datetime.fromtimestamp(self.world.now(), timezone.utc)
            session = None
            if job.exchange:
                done = self.state.session(name)
                session = jobs.newest(job, done, now)
                if session is None:
                    note = f"no new session of {job.exchange} since {done}: nothing to load"
                    self._end(replace(run, outcome=NOTHING, note=note))
                    return True
            self.state.keep(run)
            outcome, found = self._play(job, replace(run, note=f"session {session}" if session else ""))
            if session and outcome.outcome == OK:
                self.state.keep_session(name, session)
            self._end(outcome)  # before another process gets the lock and takes this run for a killed one
        self._judge(job.name, *found, outcome.log)
        return outcome.outcome == OK

    def again(self) -> bool:
        """Run jobs again that failed or were cut off, and return whether all of them succeeded."""
        good = True
        for name, job in self.config.jobs.items():
            last = self.state.last().get(name)  # read again: its timer may have run it meanwhile
            if last is None or last.outcome == OK:
                continue
            if last.outcome == RUNNING:
                if not self._note_cut(name):
                    continue
            elif self.world.now() - (last.ended or last.began) < job.again:
                continue
            good &= self.run(name)
        return good

    def after(self, name: str) -> None:
        """Do the work after a run: record whether it was cut off, send messages and the heartbeat, write metrics."""
        if name != AGAIN:
            self._note_cut(name)
            self._clean()
        self._tell()
        self._beat()
        self._try(self.world.metrics)

    def _note_cut(self, name: str) -> bool:
        """Record the last run of a job as cut off if its process has ended without a result; return whether it has."""
        last = self.state.last().get(name)
        if last is None or last.outcome != RUNNING:
            return False
        with alone(self.spare / f"{name}.lock") as mine:
            if not mine:
                return False
        job = self.config.jobs[name]
        self._end(replace(last, outcome=CUT, note="it ended without recording a result"))
        message = (
            f"The run ended without recording a result: it reached a limit (seconds: {job.seconds}, memory:"
            f" {job.memory} in schedule_jobs), was killed, or met an error. `journalctl` of its unit says which."
        )
        self._judge(name, [Trouble(f"cut:{name}", socket.gethostname(), message)], set(), last.log)
        return True

    def _begin(self, job: Job) -> Run:
        now = self.world.now()
        stamp = datetime.fromtimestamp(now, timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        key = f"{stamp}-{job.name}-{os.getpid()}"
        return Run(key, job.name, now, log=str(self.logs / f"{key}.log"))

    def _end(self, run: Run) -> None:
        if run.outcome in (MET, NOTHING):
            run = replace(run, log="")
        self.state.keep(replace(run, ended=self.world.now()))
        self.world.say(f"{run.job}: {run.outcome}{f': {run.note}' if run.note else ''}")

    def _play(self, job: Job, run: Run) -> tuple[Run, tuple[list[Trouble], set[str] | None]]:
        """Run the playbook of a job; if a trouble may pass by itself, wait and retry."""
        with contextlib.suppress(OSError):  # the disk may be full
            self.logs.mkdir(parents=True, exist_ok=True, mode=0o700)
        node = socket.gethostname()
        waits = list(self.config.retries)
        while True:
            played = self.world.play(job, Path(run.log))
            found, well = problems.troubles(job, played.records)
            figures = problems.figures(played.records)
            figures["calls"] += run.calls
            figures["rows"] += run.rows
            run = replace(run, **figures)
            if played.code is None:
                note = f"it did not finish within {job.seconds} s"
                message = f"The run was stopped, because {note} (seconds in schedule_jobs). See the evidence."
                found = [Trouble(f"cut:{job.name}", node, message)]
                return replace(run, outcome=CUT, note=note), (found, well)
            # Ansible skips a play without hosts, and tags that match no task, and exits with 0.
            if run.hosts and not (played.code or found):
                if job.exchange and not run.calls:
                    note = f"{run.note} was already loaded by another scheduler or a manual run"
                    run = replace(run, note=note)
                return replace(run, outcome=OK), ([], None)
            if not found:
                message = (
                    f"ansible-playbook exited with {played.code} before it reached any host. See the evidence."
                    if played.code
                    else "ansible-playbook matched no hosts or no tasks, so nothing was done. Check the job's tags in"
                    f" schedule_jobs, reset_hosts, and the inventory: {', '.join(self.config.inventory)}."
                )
                found = [Trouble(f"failed:{job.name}", node, message)]
            passing = {trouble.cause for trouble in found} & problems.PASSING
            if not passing or not waits:
                note = "; ".join(dict.fromkeys(problems.title(each.cause) for each in found))
                return replace(run, outcome=FAILED, note=note), (found, well)
            wait = waits.pop(0)
            self.world.say(f"{job.name}: {problems.title(passing.pop())}; retry in {wait} s")
            self.world.sleep(wait)

    def _judge(self, job: str, found: list[Trouble], well: set[str] | None, evidence: str) -> None:
        """Update the lasting problems after a run."""
        now = self.world.now()
        if self.state.fault:
            message = (
                f"The folder {self.config.state} cannot be written ({self.state.fault}): the disk is full or read-only,"
                " or schedule.sqlite is damaged. Free some space, or move that file away. Until then, the history is"
                " kept in memory."
            )
            found = [*found, Trouble("control", socket.gethostname(), message)]
        elif well is not None:
            well = well | {"control"}
        with in_turn(self.spare / "problems.lock"):
            lasting = self.state.problems()
            # Drop the problems of jobs that were removed from the schedule.
            for name in {each for problem in lasting for each in problem.jobs} - set(self.config.jobs):
                lasting = problems.judge(lasting, name, [], None, now, "")
            causes = {problem.cause for problem in lasting if not problem.over}
            news = problems.relevant([each for each in found if each.cause not in causes], causes)
            known = [each for each in found if each.cause in causes]
            self.state.keep_problems(problems.judge(lasting, job, [*known, *news], well, now, evidence))

    def _tell(self) -> None:
        """Send messages that were not sent yet; if one cannot be sent now, a later run sends it."""
        with in_turn(self.spare / "problems.lock"):
            lasting = self.state.problems()
            left: list[Lasting] = []
            for problem in lasting:
                if problem.told and not problem.over:
                    left.append(problem)
                    continue
                message = problems.text(problem, self.config.title, socket.gethostname())
                self.world.say(message)
                told = not self.world.ways
                for way in self.world.ways:
                    told |= self._try(partial(way, message))
                if not (told and problem.over):
                    left.append(replace(problem, told=told or problem.told))
            if left != lasting:
                self.state.keep_problems(left)

    def _beat(self) -> None:
        """Send a heartbeat for each new successful run."""
        for name, run in self.state.last().items():
            job = self.config.jobs.get(name)
            if not (job and job.heartbeat) or run.outcome != OK or self.state.mark(f"beat {name}") == run.id:
                continue
            if self._try(self.world.heartbeat):
                self.state.keep_mark(f"beat {name}", run.id)

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            work()
        except (tell.Untold, Problem, OSError) as error:
            self.world.say(f"⚠️  {error}")
            return False
        return True

    def _clean(self) -> None:
        """Delete history, logs and evidence older than the configured days."""
        oldest = self.world.now() - self.config.days * 86400.0
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
