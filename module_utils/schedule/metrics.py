"""Metrics of the schedule for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from ansible.module_utils import prometheus
from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Run

# Figures of each job's last run that did something, with their meaning.
_LAST: Sequence[tuple[str, str, Callable[[Run], object]]] = (
    ("ok", "Whether the last run that did something succeeded.", lambda run: int(run.outcome == OK)),
    ("hosts", "Hosts in the last run that did something.", lambda run: run.hosts),
    ("failed", "Failed hosts in the last run that did something.", lambda run: run.failed),
    ("changed", "Changed hosts in the last run that did something.", lambda run: run.changed),
    ("calls", "EODHD calls paid by the last run that did something.", lambda run: run.calls),
    ("rows", "Rows written by the last run that did something.", lambda run: run.rows),
    (
        "duration_seconds",
        "Duration of the last run that did something.",
        lambda run: f"{(run.ended or 0) - run.began:.3f}",
    ),
)


def render(jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float) -> str:
    """Return the metrics of all jobs; ``now`` is in seconds since 1970."""
    return prometheus.text("project_schedule_", _metrics(jobs, runs, problems, now))


def _metrics(
    jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float
) -> Iterator[prometheus.Metric]:
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
    for name, meaning, value in _LAST:
        yield f"last_{name}", meaning, last(value, *TELLING)
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
