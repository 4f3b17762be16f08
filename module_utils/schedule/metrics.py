"""Metrics of the schedule for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Run


def render(jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float) -> str:
    """Return the metrics of all jobs; ``now`` is in seconds since 1970."""
    ended = [run for run in runs if run.outcome != RUNNING and run.job in jobs]

    def last(value: Callable[[Run], Any], *outcomes: str) -> list[tuple[dict[str, str], Any]]:
        """Return the value of each job's last run with one of these outcomes, or with any."""
        found = {run.job: run for run in ended if not outcomes or run.outcome in outcomes}
        return [({"job_name": job}, value(run)) for job, run in found.items()]

    def end(run: Run) -> str:
        return f"{run.ended or run.began:.0f}"

    def told(value: Callable[[Run], Any]) -> list[tuple[dict[str, str], Any]]:
        return last(value, *TELLING)

    outcomes = Counter((run.job, run.outcome) for run in ended)
    today = sum(run.calls for run in runs if run.began >= now - now % 86400)
    lasting = [
        ({"cause": problem.cause, "hosts": ",".join(problem.hosts)}, f"{problem.since:.0f}")
        for problem in problems
        if not problem.over
    ]
    metrics: list[prometheus.Metric] = [
        ("last_run_timestamp_seconds", "When a job last ended, whatever its outcome.", last(end)),
        (
            "last_success_timestamp_seconds",
            "When a job last succeeded or had nothing to do.",
            last(end, OK, NOTHING),
        ),
        (
            "last_ok",
            "Whether the last run that did something succeeded.",
            told(lambda run: int(run.outcome == OK)),
        ),
        ("last_hosts", "Hosts in the last run that did something.", told(lambda run: run.hosts)),
        ("last_failed", "Failed hosts in the last run that did something.", told(lambda run: run.failed)),
        ("last_changed", "Changed hosts in the last run that did something.", told(lambda run: run.changed)),
        ("last_calls", "EODHD calls paid by the last run that did something.", told(lambda run: run.calls)),
        (
            "last_rows",
            "Rows written by the last run that did something.",
            told(lambda run: run.rows),
        ),
        (
            "last_duration_seconds",
            "Duration of the last run that did something.",
            told(lambda run: f"{(run.ended or 0) - run.began:.3f}"),
        ),
        (
            "runs",
            "Runs in the history, by outcome.",
            [({"job_name": job, "outcome": outcome}, n) for (job, outcome), n in sorted(outcomes.items())],
        ),
        ("calls_today", "EODHD calls paid since 00:00 GMT.", [({}, today)]),
        (
            "interval_seconds",
            "Longest scheduled time between two runs of a job.",
            [({"job_name": name}, job.interval) for name, job in jobs.items() if job.interval],
        ),
        ("problem_since_timestamp_seconds", "When a lasting problem began.", lasting),
        ("timestamp_seconds", "When these metrics were written.", [({}, f"{now:.0f}")]),
    ]
    return prometheus.text("project_schedule_", metrics)
