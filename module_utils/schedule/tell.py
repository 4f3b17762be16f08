"""Sends messages and the heartbeat, and renders the metrics for Prometheus."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from email.message import EmailMessage
from functools import partial
from http.client import HTTPException
from operator import attrgetter
from pathlib import Path

from ansible.module_utils import prometheus
from ansible.module_utils.reporting import Problem
from ansible.module_utils.schedule.jobs import Config, Job
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Lasting, Run

SECONDS = 20.0


def by_webhook(url: str, message: str) -> None:
    """Send a message as the JSON that Slack, Mattermost and Teams read."""
    body = json.dumps({"text": message}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310
    _open("The webhook of schedule_webhook_url", request)


def heartbeat(url: str) -> None:
    """Report a successful run to the watchdog, if there is one; raise ``Problem`` if that fails."""
    if url:
        _open("The URL of schedule_heartbeat_url", urllib.request.Request(url))  # noqa: S310


def _open(name: str, request: urllib.request.Request) -> None:
    try:
        if request.type not in ("http", "https"):
            raise Problem(f"{name} is not an http or https URL.")
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310 - checked above
            return
    except urllib.error.HTTPError as error:
        raise Problem(f"{name} answered {error.code}.") from None
    except (OSError, ValueError, HTTPException) as error:
        # Their messages quote the address, which is secret.
        raise Problem(f"{name} is not reachable ({type(error).__name__}).") from None


def by_mail(program: str, addresses: Sequence[str], message: str) -> None:
    """Send a message by the host's sendmail."""
    mail = EmailMessage()
    mail["To"] = ", ".join(addresses)
    mail["Subject"] = message.splitlines()[0]
    mail.set_content(message)
    _run("schedule_sendmail", [program, "-i", *addresses], bytes(mail))


def by_command(command: Sequence[str], message: str) -> None:
    """Send a message to the standard input of a user's command."""
    _run("schedule_command", command, message.encode())


def _run(name: str, command: Sequence[str], given: bytes) -> None:
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Problem(f"{name}: {command[0]} cannot be run ({type(error).__name__}).") from None
    if done.returncode:
        raise Problem(f"{name}: {command[0]} exited with {done.returncode}.")


def ways(config: Config, credentials: Path | None) -> list[Callable[[str], None]]:
    """Return the configured ways to send a message; each raises ``Problem`` if it fails."""
    found: list[Callable[[str], None]] = []
    if url := secret(credentials, "webhook"):
        found.append(partial(by_webhook, url))
    if config.mail:
        found.append(partial(by_mail, config.sendmail, config.mail))
    if config.command:
        found.append(partial(by_command, config.command))
    return found


def secret(credentials: Path | None, name: str) -> str:
    """Return a systemd credential; empty if there is none."""
    path = credentials / name if credentials else None
    return path.read_text(encoding="utf-8").strip() if path and path.exists() else ""


# --- metrics ---------------------------------------------------------------------------------------------

# Totals of each job's last run that did something: the attribute, and the beginning of its meaning.
_TOTALS = {
    "hosts": "Hosts in",
    "failed": "Failed hosts in",
    "changed": "Changed hosts in",
    "calls": "EODHD calls paid by",
    "rows": "Rows written by",
}


def metrics(
    jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float
) -> Iterator[prometheus.Metric]:
    """Return the metrics of all jobs; ``now`` is in seconds since 1970."""
    ended = [run for run in runs if run.outcome != RUNNING and run.job in jobs]

    def last(value: Callable[[Run], object], *outcomes: str) -> list[tuple[dict[str, str], object]]:
        """Return the value of each job's last run with one of these outcomes, or with any."""
        found = {run.job: run for run in ended if not outcomes or run.outcome in outcomes}
        return [({"job_name": job}, value(run)) for job, run in found.items()]

    def end(run: Run) -> str:
        return f"{run.ended or run.began:.0f}"

    yield "last_run_timestamp_seconds", "When a job last ended, whatever its outcome.", last(end)
    succeeded = last(end, OK, NOTHING)
    yield "last_success_timestamp_seconds", "When a job last succeeded or had nothing to do.", succeeded
    good = last(lambda run: int(run.outcome == OK), *TELLING)
    yield "last_ok", "Whether the last run that did something succeeded.", good
    for name, meaning in _TOTALS.items():
        total = last(attrgetter(name), *TELLING)
        yield f"last_{name}", f"{meaning} the last run that did something.", total
    duration = last(lambda run: f"{(run.ended or 0) - run.began:.3f}", *TELLING)
    yield "last_duration_seconds", "Duration of the last run that did something.", duration
    outcomes = sorted(Counter((run.job, run.outcome) for run in ended).items())
    counted = [({"job_name": job, "outcome": outcome}, count) for (job, outcome), count in outcomes]
    yield "runs", "Runs in the history, by outcome.", counted
    today = sum(run.calls for run in runs if run.began >= now - now % 86400)
    yield "calls_today", "EODHD calls paid since 00:00 GMT.", [({}, today)]
    intervals = [({"job_name": name}, job.interval) for name, job in jobs.items() if job.interval]
    yield "interval_seconds", "Longest scheduled time between two runs of a job.", intervals
    lasting = [
        ({"cause": problem.cause, "hosts": ",".join(problem.hosts)}, f"{problem.since:.0f}")
        for problem in problems
        if not problem.over
    ]
    yield "problem_since_timestamp_seconds", "When a lasting problem began.", lasting
    yield "timestamp_seconds", "When these metrics were written.", [({}, f"{now:.0f}")]
