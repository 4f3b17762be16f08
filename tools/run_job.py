"""Timers run ``run_job.py CONFIGURATION JOB``; the job ``again`` repeats failed jobs.

``run_job.py CONFIGURATION after JOB`` follows each run: it sends messages and the heartbeat, and writes the metrics. In
a manual run, the first command does both.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import ansible.module_utils

ansible.module_utils.__path__.append(str(Path(__file__).resolve().parent.parent / "module_utils"))

from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule import tell
from ansible.module_utils.schedule.jobs import AGAIN, Config, load
from ansible.module_utils.schedule.runner import Runner, play


def runner(config: Config) -> Runner:
    """Return the runner for a configuration in the environment that systemd provides."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    credentials = Path(given) if given else None
    if not os.path.isdir(config.spare):  # no unit has run since the machine booted
        config = replace(config, spare=f"{config.state}/spare")
        try:
            os.makedirs(config.spare, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Problem(
                f"{config.spare} cannot be created ({type(error).__name__}). Start the job's unit with"
                f" `systemctl start`, or run it as the owner of {config.state}."
            ) from None
    return Runner(
        config,
        play=lambda job, log: play(config, job, credentials, log),
        ways=tell.ways(config, credentials),
        heartbeat=lambda: tell.heartbeat(tell.secret(credentials, "heartbeat")),
    )


def main(path: str, name: str, of: str = "") -> int:
    """Run what is asked; the exit code."""
    os.umask(0o077)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        config = load(Path(path))
        runs = runner(config)
        if name == "after":
            runs.after(of)
            return 0
        if name not in (*config.jobs, AGAIN):
            raise Problem(f"There is no job {name}; there are {', '.join(config.jobs)} and {AGAIN}.")
        good = runs.again() if name == AGAIN else runs.run(name)
        if "INVOCATION_ID" not in os.environ:  # systemd starts what follows in a unit of its own
            runs.after(name)
        return 0 if good else 1
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 2


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
