"""A backfill in a process of its own, to be killed and measured: ``python -m standin.worker``.

Takes the request as JSON on its input, prints the result as JSON with peak memory and the seconds it took.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent


def start(server: Any, **options: Any) -> subprocess.Popen[str]:
    """Start a backfill; its output is one line of JSON."""
    request = json.dumps({"server": asdict(server), **options}, default=str)
    process = subprocess.Popen(
        [sys.executable, "-m", "standin.worker"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    with process.stdin:
        process.stdin.write(request)
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str], timeout: float = 120) -> dict[str, Any]:
    """Wait for a backfill and return its result."""
    out, err = process.communicate(timeout=timeout)
    if not out:
        raise RuntimeError(err[-2000:])
    result: dict[str, Any] = json.loads(out)
    return result


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


def main() -> None:
    import ansible.module_utils

    ansible.module_utils.__path__.append(str(ROOT / "module_utils"))
    # As for the rivals, imports do not count; the backfill imports these two late.
    import psycopg2  # noqa: F401
    import requests  # noqa: F401
    from ansible.module_utils.database.connection import Server
    from ansible.module_utils.eodhd import backfill
    from ansible.module_utils.eodhd.run.request import Request
    from ansible.module_utils.reporting import Problem

    options = json.load(sys.stdin)
    if (points := options.pop("points", None)) is not None:
        kill_after(points)
    options["server"] = Server(**options["server"])
    for name in ("first", "last"):
        options[name] = date.fromisoformat(options[name]) if options.get(name) else None
    now = options.pop("now", None)
    began = time.perf_counter()
    try:
        result = backfill.run(Request(**options), datetime.fromisoformat(now) if now else None)
    except Problem as problem:
        result = {**problem.details, "problem": str(problem)}
    result["seconds"] = time.perf_counter() - began
    # Of run and courier. Not the run's ru_maxrss: that of its parent survives the exec.
    status = Path("/proc/self/status").read_text()
    courier = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    result["peak_mb"] = (int(status.split("VmHWM:")[1].split()[0]) + courier) / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()
