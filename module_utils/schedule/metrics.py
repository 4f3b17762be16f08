"""The schedule for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any

from ansible.module_utils import prometheus
from ansible.module_utils.schedule.jobs import Job
from ansible.module_utils.schedule.problems import Lasting
from ansible.module_utils.schedule.state import NOTHING, OK, RUNNING, TELLING, Run


def render(jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float) -> str:
    """Return the metrics of what ran; ``now`` is in seconds since 1970."""
    return prometheus.text("project_schedule_", _metrics(jobs, runs, problems, now))


def _metrics(
    jobs: Mapping[str, Job], runs: Sequence[Run], problems: Iterable[Lasting], now: float
) -> Iterator[prometheus.Metric]:
    ended = [run for run in runs if run.outcome != RUNNING]
    by_job = {name: [run for run in ended if run.job == name] for name in jobs}

    def last(value: Callable[[Run], Any], *outcomes: str) -> list[tuple[dict[str, str], Any]]:
        """The value of each job's last run with one of the outcomes, or with any."""
        some = {
            name: [run for run in found if not outcomes or run.outcome in outcomes]
            for name, found in by_job.items()
        }
        return [({"job_name": name}, value(found[-1])) for name, found in some.items() if found]

    def end(run: Run) -> str:
        return f"{run.ended or run.began:.0f}"

    yield "last_run_timestamp_seconds", "When a job last came to its end, whatever it did.", last(end)
    yield (
        "last_success_timestamp_seconds",
        "When a job last went well, or had nothing to do.",
        last(end, OK, NOTHING),
    )
    good = last(lambda run: int(run.outcome == OK), *TELLING)
    yield "last_ok", "Whether the last run that did something went well.", good
    for measure, meaning in (
        ("hosts", "Hosts of the last run that did something."),
        ("failed", "Hosts that failed in it."),
        ("changed", "Hosts that it changed."),
        ("calls", "Calls that it paid to EODHD."),
        ("rows", "Rows that it inserted or updated."),
    ):
        yield f"last_{measure}", meaning, last(attrgetter(measure), *TELLING)
    seconds = last(lambda run: f"{(run.ended or 0) - run.began:.3f}", *TELLING)
    yield "last_duration_seconds", "How long it took.", seconds
    outcomes = Counter((run.job, run.outcome) for some in by_job.values() for run in some)
    counted = [({"job_name": job, "outcome": outcome}, n) for (job, outcome), n in sorted(outcomes.items())]
    yield "runs", "Runs in the history, by what came of them.", counted
    today = sum(run.calls for run in ended if run.began >= now - now % 86400)
    yield "calls_today", "Calls paid to EODHD since 00:00 GMT.", [({}, today)]
    intervals = [({"job_name": name}, job.interval) for name, job in jobs.items() if job.interval]
    yield "interval_seconds", "The longest time between two runs that a job is to have.", intervals
    lasting = [
        ({"cause": problem.cause, "hosts": ",".join(problem.hosts)}, f"{problem.since:.0f}")
        for problem in problems
        if not problem.over
    ]
    yield "problem_since_timestamp_seconds", "Since when a problem lasts.", lasting
    yield "timestamp_seconds", "When this was written.", [({}, f"{now:.0f}")]
