"""The schedule for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Run


def render(jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float) -> str:
    """Return the metrics of what ran; ``now`` is in seconds since 1970."""
    ended = [run for run in runs if run.outcome != RUNNING and run.job in jobs]

    def last(value: Callable[[Run], Any], *outcomes: str) -> list[tuple[dict[str, str], Any]]:
        """The value of each job's last run with one of the outcomes, or with any."""
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
        ("last_run_timestamp_seconds", "When a job last came to its end, whatever it did.", last(end)),
        (
            "last_success_timestamp_seconds",
            "When a job last went well, or had nothing to do.",
            last(end, OK, NOTHING),
        ),
        (
            "last_ok",
            "Whether the last run that did something went well.",
            told(lambda run: int(run.outcome == OK)),
        ),
        ("last_hosts", "Hosts of the last run that did something.", told(lambda run: run.hosts)),
        ("last_failed", "Hosts that failed in it.", told(lambda run: run.failed)),
        ("last_changed", "Hosts that it changed.", told(lambda run: run.changed)),
        ("last_calls", "Calls that it paid to EODHD.", told(lambda run: run.calls)),
        ("last_rows", "Rows that it inserted or updated.", told(lambda run: run.rows)),
        (
            "last_duration_seconds",
            "How long it took.",
            told(lambda run: f"{(run.ended or 0) - run.began:.3f}"),
        ),
        (
            "runs",
            "Runs in the history, by what came of them.",
            [({"job_name": job, "outcome": outcome}, n) for (job, outcome), n in sorted(outcomes.items())],
        ),
        ("calls_today", "Calls paid to EODHD since 00:00 GMT.", [({}, today)]),
        (
            "interval_seconds",
            "The longest time between two runs that a job is to have.",
            [({"job_name": name}, job.interval) for name, job in jobs.items() if job.interval],
        ),
        ("problem_since_timestamp_seconds", "Since when a problem lasts.", lasting),
        ("timestamp_seconds", "When this was written.", [({}, f"{now:.0f}")]),
    ]
    return prometheus.text("project_schedule_", metrics)
