"""``python -m tests.fleet up|trial|down|forget`` are steps of the scenario ``fleet``; ``run COMMAND…`` is around it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from tests.fleet import trial
from tests.fleet.engine import HOST, OLD_HOST, Missing
from tests.fleet.hosts import REPOSITORY, Fleet
from tests.schedule.machine import RECIPE

# Which of the scenarios with containers this is about.
VERDICT = REPOSITORY / f".cache/{os.environ.get('FLEET_VERDICT', 'fleet')}.txt"
RUN_SECONDS = 900.0


def main(step: str, command: list[str]) -> int:
    """Take a step; the exit code."""
    try:
        fleet = trial.fleet()
    except Missing as missing:
        if step != "run":
            print(f"fleet: {missing}")
            return 1
        VERDICT.write_text(f"skipped: {missing}\n")
        print(f"fleet: skipped: {missing}")
        return 0
    if step == "run":
        return around(fleet, command)
    if step == "up":
        fleet.up()
    elif step == "trial":
        trial.main(fleet)
    elif step == "down":
        fleet.down()
    elif step == "forget":
        fleet.down()
        for recipe in (HOST, OLD_HOST, RECIPE):
            fleet.engine("rmi", "--force", recipe.image, check=False)
    else:
        print(__doc__)
        return 2
    return 0


def around(fleet: Fleet, command: list[str]) -> int:
    """Run a command to its end, or for as long as it may take; whatever happens, no container stays."""
    signal.signal(signal.SIGTERM, _interrupted)
    # One at a time on a machine: the engine's containers are the same ones for every clone.
    turn = (Path(tempfile.gettempdir()) / f"{trial.NAME}-{os.getuid()}.lock").open("w")
    fcntl.flock(turn, fcntl.LOCK_EX)
    VERDICT.write_text("failed\n")
    process = subprocess.Popen(command, cwd=REPOSITORY, start_new_session=True)
    try:
        code = process.wait(RUN_SECONDS)
        VERDICT.write_text("failed\n" if code else "passed\n")
        return code
    except subprocess.TimeoutExpired:
        print(f"fleet: no end after {RUN_SECONDS:.0f} s")
        return 124
    except KeyboardInterrupt:
        return 130
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        fleet.down()
        turn.close()


def _interrupted(*_: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]))
