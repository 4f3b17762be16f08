"""A backfill in a process of its own, to be killed and measured: a fork of one that has imported what it needs.

``start`` hands the process that forks, ``python -m standin.worker``, a socket for each run. What comes through it, a
line of JSON each: the run's process id, its result with peak memory, the seconds it took, also of processor time, and
its exit code.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent.parent


@functools.cache
def _forker() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process that forks, and the socket that it takes others from; it ends with this process."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "standin.worker", str(theirs.fileno())],
            env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    return process, ours


class Run:
    """A backfill that has begun.

    Attributes:
        pid: of its process.
        returncode: once it has ended, as ``subprocess`` has it.
        result: what it returned, unless it was killed before.
    """

    def __init__(self, request: dict[str, Any]) -> None:
        self.pid = 0
        self.returncode: int | None = None
        self.result: dict[str, Any] | None = None
        self._rest = b""
        self._socket, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(_forker()[1], [b"-"], [theirs.fileno()])
        self._socket.sendall(json.dumps(request, default=str).encode() + b"\n")
        while not self.pid:
            self._hear(60)

    def poll(self) -> int | None:
        """The exit code if it has ended."""
        while self.returncode is None and self._hear(0):
            pass
        return self.returncode

    def wait(self, timeout: float) -> int:
        """Wait for its end; the exit code."""
        until = time.monotonic() + timeout
        while self.poll() is None:
            if not self._hear(max(0.0, until - time.monotonic())):
                raise TimeoutError(f"the backfill did not end within {timeout} seconds")
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def _hear(self, seconds: float) -> bool:
        """Take what it tells, if that comes in time."""
        if not select.select([self._socket], [], [], seconds)[0]:
            return False
        data = self._socket.recv(1 << 20)
        if not data:
            raise RuntimeError("the process that forks backfills has ended")
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            vars(self).update(json.loads(line))
        if self.returncode is not None:
            self._socket.close()
        return True


def start(server: Any, **options: Any) -> Run:
    """Start a backfill."""
    return Run({"server": asdict(server), **options})


def finish(run: Run, timeout: float = 120) -> dict[str, Any]:
    """Wait for a backfill and return its result."""
    run.wait(timeout)
    if run.result is None or "trace" in run.result:
        raise RuntimeError(f"it ended with {run.returncode}: {run.result}")
    return run.result


def kill_after(points: int) -> None:
    """Let this process kill itself before the change of the database that follows so many; its courier lives on."""
    import psycopg2
    import psycopg2.extensions

    run, passed, connect = os.getpid(), itertools.count(), psycopg2.connect

    def passing() -> None:
        if os.getpid() == run and next(passed) == points:
            os.kill(run, signal.SIGKILL)

    class Cursor(psycopg2.extensions.cursor):
        def execute(self, statement: Any, *given: Any) -> None:
            if not str(statement).lstrip().startswith(("SELECT", "SET")):
                passing()
            super().execute(statement, *given)

        def copy_expert(self, *given: Any, **more: Any) -> None:
            passing()
            super().copy_expert(*given, **more)

    psycopg2.connect = lambda *given, **more: connect(*given, **{**more, "cursor_factory": Cursor})


def main(number: int) -> None:
    """Fork for each socket that comes, until there is nobody to send one."""
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    # As for the rivals, imports do not count; the backfill imports these two late.
    import psycopg2  # noqa: F401
    import requests  # noqa: F401
    from ansible.module_utils.eodhd import backfill  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=number) as sockets:
        while given := socket.recv_fds(sockets, 1, 1)[1]:
            if not os.fork():
                sockets.close()
                with open(given[0], closefd=False) as line, open(given[0], "w") as told:
                    attend(json.loads(line.readline()), told)
                os._exit(0)
            os.close(given[0])


def attend(request: dict[str, Any], told: IO[str]) -> None:
    """Fork a run, and tell how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    run = os.fork()
    if not run:
        try:
            print(json.dumps({"pid": os.getpid()}), file=told, flush=True)
            print(json.dumps({"result": perform(request)}), file=told, flush=True)
        except BaseException:  # noqa: BLE001 - whoever waits is told
            print(json.dumps({"result": {"trace": traceback.format_exc()}}), file=told, flush=True)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(run, 0)[1])
    print(json.dumps({"returncode": code}), file=told, flush=True)


def perform(options: dict[str, Any]) -> dict[str, Any]:
    """Run a backfill; its result."""
    from ansible.module_utils.database.server import Server
    from ansible.module_utils.eodhd import backfill
    from ansible.module_utils.eodhd.model import Request
    from ansible.module_utils.reporting import Problem

    from standin import clock

    if (points := options.pop("points", None)) is not None:
        kill_after(points)
    options["server"] = Server(**options["server"])
    for name in ("first", "last"):
        options[name] = date.fromisoformat(options[name]) if options.get(name) else None
    now = options.pop("now", None)
    began, used = time.perf_counter(), sum(os.times()[:4])
    try:
        result: dict[str, Any] = backfill.run(
            Request(**options), clock.showing(datetime.fromisoformat(now) if now else None)
        )
    except Problem as problem:
        result = {**problem.details, "problem": str(problem)}
    result["seconds"] = time.perf_counter() - began
    # Of run and courier.
    result["processor"] = sum(os.times()[:4]) - used
    # So is this. Not the run's ru_maxrss: that of its parent survives the fork.
    status = Path("/proc/self/status").read_text()
    courier = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result["peak_mb"] = (int(status.split("VmHWM:")[1].split()[0]) + courier) / 1024
    return result


if __name__ == "__main__":
    main(int(sys.argv[1]))
